"""Values of one grid at the positions of another, in patient space, at no more memory than both take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.grids import SAME_PLACE, distance

if TYPE_CHECKING:
    import SimpleITK as sitk

Interpolation = Literal["nearest", "linear"]

DIGITS = 9
"""Of the way from one grid's indices to another's: a flip or a shift by whole voxels changes no value."""
HALFWAY = 1e-6
"""Voxels: what lies no farther from halfway between two voxels is as near to the one as to the other. More than `DIGITS` leave in error."""


def resample_onto(
    values: MetaTensor, grid: MetaTensor, interpolation: Interpolation, outside: float = 0
) -> torch.Tensor:
    """`values` at the voxel centres of `grid`.

    Args:
        values: (1, i, j, k) of any real type, with a RAS affine, whatever its axes.
        grid: Its shape (C, i, j, k) and affine count.
        interpolation: "nearest" for labels and masks. Halfway between two voxels the greater value stands: to take the one or the other by
            its index would shift everything that way, on a grid of half as many voxels by a quarter of one.
        outside: What a voxel has whose centre lies in no voxel of `values`.

    Returns:
        (i, j, k) of `grid`, in the type of `values`. On one and the same grid the values themselves.
    """
    array: torch.Tensor = values.as_tensor()[0]
    if is_same_grid(values, grid):
        return array
    there = np.linalg.solve(np.asarray(values.affine, np.float64), np.asarray(grid.affine, np.float64)).round(DIGITS)
    shape = tuple(grid.shape[1:])
    import SimpleITK as sitk  # takes half a second

    image = sitk.GetImageFromArray((array.to(torch.uint8) if array.dtype == torch.bool else array).numpy())
    if interpolation == "nearest" and _has_halfway(there, shape):
        either = (_resampled(image, shape, there, interpolation, outside, shift) for shift in (-HALFWAY, HALFWAY))
        found = np.maximum(*either)
    else:
        found = _resampled(image, shape, there, interpolation, outside)
    return torch.from_numpy(found).to(array.dtype)


def _resampled(
    image: sitk.Image,
    shape: tuple[int, ...],
    there: npt.NDArray[np.float64],
    interpolation: Interpolation,
    outside: float,
    shift: float = 0,
) -> npt.NDArray[Any]:
    """Values at the indices that `there` (4, 4) gives for those of a grid, moved by `shift` along every axis."""
    import SimpleITK as sitk

    # Without geometry of its own an image takes any affine, a sheared one as well. SimpleITK counts axes from the last one on.
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(there[2::-1, 2::-1].ravel())
    transform.SetTranslation(there[2::-1, 3] + shift)
    found = sitk.Resample(
        image,
        shape[::-1],
        transform,
        sitk.sitkNearestNeighbor if interpolation == "nearest" else sitk.sitkLinear,
        [0.0] * 3,
        [1.0] * 3,
        np.eye(3).ravel(),
        outside,
    )
    values: npt.NDArray[Any] = sitk.GetArrayFromImage(found)
    return values


def _has_halfway(there: npt.NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """Whether voxels of a grid lie halfway between two others along an axis that both grids have in common."""
    for row, start in zip(there[:3, :3], there[:3, 3], strict=True):
        axes = np.flatnonzero(row)
        if len(axes) == 1:
            places = row[axes[0]] * np.arange(shape[axes[0]]) + start
            if (np.abs(places - np.floor(places) - 0.5) < HALFWAY).any():
                return True
    return False


def is_same_grid(one: MetaTensor, other: MetaTensor) -> bool:
    """Whether the voxels of two volumes lie at the same places."""
    return one.shape[1:] == other.shape[1:] and distance(one.affine, other.affine, one.shape[1:]) < SAME_PLACE
