"""What a bundle's inferer and postprocessing say about windows, activation and clean-up; nothing of it is run."""

from __future__ import annotations

import math
import re
from typing import Any, Literal, NoReturn, cast

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.bundle_parts import place_of
from SegHiResCAMLib.engine.models.transforms import array_name
from SegHiResCAMLib.engine.models.untrusted.resolver import Config, ConfigComponent
from SegHiResCAMLib.engine.window_settings import WindowSettings
from SegHiResCAMLib.records.models import Label

# What postprocessing does beside the largest component that is taken over, or that does not change what is outlined.
_TAKEN_OVER = frozenset({"Activations", "AsDiscrete", "EnsureType", "Invert", "SaveImage", "ToTensor"})


# MONAI's own defaults.
_DEFAULTS: dict[str, Any] = {
    "roi_size": None,
    "overlap": 0.25,
    "mode": "constant",
    "sigma_scale": 0.125,
    "padding_mode": "constant",
    "cval": 0.0,
    "spatial_dim": 0,
}
_ONLY_SPEED = frozenset({
    "sw_batch_size", "sw_device", "device", "progress", "cache_roi_weight_map", "cpu_thresh", "buffer_steps", "buffer_dim",
})  # fmt: skip


def slice_axis(config: Config) -> Literal[0, 1, 2] | None:
    """The axis of the model's grid along which the inferer takes a volume apart into slices, or None where it takes none apart.

    Raises:
        EngineError: `bundle-inferer`, where there is no such axis.
    """
    inferer = _inferer(config)
    if inferer is None or inferer.name != "SliceInferer":
        return None
    axis = config.need(inferer.arguments.get("spatial_dim", _DEFAULTS["spatial_dim"]))
    if not isinstance(axis, int) or axis not in (0, 1, 2):
        _refuse(config, f"slices volumes along axis {str(axis)[:100]}")
    return cast("Literal[0, 1, 2]", int(axis))


def window_settings(config: Config, spatial_dims: int, multiple: int) -> WindowSettings:
    """The windows of `inferer`; without one, the whole image at once.

    Args:
        config: The bundle's.
        spatial_dims: The network's.
        multiple: What every axis of the input must be a multiple of.

    Raises:
        EngineError: `bundle-inferer`, for an inferer that works in another way.
    """
    inferer = _inferer(config)
    if inferer is None or inferer.name == "SimpleInferer":
        return WindowSettings(size=None, multiple=multiple)
    if inferer.name not in ("SlidingWindowInferer", "SlidingWindowInfererAdapt", "SliceInferer"):
        _refuse(config, f"cuts images into windows with '{inferer.target[:100]}'")
    if "roi_size" not in inferer.arguments:
        _refuse(config, "does not give the 'roi_size' of its inferer")
    unknown = inferer.arguments.keys() - _DEFAULTS.keys() - _ONLY_SPEED
    if unknown:
        _refuse(config, f"sets '{min(unknown)[:100]}' of its inferer")
    values = {name: config.need(inferer.arguments.get(name, default)) for name, default in _DEFAULTS.items()}
    overlap, sigma_scale = (_shares(values[name], spatial_dims) for name in ("overlap", "sigma_scale"))
    blending, padding, cval = values["mode"], values["padding_mode"], values["cval"]
    if overlap is None or not sigma_scale or 0 in _each(sigma_scale) or blending not in ("constant", "gaussian"):
        blended = f"overlap {values['overlap']}, mode {blending}, sigma_scale {values['sigma_scale']}"
        _refuse(config, f"blends windows in an unknown way ({blended})")
    if padding not in ("constant", "reflect", "replicate", "circular") or not isinstance(cval, int | float):
        _refuse(config, f"pads images in an unknown way (padding_mode {padding}, cval {cval})")
    size = _size(values["roi_size"], spatial_dims, slice_axis(config))
    if size is None:
        _refuse(config, f"has windows of {values['roi_size']} for a network of {spatial_dims} dimensions")
    return WindowSettings(
        size=size if any(size) else None,
        overlap=overlap,
        blending=blending,
        multiple=multiple,
        sigma_scale=sigma_scale,
        padding_mode=padding,
        cval=float(cval) if padding == "constant" else 0.0,
    )


def input_multiple(metadata: dict[str, Any]) -> int:
    """The least that `network_data_format.inputs.image.spatial_shape` ("16*n") allows every axis to be a multiple of."""
    node: Any = metadata
    for key in ("network_data_format", "inputs", "image", "spatial_shape"):
        node = node.get(key, {}) if isinstance(node, dict) else {}
    shape = node if isinstance(node, list) else []
    factors = (re.fullmatch(r"\s*(?:(\d{1,4})\s*\*\s*n|n\s*\*\s*(\d{1,4}))\s*", str(axis)) for axis in shape)
    return math.lcm(1, *(max(1, int(match.group(1) or match.group(2))) for match in factors if match))


def activation_of(config: Config, out_channels: int) -> Literal["softmax", "sigmoid"]:
    """What `postprocessing` makes probabilities with: as Activationsd says, or as AsDiscreted implies, or as the channels do."""
    arguments = _decision(config)
    if out_channels == 1:
        return "sigmoid"
    if arguments.get("argmax") is True or arguments.get("softmax") is True:
        return "softmax"
    return "sigmoid" if arguments.get("sigmoid") is True or arguments.get("threshold") is not None else "softmax"


def threshold_of(config: Config, activation: Literal["softmax", "sigmoid"]) -> float:
    """The probability above which `postprocessing` outlines a channel.

    Raises:
        EngineError: `bundle-postprocessing`, for one that is no probability, or that softmax is held against.
    """
    threshold = config.need(_decision(config).get("threshold"))
    if threshold is None:
        return 0.5
    is_probability = isinstance(threshold, int | float) and not isinstance(threshold, bool) and 0 < threshold < 1
    if not is_probability or (activation == "softmax" and threshold != 0.5):
        raise EngineError(
            "bundle-postprocessing",
            f"'{config.file}' segments where {activation} is above {str(threshold)[:100]}, which is not supported. Ask the model's author for a sigmoid "
            "with a threshold between 0 and 1, or for the largest of the channels (argmax).",
        )
    return float(threshold)


def keeps_largest_component(config: Config, labels: tuple[Label, ...]) -> bool:
    """Whether `postprocessing` keeps only the largest connected component of every label by itself."""
    return any(_keeps_largest(step, labels) for step in _postprocessing(config))


def left_out(config: Config, labels: tuple[Label, ...]) -> list[str]:
    """Names of postprocessing steps that change what is outlined, and that are not taken over."""
    steps = [step for step in _postprocessing(config) if array_name(step) not in _TAKEN_OVER]
    return [step.name for step in steps if not _keeps_largest(step, labels)]


def _keeps_largest(step: ConfigComponent, labels: tuple[Label, ...]) -> bool:
    if array_name(step) != "KeepLargestConnectedComponent":
        return False
    values = step.arguments.get("applied_labels")
    applied = values if isinstance(values, list) else [values]
    each = step.arguments.get("independent", True) is True and step.arguments.get("num_components", 1) == 1
    return each and (values is None or all(label.value in applied for label in labels))


def _inferer(config: Config) -> ConfigComponent | None:
    place = place_of(config, "inferer")
    if place is None:
        return None
    inferer = config.resolve(place)
    if not isinstance(inferer, ConfigComponent):
        config.need(inferer)
        _refuse(config, f"does not name a class in '{place}'")
    if not inferer.is_from("monai.inferers"):
        _refuse(config, f"cuts images into windows with '{inferer.target[:100]}'")
    return inferer


def _shares(value: Any, spatial_dims: int) -> float | tuple[float, ...] | None:
    """Shares of a window: one for all axes, or one for each; None where they are something else."""
    shares = [value] * spatial_dims if not isinstance(value, list) else value
    if len(shares) != spatial_dims or not all(_is_number(share) and 0 <= share < 1 for share in shares):
        return None
    each = tuple(float(share) for share in shares)
    return each if len(set(each)) > 1 else each[0]


def _each(shares: float | tuple[float, ...]) -> tuple[float, ...]:
    return shares if isinstance(shares, tuple) else (shares,)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _size(roi: Any, spatial_dims: int, sliced: int | None) -> tuple[int | None, ...] | None:
    """Window size along the network's axes, None along those where it is the image's; None when it is no size for this network."""
    axes = list(roi) if isinstance(roi, list) else [roi] * spatial_dims
    if sliced is not None and len(axes) == 3 and spatial_dims == 2:
        del axes[sliced]
    if len(axes) != spatial_dims or not all(axis is None or _is_length(axis) for axis in axes):
        return None
    return tuple(axis if axis is not None and axis > 0 else None for axis in axes)


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value <= 1 << 16


def _decision(config: Config) -> dict[str, Any]:
    """The arguments, for the prediction, of the steps that make labels of logits."""
    return {
        name: _for_prediction(value, step)
        for step in _postprocessing(config)
        if array_name(step) in ("Activations", "AsDiscrete")
        for name, value in step.arguments.items()
    }


def _postprocessing(config: Config) -> list[ConfigComponent]:
    place = place_of(config, "postprocessing")
    steps = config.steps(place) if place is not None else []
    return [step for step in steps if "pred" in _keys(step)]


def _keys(step: ConfigComponent) -> list[Any]:
    keys = step.arguments.get("keys", "pred")
    return keys if isinstance(keys, list) else [keys]


def _for_prediction(value: Any, step: ConfigComponent) -> Any:
    """An argument's value for the key "pred", where it has one for each key."""
    if isinstance(value, list) and len(value) == len(_keys(step)):
        return value[_keys(step).index("pred")]
    return value


def _refuse(config: Config, problem: str) -> NoReturn:
    raise EngineError(
        "bundle-inferer",
        f"'{config.file}' {problem}, which is not supported. Ask the model's author for a SlidingWindowInferer, SliceInferer or SimpleInferer.",
    )
