"""Scans a made-up patient: lays the tissues on a voxel grid, with partial volume, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from monai.data import MetaTensor
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from phantom.kidneys import draw_kidneys, draw_lesions, kidney_tissues
from phantom.solids import Array, Field, Solid, column, waves
from phantom.tissue import AIR, BACKGROUND, CYST, KIDNEY, TUMOUR, Tissue
from phantom.trunk import draw_trunk

__all__ = ["BACKGROUND", "CYST", "KIDNEY", "TUMOUR", "Phantom", "phantom"]

FIELD_OF_VIEW = np.array([384.0, 288.0, 232.0])
"""Extent of a default scan along the patient's axes (mm), and its middle in RAS mm."""
MIDDLE = np.array([0.0, -4.0, 4.0])
ROOM = 400.0
"""Nothing is further than this (mm) from the middle along any axis."""
BEND = 3.5
"""Deviation (mm) of the smooth random deformation that makes each patient crooked in his own way."""


@dataclass(frozen=True)
class Phantom:
    """A scan and its truth.

    Attributes:
        volume: Float32 (1, i, j, k), whole Hounsfield units.
        labels: Uint8 (1, i, j, k): 0 background, 1 kidney, 2 tumour, 3 cyst; same affine. Exact at the voxels' centres.
    """

    volume: MetaTensor
    labels: MetaTensor


def phantom(
    seed: int,
    affine: ArrayLike | None = None,
    shape: tuple[int, int, int] | None = None,
    tumours: int | None = None,
    cysts: int | None = None,
) -> Phantom:
    """A contrast-enhanced CT of a made-up patient's kidneys, the same for the same arguments.

    The patient is made in RAS millimetres from the seed alone and then sampled, so that one patient can be scanned on
    several grids, oblique and left-handed ones included.

    Args:
        seed: Draws patient, lesions, grid and noise; 0 or more.
        affine: 4x4, from voxel indices to RAS mm; None draws a grid of about 2.4 x 2.4 x 3 mm, oblique for every third seed.
        shape: Voxels along each axis; given together with `affine`.
        tumours: How many, 0 to 4; None draws 0 (rarely), 1 or 2.
        cysts: How many, 0 to 4; None draws 0, 1 or 2.

    Raises:
        ValueError: When only one of affine and shape is given, or the affine is singular.
    """
    if (affine is None) != (shape is None):
        raise ValueError("A phantom's grid needs both the affine and the shape, or neither.")
    body, disease, grid, physics = np.random.default_rng(seed).spawn(4)
    matrix, size = _draw_grid(grid) if affine is None or shape is None else (np.asarray(affine, float), shape)
    if matrix.shape != (4, 4) or not abs(np.linalg.det(matrix)) > 0:
        raise ValueError("A phantom's affine must be an invertible 4x4 matrix.")
    pose = _draw_pose(body)
    trunk = draw_trunk(body)
    kidneys = draw_kidneys(body)
    tissues = [
        *trunk.below,
        *kidney_tissues(disease, kidneys, *draw_lesions(disease, kidneys, tumours, cysts), trunk.cavity),
        *trunk.above,
    ]
    hu, labels = _lay(tissues, pose, waves(body, 18), matrix, size)
    image = _acquire(hu, physics)
    return Phantom(MetaTensor(image[None], affine=matrix), MetaTensor(labels[None], affine=matrix))


@dataclass(frozen=True)
class _Pose:
    """From patient RAS mm to the anatomy's own mm: linear part, and a smooth deformation."""

    linear: NDArray[np.float64]
    bend: tuple[Field, Field, Field]

    def __call__(self, points: Array) -> Array:
        moved = np.tensordot(self.linear.astype(np.float32), points, axes=1)
        for axis, field in enumerate(self.bend):
            moved[axis] += BEND * field(points)
        return moved


def _draw_pose(rng: np.random.Generator) -> _Pose:
    turn = Rotation.from_euler("xyz", rng.uniform(-4, 4, 3), degrees=True).as_matrix()
    return _Pose(turn / rng.uniform(0.92, 1.06), (waves(rng, 190, 4), waves(rng, 190, 4), waves(rng, 190, 4)))


def _draw_grid(rng: np.random.Generator) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """A grid over the field of view: axial slices, each axis in either direction, oblique for one seed in three."""
    in_plane = rng.uniform(2.1, 2.7)
    spacing = np.array([in_plane, in_plane, rng.uniform(2.4, 3.6)])
    size = np.round(FIELD_OF_VIEW / spacing).astype(int)
    tilt = rng.uniform(-12, 12, 3) * (rng.uniform() < 1 / 3)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix() * rng.choice([-1, 1], 3) * spacing
    matrix[:3, 3] = MIDDLE - matrix[:3, :3] @ ((size - 1) / 2)
    return matrix, (int(size[0]), int(size[1]), int(size[2]))


def _lay(
    tissues: list[Tissue], pose: _Pose, pattern: Field, affine: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[Array, NDArray[np.uint8]]:
    """Lays each tissue over the ones before it; at its surface it takes its share of a voxel."""
    indices = np.indices(shape, dtype=np.float32)
    points = pose(np.tensordot(affine[:3, :3].astype(np.float32), indices, axes=1) + column(affine[:3, 3], indices))
    shared = pattern(points)
    edge = np.float32(np.linalg.norm(affine[:3, :3], axis=0).min())
    hu = np.full(shape, AIR, np.float32)
    labels = np.zeros(shape, np.uint8)
    to_anatomy = np.eye(4)
    to_anatomy[:3, :3] = pose.linear
    to_voxels = np.linalg.inv(to_anatomy @ affine)
    for tissue in tissues:
        box = _box(tissue.solid, to_voxels, shape, margin=4 * BEND + float(edge))
        there = points[(slice(None), *box)]
        if there.size == 0:
            continue
        distance = tissue.solid.distance(there)
        touched = distance < edge / 2
        share = np.minimum(0.5 - distance[touched] / edge, 1)
        texture = shared[box][touched] if tissue.pattern is None else tissue.pattern(there[:, touched])
        hu[box][touched] += share * (np.float32(tissue.hu) + np.float32(tissue.mottle) * texture - hu[box][touched])
        if tissue.label is not None:
            labels[box][distance < 0] = tissue.label
    return hu, labels


def _box(
    solid: Solid, to_voxels: NDArray[np.floating], shape: tuple[int, int, int], margin: float
) -> tuple[slice, ...]:
    """The voxels that a solid may touch."""
    low, high = np.maximum(solid.low, -ROOM) - margin, np.minimum(solid.high, ROOM) + margin
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1)
    voxels = to_voxels[:3, :3] @ corners + to_voxels[:3, 3:]
    first, last = np.floor(voxels.min(axis=1)), np.ceil(voxels.max(axis=1)) + 1
    return tuple(slice(int(max(a, 0)), int(max(min(b, n), 0))) for a, b, n in zip(first, last, shape, strict=True))


def _acquire(hu: Array, rng: np.random.Generator) -> Array:
    """Blur and noise of the scanner; whole HU, never below what a scanner stores."""
    noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape, np.float32), (0.6, 0.6, 0.3))
    blurred = ndimage.gaussian_filter(hu, 0.45)
    return np.maximum(np.rint(blurred + rng.uniform(7, 16) * noise / noise.std()), -1024).astype(np.float32)
