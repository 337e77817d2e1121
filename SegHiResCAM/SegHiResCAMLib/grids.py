"""Whether two grids of voxels are one; may import numpy only, since every room asks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

SAME_PLACE = 1e-3
"""mm: how far voxels of one grid may lie apart by rounding."""


def distance(one: npt.ArrayLike, other: npt.ArrayLike, shape: Sequence[int]) -> float:
    """How far voxels of the same index lie apart at most, in mm along an axis: the farthest are in the corners.

    Args:
        one: Affine (4, 4) from voxel indices to millimetres.
        other: Another one, into the same space.
        shape: Of both grids, (i, j, k).
    """
    corners = [(*corner, 1) for corner in product(*((0, length - 1) for length in shape))]
    apart = (np.asarray(one, np.float64) - np.asarray(other, np.float64)) @ np.transpose(corners)
    return float(np.abs(apart).max())
