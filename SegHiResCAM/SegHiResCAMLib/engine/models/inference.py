"""What a bundle's inferer and postprocessing say about windows, activation and clean-up; nothing of it is run."""

from __future__ import annotations

import math
import re
from typing import Any, Literal, NoReturn

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.model import Label, WindowSettings
from SegHiResCAMLib.engine.models.resolver import Component, Config
from SegHiResCAMLib.engine.models.transforms import array_name

# What postprocessing does beside the largest component that is taken over, or that does not change what is outlined.
_TAKEN_OVER = frozenset({"Activations", "AsDiscrete", "EnsureType", "Invert", "SaveImage", "ToTensor"})


def is_sliced(config: Config) -> bool:
    """Whether the inferer takes a volume apart into slices for a 2D network."""
    return "inferer" in config and _inferer(config).name == "SliceInferer"


def window_settings(config: Config, spatial_dims: int, multiple: int) -> WindowSettings:
    """The windows of `inferer`; without one, the whole image at once.

    Args:
        config: The bundle's.
        spatial_dims: The network's.
        multiple: What every axis of the input must be a multiple of.

    Raises:
        EngineError: `bundle-inferer`, for an inferer that works in another way.
    """
    if "inferer" not in config:
        return WindowSettings(size=None, multiple=multiple)
    inferer = _inferer(config)
    if inferer.name == "SimpleInferer":
        return WindowSettings(size=None, multiple=multiple)
    if inferer.name not in ("SlidingWindowInferer", "SlidingWindowInfererAdapt", "SliceInferer"):
        _refuse(config, f"cuts images into windows with '{inferer.target[:100]}'")
    values = {
        name: config.need(inferer.arguments.get(name, default))
        for name, default in (("roi_size", None), ("overlap", 0.25), ("mode", "constant"), ("spatial_dim", 0))
    }
    overlap, blending = _overlap(values["overlap"]), values["mode"]
    if overlap is None or blending not in ("constant", "gaussian"):
        _refuse(config, f"blends windows in an unknown way (overlap {values['overlap']}, mode {blending})")
    size = _size(values["roi_size"], spatial_dims, values["spatial_dim"] if inferer.name == "SliceInferer" else None)
    if size is None:
        _refuse(config, f"has windows of {values['roi_size']} for a network of {spatial_dims} dimensions")
    return WindowSettings(size=size or None, overlap=overlap, blending=blending, multiple=multiple)


def input_multiple(metadata: dict[str, Any]) -> int:
    """The least that `network_data_format.inputs.image.spatial_shape` ("16*n") allows every axis to be a multiple of."""
    node: Any = metadata
    for key in ("network_data_format", "inputs", "image", "spatial_shape"):
        node = node.get(key, {}) if isinstance(node, dict) else {}
    shape = node if isinstance(node, list) else []
    factors = (re.fullmatch(r"\s*(?:(\d{1,4})\s*\*\s*n|n\s*\*\s*(\d{1,4}))\s*", str(axis)) for axis in shape)
    return math.lcm(1, *(max(1, int(match.group(1) or match.group(2))) for match in factors if match))


def activation_of(config: Config, out_channels: int) -> Literal["softmax", "sigmoid"]:
    """What `postprocessing` makes probabilities with: as Activationsd says, or as AsDiscreted implies, or as the channels do.

    Raises:
        EngineError: `bundle-postprocessing`, for a threshold other than one half.
    """
    arguments = {
        name: _for_prediction(value, step)
        for step in _postprocessing(config)
        if array_name(step) in ("Activations", "AsDiscrete")
        for name, value in step.arguments.items()
    }
    threshold = config.need(arguments.get("threshold"))
    if threshold not in (None, 0.5):
        raise EngineError(
            "bundle-postprocessing",
            f"'{config.file}' outlines above a probability of {threshold}; only models that outline above 0.5 can be opened.",
        )
    if out_channels == 1:
        return "sigmoid"
    if arguments.get("argmax") is True or arguments.get("softmax") is True:
        return "softmax"
    return "sigmoid" if arguments.get("sigmoid") is True or threshold is not None else "softmax"


def keeps_largest_component(config: Config, labels: tuple[Label, ...]) -> bool:
    """Whether `postprocessing` keeps only the largest connected component of every label by itself."""
    return any(_keeps_largest(step, labels) for step in _postprocessing(config))


def left_out(config: Config, labels: tuple[Label, ...]) -> list[str]:
    """Names of postprocessing steps that change what is outlined, and that are not taken over."""
    steps = [step for step in _postprocessing(config) if array_name(step) not in _TAKEN_OVER]
    return [step.name for step in steps if not _keeps_largest(step, labels)]


def _keeps_largest(step: Component, labels: tuple[Label, ...]) -> bool:
    if array_name(step) != "KeepLargestConnectedComponent":
        return False
    values = step.arguments.get("applied_labels")
    applied = values if isinstance(values, list) else [values]
    each = step.arguments.get("independent", True) is True and step.arguments.get("num_components", 1) == 1
    return each and (values is None or all(label.value in applied for label in labels))


def _inferer(config: Config) -> Component:
    inferer = config.resolve("inferer")
    if not isinstance(inferer, Component):
        config.need(inferer)
        _refuse(config, "names no class in 'inferer'")
    if not inferer.is_from("monai.inferers"):
        _refuse(config, f"cuts images into windows with '{inferer.target[:100]}'")
    return inferer


def _overlap(overlap: Any) -> float | None:
    """One share for all axes, when that is what it is."""
    shares = overlap if isinstance(overlap, list) and overlap else [overlap]
    share = shares[0]
    alike = all(other == share for other in shares)
    return float(share) if alike and isinstance(share, int | float) and 0 <= share < 1 else None


def _size(roi: Any, spatial_dims: int, sliced: int | None) -> tuple[int, ...] | None:
    """Window size along the network's axes; empty for the whole image; None when it is no size for this network."""
    axes = [roi] * spatial_dims if isinstance(roi, int) else list(roi) if isinstance(roi, list) else []
    if sliced in (0, 1, 2) and len(axes) == 3 and spatial_dims == 2:
        del axes[sliced]
    if len(axes) != spatial_dims or not all(isinstance(axis, int) and axis <= 1 << 16 for axis in axes):
        return None
    if all(axis <= 0 for axis in axes):
        return ()
    return tuple(axes) if all(axis > 0 for axis in axes) else None


def _postprocessing(config: Config) -> list[Component]:
    steps = config.steps("postprocessing") if "postprocessing" in config else []
    return [step for step in steps if "pred" in _keys(step)]


def _keys(step: Component) -> list[Any]:
    keys = step.arguments.get("keys", "pred")
    return keys if isinstance(keys, list) else [keys]


def _for_prediction(value: Any, step: Component) -> Any:
    """An argument's value for the key "pred", where it has one for each key."""
    if isinstance(value, list) and len(value) == len(_keys(step)):
        return value[_keys(step).index("pred")]
    return value


def _refuse(config: Config, problem: str) -> NoReturn:
    raise EngineError(
        "bundle-inferer",
        f"'{config.file}' {problem}, which is not supported. Ask the sender for a SlidingWindowInferer, SliceInferer or SimpleInferer.",
    )
