"""Which anatomical regions a map's evidence lies in: `share_by_region`.

A voxel of the map carries its value times its volume, spread evenly over it. Where the regions' grid is finer than the map's, the voxel is
divided into equal parts, so that neighbouring parts are no more than one voxel of the regions apart along any of its axes; each part carries
the same share of the value and belongs to the region whose voxel its centre lies in. On one grid, and where the map's voxels are made of whole
voxels of the regions, that is exact on any affine. Otherwise only voxels that a region's border crosses are divided by the centres of their
parts. Distances are those of `measurements.py`: from centre to centre in the patient, on the divided grid, exact on oblique and sheared grids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.answer.measurements import AROUND_MM, ML_PER_MM3, NEAR_MM, dilated
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.region_files import Regions
from SegHiResCAMLib.engine.images.resampling import is_same_grid, resample_onto
from SegHiResCAMLib.engine.inference.segmentation import Segmentation
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.records.region_shares import Part, RegionShare

_NONE: tuple[float | None, float | None] = (None, None)

MOST_PARTS = 2**27
"""Parts of all voxels together at most: half a gigabyte while they are made. A map that needs more is divided less."""

ROUNDING = 1e-6
"""Of the ratio of two voxels' edges."""


@dataclass(frozen=True)
class _Sums:
    """Sums over a part of the volume: positive evidence, negative evidence (as a positive number), and how many parts of voxels it has."""

    positive: float = 0.0
    negative: float = 0.0
    count: int = 0

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(self.positive + other.positive, self.negative + other.negative, self.count + other.count)

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(self.positive - other.positive, self.negative - other.negative, self.count - other.count)


@dataclass(frozen=True)
class _Divided:
    """A map and regions on one grid, that of the map with its voxels divided.

    Attributes:
        values: Of the map, (i, j, k).
        parts: Of a voxel along each axis.
        labels: Of the regions on the divided grid.
        axes: (3, 3): the columns are the edges of a part in mm.
    """

    values: npt.NDArray[np.float32]
    parts: tuple[int, ...]
    labels: npt.NDArray[np.int16]
    axes: npt.NDArray[np.float64]

    def values_in(self, box: tuple[slice, ...]) -> npt.NDArray[np.float64]:
        """What the parts in a box of the divided grid carry."""
        index = [np.arange(one.start, one.stop) // count for one, count in zip(box, self.parts, strict=True)]
        carried: npt.NDArray[np.float64] = self.values[np.ix_(*index)].astype(np.float64) / math.prod(self.parts)
        return carried


def share_by_region(signed_map: MetaTensor, regions: Regions, progress: Progress = silent) -> tuple[RegionShare, ...]:
    """How a map's evidence is spread over regions, the shells up to 5 and 10 mm around all of them, and the rest of the volume.

    Args:
        signed_map: (1, i, j, k) with RAS affine in mm.
        regions: In any geometry.
        progress: Called every second or so, may raise `Cancelled`.

    Returns:
        Regions in their order, the two shells, and the rest. Each kind of share adds up to 1 over them.

    Raises:
        EngineError: `regions-apart`, no region lies in the volume.
    """
    progress(0.0, "Measuring the regions")
    divided = _divided(signed_map, regions)
    if not divided.labels.any() and bool(regions.labels.any()):
        message = "None of the regions lies in the volume, so the map has no share in them. Check that they belong to this volume."
        raise EngineError("regions-apart", message)
    every, inside = _inside(divided, regions.names)
    found, steps = [], 2 * (len(regions.names) + 1)
    for number, (value, name) in enumerate(regions.names.items()):
        near, around = _within(
            divided, divided.labels == value, part(progress, 2 * number / steps, 2 * (number + 1) / steps)
        )
        found.append(_share(name, "region", inside[value], every, divided, (near, around)))
    near, around = _within(divided, divided.labels > 0, part(progress, 1 - 2 / steps, 1.0))
    together = sum(inside.values(), _Sums())
    found.append(_share(f"0 to {NEAR_MM:g} mm around", "shell", near - together, every, divided))
    found.append(_share(f"{NEAR_MM:g} to {AROUND_MM:g} mm around", "shell", around - near, every, divided))
    found.append(_share("elsewhere", "elsewhere", every - around, every, divided))
    return tuple(found)


def predicted_regions(model: SegmentationModel, segmentation: Segmentation) -> Regions:
    """What a model segments, as regions."""
    return Regions(segmentation.labels, {one.value: one.name for one in model.labels})


def _divided(signed_map: MetaTensor, regions: Regions) -> _Divided:
    affine = np.asarray(signed_map.affine, np.float64)
    shape = tuple(signed_map.shape[1:])
    parts: tuple[int, ...] = (1, 1, 1)
    if not is_same_grid(signed_map, regions.labels):
        parts = _parts(affine, np.asarray(regions.labels.affine, np.float64), shape)
    fine = affine @ np.diag([*(1 / count for count in parts), 1])
    # The first part's centre lies half a part inside the voxel's border, which is half a voxel before its centre.
    fine[:3, 3] = affine[:3, :3] @ [(1 / count - 1) / 2 for count in parts] + affine[:3, 3]
    size = [length * count for length, count in zip(shape, parts, strict=True)]
    grid = MetaTensor(torch.zeros(1).expand(1, *size), affine=torch.from_numpy(fine))
    labels = resample_onto(regions.labels, grid, "nearest")
    return _Divided(signed_map.as_tensor()[0].cpu().numpy(), parts, labels.numpy(), fine[:3, :3])


def _parts(affine: npt.NDArray[np.float64], other: npt.NDArray[np.float64], shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many parts a voxel of a grid is divided into along each axis, given the affine of a finer one."""
    steps = np.abs(np.linalg.solve(other[:3, :3], affine[:3, :3])).max(axis=0)
    parts = [max(math.ceil(step - ROUNDING), 1) for step in steps]
    while max(parts) > 1 and math.prod(parts) * math.prod(shape) > MOST_PARTS:
        parts[parts.index(max(parts))] -= 1
    return tuple(parts)


def _inside(divided: _Divided, names: Mapping[int, str]) -> tuple[_Sums, dict[int, _Sums]]:
    """The evidence of the whole volume, and of each region."""
    length = max(names) + 1
    sums = np.zeros((3, length))
    for box in _slabs(divided.labels.shape):
        values, labels = divided.values_in(box).ravel(), divided.labels[box].ravel()
        sums[0] += np.bincount(labels, np.maximum(values, 0), length)
        sums[1] += np.bincount(labels, np.maximum(-values, 0), length)
        sums[2] += np.bincount(labels, minlength=length)
    found = [_Sums(float(positive), float(negative), int(count)) for positive, negative, count in sums.T]
    return sum(found, _Sums()), {value: found[value] for value in names}


def _slabs(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Plane by plane, to need no copy of a volume."""
    for plane in range(shape[0]):
        yield (slice(plane, plane + 1), *(slice(0, length) for length in shape[1:]))


def _within(divided: _Divided, mask: npt.NDArray[np.bool_], progress: Progress) -> tuple[_Sums, _Sums]:
    """The evidence up to 5 and 10 mm away from a mask, and in it."""
    halves = part(progress, 0.0, 0.5), part(progress, 0.5, 1.0)
    near, around = (
        _sum_of(divided, mask, radius, report) for radius, report in zip((NEAR_MM, AROUND_MM), halves, strict=True)
    )
    return near, around


def _sum_of(divided: _Divided, mask: npt.NDArray[np.bool_], radius: float, progress: Progress) -> _Sums:
    total = _Sums()
    if mask.any():
        for box, grown in dilated(mask, divided.axes, radius, progress):
            values = divided.values_in(box)[grown]
            positive = float(values[values > 0].sum())
            total += _Sums(positive, positive - float(values.sum()), len(values))
    return total


def _share(
    name: str,
    part_of: Part,
    own: _Sums,
    every: _Sums,
    divided: _Divided,
    within: tuple[_Sums, _Sums] | None = None,
) -> RegionShare:
    of_volume = own.count / every.count
    positive = _ratio(own.positive, every.positive)
    near, around = (
        ((_ratio(one.positive, every.positive), _ratio(one.negative, every.negative)) for one in within)
        if within
        else (_NONE, _NONE)
    )
    return RegionShare(
        name=name,
        part=part_of,
        volume_ml=own.count * abs(float(np.linalg.det(divided.axes))) * ML_PER_MM3,
        share_of_volume=of_volume,
        positive=positive,
        negative=_ratio(own.negative, every.negative),
        enrichment=None if positive is None or of_volume == 0 else positive / of_volume,
        positive_within_5_mm=near[0],
        positive_within_10_mm=around[0],
        negative_within_5_mm=near[1],
        negative_within_10_mm=around[1],
    )


def _ratio(own: float, every: float) -> float | None:
    """A share, 0 to 1: differences of sums may be off by rounding."""
    return min(max(own / every, 0.0), 1.0) if every > 0 else None
