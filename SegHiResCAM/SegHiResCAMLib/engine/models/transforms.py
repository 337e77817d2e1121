"""Which preprocessing a description may name, and how it is built for volumes that are already loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import monai
import monai.transforms
import torch
from monai.transforms import Compose

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.models.clicks import NEEDS_CLICKS, is_about_clicks, needs_clicks
from SegHiResCAMLib.engine.models.placed import Resized, Spacingd, Zoomd
from SegHiResCAMLib.engine.models.transform_bounds import check_transforms
from SegHiResCAMLib.engine.models.untrusted.resolver import Config, ConfigComponent

IMAGE = "image"

# By array name; the dictionary transform has "d", "D" or "Dict" appended. All are deterministic and touch no file.
GEOMETRY = frozenset({
    "BorderPad", "CenterScaleCrop", "CenterSpatialCrop", "CropForeground", "DivisiblePad", "Flip", "Orientation", "Resize",
    "ResizeWithPadOrCrop", "Rotate90", "Spacing", "SpatialCrop", "SpatialPad", "Zoom",
})  # fmt: skip
INTENSITY = frozenset({
    "AdjustContrast", "ApplyPending", "CastToType", "ClipIntensityPercentiles", "EnsureType", "GaussianSharpen", "GaussianSmooth",
    "HistogramNormalize", "Identity", "MedianSmooth", "NormalizeIntensity", "RepeatChannel", "SavitzkyGolaySmooth", "ScaleIntensity",
    "ScaleIntensityRange", "ScaleIntensityRangePercentiles", "ShiftIntensity", "StdShiftIntensity", "ThresholdIntensity",
})  # fmt: skip

# What reading and moving need: volumes arrive loaded, channel first, and on the right device.
_DONE_ALREADY = frozenset({
    "AddChannel", "AsChannelFirst", "DataStats", "DeleteItems", "EnsureChannelFirst", "LoadImage", "SelectItems", "ToDevice",
    "ToMetaTensor", "ToTensor",
})  # fmt: skip

# Whose affine MONAI does not always give as it is.
_PLACED: dict[str, type] = {"Resize": Resized, "Spacing": Spacingd, "Zoom": Zoomd}

# Keys that come with training or for scoring.
_REFERENCE_KEYS = frozenset({"gt", "label", "labels", "mask", "pred", "seg", "segmentation"})

# Arguments that may have one value for each key.
_PER_KEY = frozenset({"align_corners", "anti_aliasing", "data_type", "dtype", "mode", "padding_mode"})


def build_preprocessing(config: Config, key: str) -> Compose:
    """The dictionary transform (key "image") under `key`.

    Loading is left out, as are transforms of other keys than the image's; the image's own key becomes "image".

    Raises:
        EngineError: It is random, reads several images, runs code of its own, or is not as MONAI has it.
    """
    return compose(image_steps(config, key), config, key)


def image_steps(config: Config, key: str) -> list[ConfigComponent]:
    """The dictionary transforms under `key` that are left when loading and all keys but the image's are left out.

    Raises:
        EngineError: As `build_preprocessing`.
    """
    components = [part for part in config.steps(key) if not is_about_clicks(part)]
    for part in components:
        if needs_clicks(part):
            raise _not_allowed(part, config.file, NEEDS_CLICKS)
        if not part.is_from("monai.transforms"):
            raise _not_allowed(part, config.file, "is not a transform of MONAI but code, and code is never run")
    image = _image_key(components, config)
    ours = [part for part in components if image in _keys(part, config) and not _is_done_already(part)]
    return [_for_image(part, image, config) for part in ours]


def compose(steps: list[ConfigComponent], config: Config, key: str) -> Compose:
    """The transforms of `steps`, composed as the description has it, lazy or not.

    Raises:
        EngineError: One is random, unknown, or not as MONAI has it.
    """
    check_transforms(steps, config.file)
    value = config.resolve(key)
    arguments = value.arguments if isinstance(value, ConfigComponent) else {}
    kept = {name: config.need(arguments[name]) for name in ("lazy", "overrides") if name in arguments}
    return Compose([_built(part, config) for part in steps], **kept)


def build_slice_preprocessing(config: Config, key: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The transform of one slice (C, x, y) under `key`, out of array transforms or dictionary ones.

    Raises:
        EngineError: As `build_preprocessing`, or it changes the slice's geometry, which could not be undone.
    """
    components = config.steps(key)
    for part in components:
        if array_name(part) in GEOMETRY:
            raise EngineError(
                "bundle-slices",
                f"'{config.file}' resizes, pads or rotates single images ('{part.name}' at '{part.where}'); only the intensities of a volume's slices can be "
                "changed. Ask for a model that prepares the whole volume and has a SliceInferer.",
            )
    if all("keys" not in part.arguments for part in components):
        composed: Callable[[torch.Tensor], torch.Tensor] = compose(components, config, key)
        return composed
    whole = build_preprocessing(config, key)
    return lambda image: whole({IMAGE: image})[IMAGE]


def is_for_volumes(config: Config, key: str) -> bool:
    """Whether the preprocessing under `key` speaks of three axes, as one for single pictures does not."""
    sizes = ("axcodes", "pixdim", "spatial_size", "roi_size")
    return any(
        isinstance(part.arguments.get(name), str | list) and len(part.arguments[name]) == 3
        for part in config.steps(key)
        for name in sizes
    )


def array_name(component: ConfigComponent) -> str:
    """The name of the array transform behind a dictionary one: "Resize" for "Resized", "ResizeD" and "ResizeDict"."""
    name = component.name
    suffix = next((suffix for suffix in ("Dict", "D", "d") if name.endswith(suffix)), "")
    return name if name in GEOMETRY | INTENSITY else name.removesuffix(suffix)


def _is_done_already(component: ConfigComponent) -> bool:
    return array_name(component) in _DONE_ALREADY and component.is_from("monai.transforms")


def _image_key(components: list[ConfigComponent], config: Config) -> str:
    """The key of the one image that is read: what LoadImage loads, or else what the transforms treat."""
    loaded = [key for part in components if array_name(part) == "LoadImage" for key in _keys(part, config)]
    keys = loaded or [key for part in components for key in _keys(part, config)]
    images = [key for key in dict.fromkeys(keys) if key.casefold() not in _REFERENCE_KEYS]
    if len(images) > 1:
        raise EngineError(
            "bundle-several-images",
            f"'{config.file}' prepares {len(images)} images of one patient under separate names ({', '.join(images)[:200]}). Ask the "
            "model's author for preprocessing that loads them as the channels of one image.",
        )
    return images[0] if images else IMAGE


def _keys(component: ConfigComponent, config: Config) -> list[str]:
    if "keys" not in component.arguments:
        raise _not_allowed(component, config.file, "has no 'keys', so it is not a transform of a named image")
    keys = config.need(component.arguments["keys"])
    return [str(key) for key in keys] if isinstance(keys, list) else [str(keys)]


def _for_image(component: ConfigComponent, image: str, config: Config) -> ConfigComponent:
    """The same transform of the key "image" alone, on whatever device it is."""
    keys = _keys(component, config)
    arguments = {name: value for name, value in component.arguments.items() if name != "device"}
    for name in _PER_KEY & arguments.keys():
        if isinstance(arguments[name], list) and len(arguments[name]) == len(keys):
            arguments[name] = arguments[name][keys.index(image)]
    arguments["keys"] = IMAGE
    if arguments.get("source_key") == image:
        arguments["source_key"] = IMAGE
    return ConfigComponent(component.target, arguments, component.where)


def _built(component: ConfigComponent, config: Config) -> Any:
    config.need(component)
    _check_allowed(component, config.file)
    try:
        built = _PLACED.get(array_name(component)) or getattr(monai.transforms, component.name)
        return built(**component.arguments)
    except Exception as error:
        refuse_out_of_memory(error, f"'{config.file}'")
        raise _refused(component, config.file, error) from error


def _check_allowed(component: ConfigComponent, file: str) -> None:
    known = component.is_from("monai.transforms") and hasattr(monai.transforms, component.name)
    if component.name.startswith("Rand"):
        raise _not_allowed(component, file, "is random: the same volume would give another result each time")
    if not known or array_name(component) not in GEOMETRY | INTENSITY:
        raise _not_allowed(
            component, file, "is not among MONAI's transforms of geometry and intensity that can be used"
        )
    if component.arguments.get("source_key", IMAGE) != IMAGE:
        raise _not_allowed(component, file, "refers to another image than the one to segment")


def _not_allowed(component: ConfigComponent, file: str, reason: str) -> EngineError:
    return EngineError(
        "bundle-transform",
        f"'{file}' sets '{component.where}' to '{component.target[:100]}', which {reason}. "
        "Ask the model's author for preprocessing without it.",
    )


def _refused(component: ConfigComponent, file: str, error: Exception) -> EngineError:
    reason = " ".join(str(error).split())[:300]
    return EngineError(
        "bundle-transform",
        f"'{file}' describes a {component.name} at '{component.where}' that MONAI {monai.__version__} does not take: {reason}. "
        "Ask the model's author which version of MONAI it was made with.",
    )
