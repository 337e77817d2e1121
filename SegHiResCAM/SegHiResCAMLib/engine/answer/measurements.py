"""Numbers that say where a heat map lies: how much of it in and around the segment, its peak, its effective volume.

"Within 5 mm" is Euclidean distance in the patient, from voxel centre to the nearest voxel centre of the segment. A voxel is within r of the
segment where a ball of radius r around it in patient space meets the segment, so on the grid this is a dilation by that ball's voxels. It is
exact on any grid, anisotropic, oblique or sheared, where distance maps know orthogonal grids only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.records.explanation import Measurements

NEAR_MM, AROUND_MM = 5.0, 10.0

ROUNDING_MM = 1e-6
"""Of affines: a voxel 5 mm away must not be lost to the last digit of 10 x 0.5 mm."""

ML_PER_MM3 = 1e-3

AT_ONCE = 2**24
"""Voxels that are dilated at once: a second's work, and some hundred megabytes."""


def measure(heatmap: MetaTensor, segment_mask: torch.Tensor, progress: Progress = silent) -> Measurements:
    """Measure a heat map against a segment.

    Args:
        heatmap: (1, i, j, k) with RAS affine in mm, signed or not: what is negative counts as 0.
        segment_mask: (1, i, j, k) or (i, j, k) on the same grid; what is not 0 is the segment.
        progress: Called every second or so, may raise `Cancelled`.

    Raises:
        EngineError: `measure-shape`, the mask has another shape than the map.
    """
    values = heatmap.as_tensor().detach().cpu().numpy()[0]
    mask = segment_mask.detach().cpu().numpy().astype(bool)
    mask = mask[0] if mask.ndim == 4 else mask
    if mask.shape != values.shape:
        message = (
            f"The segment has {_times(mask.shape)} voxels and the heat map {_times(values.shape)}, "
            "so one cannot be measured in the other. Bring both to one grid."
        )
        raise EngineError("measure-shape", message)
    values = np.maximum(values, 0)
    affine = heatmap.affine.cpu().numpy()
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) * ML_PER_MM3
    total = float(values.sum(dtype=np.float64))
    peak = np.unravel_index(int(values.argmax()), values.shape)
    inside = near = around = None
    if total > 0 and mask.any():
        halves = part(progress, 0.0, 0.5), part(progress, 0.5, 1.0)
        near, around = (
            _sum_within(values, mask, affine[:3, :3], radius, report) / total
            for radius, report in zip((NEAR_MM, AROUND_MM), halves, strict=True)
        )
        inside = float(values[mask].sum(dtype=np.float64)) / total
    return Measurements(
        share_inside=inside,
        share_within_5_mm=near,
        share_within_10_mm=around,
        peak=float(values[peak]),
        peak_ras_mm=_position(affine, peak) if total > 0 else None,
        effective_volume_ml=_participation_ratio(values) * voxel_ml if total > 0 else None,
        segment_volume_ml=int(mask.sum()) * voxel_ml,
    )


def _sum_within(
    values: npt.NDArray[np.float32],
    mask: npt.NDArray[np.bool_],
    axes: npt.NDArray[np.float64],
    radius: float,
    progress: Progress,
) -> float:
    """The sum of the voxels up to `radius` mm away from those of the mask."""
    return sum(float(values[box][grown].sum(dtype=np.float64)) for box, grown in dilated(mask, axes, radius, progress))


def dilated(
    mask: npt.NDArray[np.bool_], axes: npt.NDArray[np.float64], radius: float, progress: Progress
) -> Iterator[tuple[tuple[slice, ...], npt.NDArray[np.bool_]]]:
    """Which voxels lie up to `radius` mm away from those of a mask, some planes at a time: a box, and which of its voxels.

    Args:
        mask: (i, j, k), not empty.
        axes: (3, 3): the columns are the voxels' edges in mm.
        radius: In mm.
        progress: Called before each box.
    """
    from scipy.signal import fftconvolve  # takes half a second, and no model is opened by it

    ball = _ball(axes, radius, mask.shape)
    margins = [length // 2 for length in ball.shape]
    low, high = [], []
    for axis, margin in enumerate(margins):
        there = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        low.append(max(int(there[0]) - margin, 0))
        high.append(min(int(there[-1]) + margin + 1, mask.shape[axis]))
    inside = tuple(slice(*ends) for ends in zip(low[1:], high[1:], strict=True))
    plane = (high[1] - low[1]) * (high[2] - low[2])
    step = max(AT_ONCE // plane - 2 * margins[0], margins[0], 1)
    for start in range(low[0], high[0], step):  # some planes at a time, with those around that reach into them
        progress((start - low[0]) / (high[0] - low[0]), "Measuring")
        stop = min(start + step, high[0])
        first, last = max(start - margins[0], 0), min(stop + margins[0], mask.shape[0])
        hits = fftconvolve(mask[(slice(first, last), *inside)].astype(np.float32), ball.astype(np.float32), mode="same")
        yield (slice(start, stop), *inside), hits[start - first : stop - first] > 0.5  # whole numbers, but for rounding


def _ball(axes: npt.NDArray[np.float64], radius: float, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Which voxels a ball round the middle one holds, as far as a grid of this shape has voxels so far apart."""
    reach = radius + ROUNDING_MM
    # Along index i the ball ends where its tangent plane is normal to row i of the inverse.
    margins = np.floor(reach * np.linalg.norm(np.linalg.inv(axes), axis=1)).astype(int)
    margins = np.minimum(margins, np.array(shape) - 1)
    steps = np.stack(np.meshgrid(*(np.arange(-margin, margin + 1) for margin in margins), indexing="ij"), axis=-1)
    ball: npt.NDArray[np.bool_] = np.linalg.norm(steps @ axes.T, axis=-1) <= reach
    return ball


def _participation_ratio(values: npt.NDArray[np.float32]) -> float:
    highest = float(values.max())
    total = squares = 0.0
    for plane in values:  # one after the other, since a volume in double precision takes much memory
        scaled = plane.astype(np.float64) / highest  # so that no square underflows
        total += float(scaled.sum())
        squares += float(np.square(scaled).sum())
    return total**2 / squares


def _position(affine: npt.NDArray[np.float64], index: tuple[np.intp, ...]) -> tuple[float, float, float]:
    x, y, z = (affine @ [*index, 1.0])[:3]
    return float(x), float(y), float(z)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
