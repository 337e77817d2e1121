"""Volumes as a page shows them: cropped to the body, in few enough voxels, and in as many bits as the eye needs.

All of them lie on subsets of the volume's own voxels that hold the map's peak, so that its place and value are exact.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

MOST_IMAGE = 24_000_000
"""Voxels of an image in a page: with 8 bits each, some 14 MB of text."""

MOST_MAP = 5_000_000
"""Voxels of a map in a page: with 16 bits each, some 6 MB of text."""

AROUND_MM = 20.0
"""Around what was explained: whose grey values the display's range is made for."""

MARGIN_MM = 10.0
COARSE = 4
"""Every fourth voxel is enough to find the body."""

SIXTEEN_BITS = 32767

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Encoded:
    """A volume in a page.

    Attributes:
        data: A NIfTI file, compressed, in base64.
        step: Of the values that it can hold, in the volume's units; rounding changes a value by half of it at most.
        factors: Every so many voxels of the volume there is one, along each axis.
        low: Lowest value that it shows.
        high: Highest value that it shows.
    """

    data: str
    step: float
    factors: tuple[int, int, int]
    low: float
    high: float


def body_box(volume: npt.NDArray[Any], keep: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64]) -> Box:
    """The voxels around the largest object in an image, and around what must be seen.

    Args:
        volume: (i, j, k).
        keep: (i, j, k): what must not be cut off.
        affine: (4, 4) from voxel indices to RAS millimetres.
    """
    coarse = volume[::COARSE, ::COARSE, ::COARSE]
    low, high = np.percentile(coarse, [1, 99])
    air = -300.0 if low < -500 else low + 0.1 * (high - low)
    labels, count = ndimage.label(coarse > air)
    found = keep.copy()
    if count:
        largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
        found[::COARSE, ::COARSE, ::COARSE] |= largest
    return _box_around(found, MARGIN_MM, affine) if found.any() else (slice(None),) * 3


def encode_image(
    volume: npt.NDArray[Any],
    explained: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
    box: Box,
    through: tuple[int, int, int],
) -> Encoded:
    """An image in 8 bits, for the range of grey values around what was explained.

    Args:
        volume: (i, j, k).
        explained: (i, j, k), boolean.
        affine: (4, 4).
        box: Of the voxels that are kept.
        through: Voxel that is one of those of the result, wherever voxels are put together.
    """
    near = volume[_box_around(explained, AROUND_MM, affine)] if explained.any() else volume[box]
    low, high = (float(one) for one in np.percentile(near, [5, 99.5]))
    high = high if high > low else low + 1
    factors = _factors(_shape(box, volume.shape), affine, MOST_IMAGE)
    picked, there = _subset(box, volume.shape, factors, through, affine)
    mean = (
        ndimage.uniform_filter(volume.astype(np.float32, copy=False), factors, mode="nearest")
        if max(factors) > 1
        else volume
    )
    values = np.clip((mean[picked] - low) / (high - low), 0, 1)
    step = (high - low) / 255
    return Encoded(_nifti(np.rint(values * 255).astype(np.uint8), there, step, low), step, factors, low, high)


def encode_labels(
    labels: npt.NDArray[Any], affine: npt.NDArray[np.float64], box: Box, through: tuple[int, int, int]
) -> Encoded:
    """A label map, on the voxels of the image."""
    factors = _factors(_shape(box, labels.shape), affine, MOST_IMAGE)
    picked, there = _subset(box, labels.shape, factors, through, affine)
    shown = np.where(labels[picked] < 256, labels[picked], 0).astype(
        np.uint8
    )  # others have no entry in the page's list either
    return Encoded(_nifti(shown, there, 1, 0), 1, factors, 0, float(labels.max(initial=0)))


def encode_map(
    signed: npt.NDArray[np.float32], affine: npt.NDArray[np.float64], box: Box, peak: tuple[int, int, int]
) -> Encoded:
    """A signed map in 16 bits, 0 exact and the peak, too, where no value is farther from 0."""
    extreme = float(np.abs(signed).max(initial=0)) or 1.0
    step = extreme / SIXTEEN_BITS
    factors = _factors(_shape(box, signed.shape), affine, MOST_MAP)
    picked, there = _subset(box, signed.shape, factors, peak, affine)
    values = np.rint(signed[picked].astype(np.float64) / step).astype(np.int16)
    return Encoded(_nifti(values, there, step, 0), step, factors, float(signed.min()), float(signed.max()))


def _factors(shape: tuple[int, int, int], affine: npt.NDArray[np.float64], most: int) -> tuple[int, int, int]:
    """How many voxels become one along each axis: the closest ones first, until there are few enough."""
    factors, spacing = np.ones(3, int), np.linalg.norm(affine[:3, :3], axis=0)
    while np.prod(np.ceil(np.array(shape) / factors)) > most:
        factors[int(np.argmin(spacing * factors))] += 1
    return int(factors[0]), int(factors[1]), int(factors[2])


def _subset(
    box: Box,
    shape: tuple[int, ...],
    factors: tuple[int, int, int],
    through: tuple[int, int, int],
    affine: npt.NDArray[np.float64],
) -> tuple[Box, npt.NDArray[np.float64]]:
    """Every so many voxels of a box, `through` among them, and where they lie."""
    starts = []
    for side, length, factor, index in zip(box, shape, factors, through, strict=True):
        first = side.indices(length)[0]
        starts.append(first + (index - first) % factor)
    picked = tuple(
        slice(start, side.indices(length)[1], factor)
        for start, side, length, factor in zip(starts, box, shape, factors, strict=True)
    )
    there = affine @ np.diag([*map(float, factors), 1.0])
    there[:3, 3] = (affine @ [*starts, 1.0])[:3]
    return (picked[0], picked[1], picked[2]), there


def _box_around(mask: npt.NDArray[np.bool_], margin_mm: float, affine: npt.NDArray[np.float64]) -> Box:
    sides = []
    for axis, spacing in enumerate(np.linalg.norm(affine[:3, :3], axis=0)):
        there = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = int(np.ceil(margin_mm / spacing))
        sides.append(slice(max(int(there[0]) - margin, 0), min(int(there[-1]) + margin + 1, mask.shape[axis])))
    return sides[0], sides[1], sides[2]


def _shape(box: Box, shape: tuple[int, ...]) -> tuple[int, int, int]:
    lengths = [len(range(*side.indices(length))) for side, length in zip(box, shape, strict=True)]
    return lengths[0], lengths[1], lengths[2]


def _nifti(values: npt.NDArray[Any], affine: npt.NDArray[np.float64], slope: float, intercept: float) -> str:
    image = nib.Nifti1Image(values, affine)
    image.set_sform(affine, code="scanner")
    image.header.set_slope_inter(slope, intercept)
    image.header.set_xyzt_units("mm")
    return base64.b64encode(gzip.compress(image.to_bytes(), 6, mtime=0)).decode("ascii")
