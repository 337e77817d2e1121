"""Affines that volumes come with, and the voxel and point that tests look at."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

SHAPE = (5, 4, 3)
VOXELS = np.arange(60, dtype=np.float32).reshape(SHAPE)
"""Every voxel has its own value, and no axis is as long as another."""


def affine(axes: np.ndarray, spacing: tuple[float, float, float], origin: tuple[float, float, float]) -> np.ndarray:
    """Columns of `axes` are unit directions of i, j and k in RAS; spacing and origin in millimetres."""
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing
    matrix[:3, 3] = origin
    return matrix


TILT = np.array([[1, 0, 0], [0, 1, np.sin(0.3)], [0, 0, np.cos(0.3)]])
"""Slices that a gantry tilted by 0.3 rad pushes along j."""

ROTATION = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()

AFFINES = {
    "identity": np.eye(4),
    "lps": affine(np.diag([-1, -1, 1]), (1, 1, 1), (0, 0, 0)),
    "anisotropic": affine(np.eye(3), (0.57, 0.7, 5), (-12.5, 7.25, 31)),
    "oblique": affine(ROTATION, (0.9, 1.1, 2.5), (-12.5, 7.25, 31)),
    "left-handed": affine(ROTATION @ np.diag([1, 1, -1]), (0.9, 1.1, 2.5), (3, -4, 5)),
    "permuted": affine(np.eye(3)[:, [2, 0, 1]], (0.9, 1.1, 2.5), (3, -4, 5)),
    "permuted, left-handed": affine(np.eye(3)[:, [1, 0, 2]], (0.9, 1.1, 2.5), (3, -4, 5)),
    "sheared": affine(TILT, (0.9, 1.1, 2.5), (3, -4, 5)),
    "sheared, oblique, left-handed": affine(ROTATION @ TILT @ np.diag([1, -1, 1]), (0.9, 1.1, 2.5), (3, -4, 5)),
}


@st.composite
def any_affine(draw: st.DrawFn) -> np.ndarray:
    """Any axes from rotated, tilted by up to 30 degrees, flipped; voxels of 0.1 to 10 mm within 2 m of the origin."""
    turn = Rotation.from_euler("xyz", [draw(st.floats(-180, 180)) for _ in "xyz"], degrees=True).as_matrix()
    angle = np.radians(draw(st.floats(-30, 30)))
    tilt = np.array([[1, 0, 0], [0, 1, np.sin(angle)], [0, 0, np.cos(angle)]])
    flip = np.diag([draw(st.sampled_from([-1, 1])), 1, 1])
    spacing = tuple(draw(st.floats(0.1, 10)) for _ in "ijk")
    origin = tuple(draw(st.floats(-2000, 2000)) for _ in "xyz")
    return affine(turn @ tilt @ flip, spacing, origin)


def points_of(matrix: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Where the centres of voxels (n, 3) lie, in RAS millimetres."""
    found: np.ndarray = indices @ matrix[:3, :3].T + matrix[:3, 3]
    return found


def point_of(matrix: np.ndarray, index: tuple[int, int, int]) -> np.ndarray:
    """Where a voxel's centre lies, in RAS millimetres."""
    return matrix[:3, :3] @ index + matrix[:3, 3]
