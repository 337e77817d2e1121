"""What a bundle does to a volume, and to each slice of it, before the network sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from monai.transforms import Compose

from SegHiResCAMLib.engine.models.bundle_inferer import slice_axis
from SegHiResCAMLib.engine.models.bundle_parts import place_of
from SegHiResCAMLib.engine.models.pictures import build_picture_preprocessing
from SegHiResCAMLib.engine.models.transforms import build_preprocessing, build_slice_preprocessing, is_for_volumes
from SegHiResCAMLib.engine.models.untrusted.resolver import Config


@dataclass(frozen=True)
class BundlePreprocessing:
    """How a volume is prepared.

    Attributes:
        volume: Dictionary transform (key "image") of the whole volume.
        slices: Of one slice (C, x, y); None where there is none.
        slice_axis: The axis along which slices follow one another, where that is known.
        is_described: Whether the bundle says anything of it.
    """

    volume: Compose
    slices: Callable[[torch.Tensor], torch.Tensor] | None = None
    slice_axis: Literal[0, 1, 2] | None = None
    is_described: bool = True


def bundle_preprocessing(config: Config, spatial_dims: int) -> BundlePreprocessing:
    """The preprocessing of a bundle. Bundles for single 2D pictures prepare each by itself; on a volume that is the preprocessing of a slice.

    Raises:
        EngineError: As `place_of`, `build_preprocessing` and `build_picture_preprocessing`.
    """
    axis = slice_axis(config)
    own = build_slice_preprocessing(config, "slice_preprocessing") if "slice_preprocessing" in config else None
    place = place_of(config, "preprocessing")
    if place is None:
        return BundlePreprocessing(Compose([]), own, axis, is_described=own is not None)
    if spatial_dims == 2 and own is None and axis is None and not is_for_volumes(config, place):
        volume, slices = build_picture_preprocessing(config, place)
        return BundlePreprocessing(volume, slices, 2 if volume.transforms else None)
    return BundlePreprocessing(build_preprocessing(config, place), own, axis)
