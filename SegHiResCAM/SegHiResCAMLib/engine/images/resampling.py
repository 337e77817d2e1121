"""Values of one grid at the positions of another, in patient space, at no more memory than both take."""

from __future__ import annotations

from typing import Literal

import numpy as np
import SimpleITK as sitk
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.grids import SAME_PLACE, distance

Interpolation = Literal["nearest", "linear"]

INTERPOLATORS = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear}


def resample_onto(
    values: MetaTensor, grid: MetaTensor, interpolation: Interpolation, outside: float = 0
) -> torch.Tensor:
    """`values` at the voxel centres of `grid`.

    Args:
        values: (1, i, j, k) of any real type, with a RAS affine, whatever its axes.
        grid: Its shape (C, i, j, k) and affine count.
        interpolation: "nearest" for labels and masks.
        outside: What a voxel has whose centre lies in no voxel of `values`.

    Returns:
        (i, j, k) of `grid`, in the type of `values`. On one and the same grid the values themselves.
    """
    array = values.as_tensor()[0]
    if is_same_grid(values, grid):
        return array
    # Without geometry of its own an image takes any affine, a sheared one as well. SimpleITK counts axes from the last one on.
    there = np.linalg.solve(np.asarray(values.affine, np.float64), np.asarray(grid.affine, np.float64))
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(there[2::-1, 2::-1].ravel())
    transform.SetTranslation(there[2::-1, 3])
    image = sitk.GetImageFromArray((array.to(torch.uint8) if array.dtype == torch.bool else array).numpy())
    found = sitk.Resample(
        image,
        grid.shape[:0:-1],
        transform,
        INTERPOLATORS[interpolation],
        [0.0] * 3,
        [1.0] * 3,
        np.eye(3).ravel(),
        outside,
    )
    return torch.from_numpy(sitk.GetArrayFromImage(found)).to(array.dtype)


def is_same_grid(one: MetaTensor, other: MetaTensor) -> bool:
    """Whether the voxels of two volumes lie at the same places."""
    return one.shape[1:] == other.shape[1:] and distance(one.affine, other.affine, one.shape[1:]) < SAME_PLACE
