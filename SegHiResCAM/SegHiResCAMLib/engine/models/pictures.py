"""Preprocessing of single 2D pictures, turned into that of a volume whose slices are the pictures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.transforms import Compose

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.transforms import GEOMETRY, IMAGE, array_name, compose, image_steps
from SegHiResCAMLib.engine.models.untrusted.resolver import Config, ConfigComponent

# The argument that has one value for each axis, and the value that leaves the third axis as it is.
_SIZES: dict[str, tuple[str, int | float]] = {
    "Resize": ("spatial_size", -1),
    "ResizeWithPadOrCrop": ("spatial_size", -1),
    "SpatialPad": ("spatial_size", -1),
    "CenterSpatialCrop": ("roi_size", -1),
    "DivisiblePad": ("k", 1),
    "Zoom": ("zoom", 1.0),
}
_WITHOUT_AXES = frozenset({"EnsureType", "CastToType", "Identity"})


def build_picture_preprocessing(
    config: Config, key: str
) -> tuple[Compose, Callable[[torch.Tensor], torch.Tensor] | None]:
    """What is done to the volume, and then to each slice (C, x, y) by itself: together what `key` does to a single picture.

    Sizes change in the first two axes of the volume, for all slices alike; a picture has only one slice.

    Raises:
        EngineError: As `build_preprocessing`; `bundle-slices`, where the two cannot be taken apart.
    """
    steps = image_steps(config, key)
    sizes = [number for number, part in enumerate(steps) if array_name(part) in GEOMETRY]
    first = sizes[-1] + 1 if sizes else 0
    volume = compose([_for_volumes(part, config) for part in steps[:first]], config, key)
    if first == len(steps):
        return volume, None
    slices = compose(steps[first:], config, key)
    return volume, lambda image: slices({IMAGE: image})[IMAGE]


def _for_volumes(part: ConfigComponent, config: Config) -> ConfigComponent:
    """The same transform with a third axis that it leaves alone."""
    name = array_name(part)
    if name in _WITHOUT_AXES:
        return part
    argument, keeps = _SIZES.get(name, ("", 0))
    size = config.need(part.arguments.get(argument))
    axes = [size, size] if isinstance(size, int | float) else size
    whole = part.arguments.get("size_mode", "all") == "all"
    if not isinstance(axes, list) or len(axes) != 2 or not whole:
        raise EngineError(
            "bundle-slices",
            f"'{config.file}' prepares single images with '{part.name}' at '{part.where}', which cannot be applied to the slices of a volume. Ask "
            "the model's author for one that resizes its images before it changes their intensities, or that prepares a whole volume.",
        )
    return ConfigComponent(part.target, {**part.arguments, argument: [*axes, keeps]}, part.where)
