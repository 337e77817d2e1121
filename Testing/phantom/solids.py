"""Solids given by their signed distance in millimetres: negative inside, zero on the surface, roughly Euclidean near it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Field = Callable[[Array], Array]
"""A function of position: points (3, ...) in mm -> values (...)."""


@dataclass(frozen=True)
class Solid:
    """A signed distance, and the box (mm) outside which it is positive."""

    distance: Field
    low: NDArray[np.float64]
    high: NDArray[np.float64]


EVERYWHERE = (np.full(3, -1e4), np.full(3, 1e4))
REACH = 20.0
"""Distances (mm) further out than this are not worked out but only known to be larger; growth stays below it."""


def ellipsoid(center: ArrayLike, radii: ArrayLike, axes: ArrayLike | None = None) -> Solid:
    """An ellipsoid; the rows of `axes` (orthonormal) are the directions of its radii."""
    middle, semi = np.asarray(center, float), np.asarray(radii, float)
    rows = np.eye(3) if axes is None else np.asarray(axes, float)

    def distance(points: Array) -> Array:
        # First-order distance to a quadric, f |f| / |grad|: https://iquilezles.org/articles/ellipsoids/
        local = to_frame(points, middle, rows)
        unit = local / column(semi, local)
        norm = np.sqrt((unit**2).sum(axis=0))
        slope = np.sqrt(((unit / column(semi, local)) ** 2).sum(axis=0))
        return norm * (norm - 1) / np.maximum(slope, 1e-6)

    half = np.sqrt(((rows * semi[:, None]) ** 2).sum(axis=0))
    return Solid(distance, middle - half, middle + half)


def tube(corners: ArrayLike, radii: Sequence[float]) -> Solid:
    """Straight pieces between `corners` (n, 3), each end rounded, the radius changing linearly along a piece."""
    path, thick = np.asarray(corners, float), np.asarray(radii, float)

    def distance(points: Array) -> Array:
        nearest: Array | None = None
        for start, stop, first, last in zip(path[:-1], path[1:], thick[:-1], thick[1:], strict=True):
            along = column(stop - start, points)
            offset = points - column(start, points)
            share = np.clip((offset * along).sum(axis=0) / float(((stop - start) ** 2).sum()), 0, 1)
            piece = np.sqrt(((offset - along * share) ** 2).sum(axis=0)) - (
                np.float32(first) + share * np.float32(last - first)
            )
            nearest = piece if nearest is None else np.minimum(nearest, piece)
        assert nearest is not None
        return nearest

    return Solid(distance, path.min(axis=0) - thick.max(), path.max(axis=0) + thick.max())


def grown(solid: Solid, by: float) -> Solid:
    """The solid with its surface moved outwards by `by` mm (inwards when negative)."""
    return Solid(
        lambda points: solid.distance(points) - np.float32(by), solid.low - max(by, 0), solid.high + max(by, 0)
    )


def union(*solids: Solid, blend: float = 0.0) -> Solid:
    """All the solids; `blend` (mm) rounds the crease where they meet (polynomial smooth minimum)."""

    def distance(points: Array) -> Array:
        joined = np.full(points.shape[1:], 10 * REACH, np.float32)
        for solid in solids:
            near = _within(points, solid.low - REACH - blend, solid.high + REACH + blend)
            there, other = joined[near], solid.distance(points[:, near])
            overlap = np.maximum(blend - np.abs(there - other), 0) / max(blend, 1e-6)
            joined[near] = np.minimum(there, other) - np.float32(blend / 4) * overlap**2
        return joined

    low, high = (np.array([getattr(solid, side) for solid in solids]) for side in ("low", "high"))
    return Solid(distance, low.min(axis=0) - blend / 4, high.max(axis=0) + blend / 4)


def common(first: Solid, *others: Solid) -> Solid:
    """What lies in every solid."""

    def distance(points: Array) -> Array:
        result = first.distance(points)
        for solid in others:
            near = result < REACH
            result[near] = np.maximum(result[near], solid.distance(points[:, near]))
        return result

    low, high = (np.array([getattr(solid, side) for solid in (first, *others)]) for side in ("low", "high"))
    return Solid(distance, low.max(axis=0), high.min(axis=0))


def without(solid: Solid, hole: Solid) -> Solid:
    """What lies in `solid` but not in the hole."""
    return Solid(lambda points: np.maximum(solid.distance(points), -hole.distance(points)), solid.low, solid.high)


def rough(solid: Solid, bumps: Field, height: float) -> Solid:
    """The solid with its surface moved by `height` mm times `bumps`, a field of unit deviation."""

    def distance(points: Array) -> Array:
        result = solid.distance(points)
        near = np.abs(result) < REACH
        result[near] += np.float32(height) * bumps(points[:, near])
        return result

    return Solid(distance, solid.low - 3 * height, solid.high + 3 * height)


def region(distance: Field) -> Solid:
    """A solid without bounds, from its signed distance."""
    return Solid(distance, *EVERYWHERE)


def waves(rng: np.random.Generator, wavelength: float, count: int = 10) -> Field:
    """A smooth random field of mean 0 and deviation 1: plane waves in random directions, lengths within a factor 1.6."""
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    wavenumbers = 2 * np.pi / (wavelength * rng.uniform(0.8, 1.3, size=(count, 1))) * directions
    phases = rng.uniform(0, 2 * np.pi, size=count)

    def field(points: Array) -> Array:
        total = np.zeros(points.shape[1:], np.float32)
        for wavenumber, phase in zip(wavenumbers.astype(np.float32), phases.astype(np.float32), strict=True):
            total += np.sin(np.tensordot(wavenumber, points, axes=1) + phase)
        return total * np.float32(np.sqrt(2 / count))

    return field


def _within(points: Array, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
    inside = np.ones(points.shape[1:], bool)
    for axis in range(3):
        inside &= (points[axis] >= low[axis]) & (points[axis] <= high[axis])
    return inside


def to_frame(points: Array, origin: ArrayLike, axes: ArrayLike) -> Array:
    """The points' coordinates in the frame with this origin and these axes (rows)."""
    rows = np.asarray(axes, np.float32)
    offset = points - column(np.asarray(origin), points)
    return np.tensordot(rows, offset, axes=1) if not np.array_equal(rows, np.eye(3)) else offset


def column(vector: NDArray[np.float64], points: Array) -> Array:
    """A 3-vector shaped to combine with points (3, ...)."""
    return np.asarray(vector, np.float32).reshape(3, *([1] * (points.ndim - 1)))
