"""nnU-Net's resampling, value for value.

nnU-Net resizes with scikit-image, which zooms with SciPy's splines and clips to the range that was there. Where a volume's steps along one
axis are more than three times the others, planes are resized one by one, and positions along that axis take their nearest plane's values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from SegHiResCAMLib.engine.models.nnunet.plans import Resampling

ANISOTROPY = 3
"""Ratio of steps above which one axis is treated by itself."""

Array = npt.NDArray[Any]


def new_shape(shape: Sequence[int], spacing: Sequence[float], wanted: Sequence[float]) -> tuple[int, ...]:
    """Positions along each axis after resampling from one spacing (mm) to another."""
    return tuple(round(step / target * length) for length, step, target in zip(shape, spacing, wanted, strict=True))


def resample(
    image: Array, shape: tuple[int, ...], spacing: Sequence[float], wanted: Sequence[float], how: Resampling
) -> Array:
    """An image (C, x, y, z) resized to `shape`, float32.

    Args:
        image: float32.
        shape: From `new_shape`.
        spacing: Its steps in mm.
        wanted: The network's.
        how: From the plans.
    """
    if tuple(image.shape[1:]) == shape or how.function == "no_resampling_hack":
        return image
    axis = _separate_axis(spacing, wanted, how.separate_z)
    if how.function == "resample_torch_fornnunet":
        return _linear(torch.from_numpy(np.ascontiguousarray(image)), shape, axis).numpy()
    return np.stack([_splines(channel.astype(np.float64), shape, axis, how) for channel in image]).astype(np.float32)


def _separate_axis(spacing: Sequence[float], wanted: Sequence[float], forced: bool | None) -> int | None:
    """The axis that is treated by itself: the one with the largest steps, where no other has as large ones."""
    if forced is False:
        return None
    anisotropic = [steps for steps in (spacing, wanted) if forced or max(steps) / min(steps) > ANISOTROPY]
    if not anisotropic:
        return None
    largest = [axis for axis, step in enumerate(anisotropic[0]) if step == max(anisotropic[0])]
    return largest[0] if len(largest) == 1 else None


def _splines(values: Array, shape: tuple[int, ...], axis: int | None, how: Resampling) -> Array:
    """One channel (x, y, z)."""
    if axis is None:
        return _resized(values, shape, how.order)
    plane = tuple(length for one, length in enumerate(shape) if one != axis)
    planes = np.stack([_resized(one, plane, how.order) for one in np.moveaxis(values, axis, 0)], axis=axis)
    return planes if planes.shape == shape else _along(planes, axis, shape[axis], how.order_z)


def _resized(values: Array, shape: tuple[int, ...], order: int) -> Array:
    """As `skimage.transform.resize(values, shape, order, mode="edge", anti_aliasing=False)`."""
    factors = [1 / (before / after) for before, after in zip(values.shape, shape, strict=True)]
    zoomed: Array = ndimage.zoom(values, factors, order=order, mode="nearest", grid_mode=True)
    return np.clip(zoomed, values.min(), values.max())


def _along(values: Array, axis: int, length: int, order: int) -> Array:
    """(x, y, z) with `length` positions along `axis`, the other axes as they are."""
    scale = values.shape[axis] / length
    places = scale * (np.arange(length) + 0.5) - 0.5
    if order == 0:
        nearest = ndimage.map_coordinates(np.arange(values.shape[axis]), [places], order=0, mode="nearest")
        taken: npt.NDArray[Any] = np.take(values, nearest, axis=axis)
        return taken
    lines = [places if one == axis else np.arange(n, dtype=np.float64) for one, n in enumerate(values.shape)]
    found: Array = ndimage.map_coordinates(values, np.meshgrid(*lines, indexing="ij"), order=order, mode="nearest")
    return found


def _linear(image: torch.Tensor, shape: tuple[int, ...], axis: int | None) -> torch.Tensor:
    """(C, x, y, z): linear, but nearest along an axis that is treated by itself."""
    if axis is None:
        return torch.nn.functional.interpolate(image[None], shape, mode="trilinear")[0]
    plane = [length for one, length in enumerate(shape) if one != axis]
    planes = image.movedim(axis + 1, 1)
    resized = torch.nn.functional.interpolate(planes.flatten(0, 1)[None], plane, mode="bilinear")[0]
    back = resized.reshape(*planes.shape[:2], *plane).movedim(1, axis + 1)
    return torch.nn.functional.interpolate(back[None], shape, mode="nearest-exact")[0]
