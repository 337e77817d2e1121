"""The trunk around the kidneys: wall, muscles, bones, vessels and lung bases; also the table below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phantom.organs import draw_organs
from phantom.solids import (
    EVERYWHERE,
    Array,
    Solid,
    common,
    ellipsoid,
    grown,
    region,
    tube,
    union,
    without,
)
from phantom.tissue import FAT, LUNG, MUSCLE, Tissue

VERTEBRA = 36.0
"""Height of a vertebra and its disc (mm)."""


@dataclass(frozen=True)
class Trunk:
    """The tissues that lie before the kidneys are laid in, and those that lie over them; `cavity` is what the wall encloses."""

    below: list[Tissue]
    above: list[Tissue]
    cavity: Solid


def draw_trunk(rng: np.random.Generator) -> Trunk:
    """One patient's trunk in RAS mm; z = 0 lies at the renal hila, the spine behind (y < 0), the liver at x > 0."""
    half = np.array([rng.uniform(150, 172), rng.uniform(98, 116), rng.uniform(98, 106)])
    skin = region(lambda points: _outline(points, half))
    fat = rng.uniform(8, 24)
    thick = rng.uniform(11, 15)
    cavity = region(lambda points: _outline(points, half) + np.float32(thick) + np.float32(fat) * _fatness(points))
    wall = grown(cavity, thick)
    below = [
        _table(half),
        Tissue(skin, 25),
        Tissue(grown(skin, -2.5), FAT, 6),
        Tissue(wall, MUSCLE, 8),
        Tissue(cavity, FAT, 8),
        Tissue(_lungs(rng, cavity), LUNG, 25),
        *draw_organs(rng, cavity),
    ]
    above = [*_back_muscles(wall), *_ribs(rng, cavity, thick), *_spine(rng), *_vessels(rng)]
    return Trunk(below, above, cavity)


def _outline(points: Array, half: NDArray[np.float64]) -> Array:
    """A trunk that is flatter behind than in front."""
    wide, front, back = (np.float32(value) for value in half)
    x, y = np.abs(points[0]) / wide, points[1]
    deep = np.where(y > 0, y / front, -y / back)
    norm = (x**2.4 + np.abs(deep) ** 2.4) ** np.float32(1 / 2.4)
    return (norm - 1) * front


def _fatness(points: Array) -> Array:
    """Subcutaneous fat relative to its mean: most in front and at the flanks' back."""
    return 0.85 + 0.35 * np.tanh(points[1] / 40)


def _table(half: NDArray[np.float64]) -> Tissue:
    height = np.float32(-half[2] - 9)

    def distance(points: Array) -> Array:
        sheet = np.abs(points[1] - height - np.float32(4e-4) * points[0] ** 2) - 2.5
        return np.maximum(sheet, np.abs(points[0]) - 205)

    return Tissue(region(distance), -40)


def _back_muscles(wall: Solid) -> list[Tissue]:
    solids = []
    for side in (1, -1):
        solids += [
            ellipsoid([side * 33, -80, 0], [29, 21, 600]),
            ellipsoid([side * 62, -76, -40], [22, 13, 90]),
            tube([[side * 30, -46, 45], [side * 38, -42, -40], [side * 46, -34, -160]], [5, 15, 23]),
        ]
    return [Tissue(common(union(*solids, blend=4), grown(wall, -1)), MUSCLE + 5, 10)]


def _ribs(rng: np.random.Generator, cavity: Solid, thick: float) -> list[Tissue]:
    """Ribs run in the wall, slanting down to the front, 25 mm apart; the front gap is cartilage's."""
    gap, phase = 25.0, rng.uniform(0, 25)

    def distance(points: Array) -> Array:
        depth = cavity.distance(points) - np.float32(thick / 2)
        level = points[2] + 0.45 * points[1] - np.float32(phase)
        beside = (level + gap / 2) % gap - gap / 2
        bar = np.sqrt(depth**2 + (0.75 * beside) ** 2) - 5
        arch = np.float32(-30) + 0.9 * np.maximum(points[1], -20) - points[2]
        return np.maximum(bar, arch)

    ribs = region(distance)
    return [Tissue(ribs, 420), Tissue(grown(ribs, -2.5), 190, 30)]


def _spine(rng: np.random.Generator) -> list[Tissue]:
    shift = rng.uniform(0, VERTEBRA)

    def repeated(solid: Solid) -> Solid:
        def distance(points: Array) -> Array:
            folded = points.copy()
            folded[2] = (points[2] + shift) % VERTEBRA - VERTEBRA / 2
            return solid.distance(folded)

        low, high = solid.low.copy(), solid.high.copy()
        low[2], high[2] = EVERYWHERE[0][2], EVERYWHERE[1][2]
        return Solid(distance, low, high)

    column = ellipsoid([0, -48, 0], [23, 17, 300])
    slab = region(lambda points: np.abs(points[2]) - 13.5)
    body = repeated(common(column, slab))
    arch = repeated(
        union(
            without(ellipsoid([0, -70, 0], [15, 13, 16]), ellipsoid([0, -70, 0], [9.5, 8.5, 300])),
            tube([[0, -82, 0], [0, -97, -6]], [4, 4]),
            tube([[14, -70, 3], [40, -76, 3]], [5, 3.5]),
            tube([[-14, -70, 3], [-40, -76, 3]], [5, 3.5]),
        )
    )
    marrow = rng.uniform(150, 220)
    return [
        Tissue(ellipsoid([0, -70, 0], [13, 12, 300]), 40),
        Tissue(grown(column, -1), 85, 5),
        Tissue(body, 430, 30),
        Tissue(grown(body, -2.2), marrow, 25),
        Tissue(arch, 400, 40),
        Tissue(grown(arch, -2.5), marrow + 40, 25),
    ]


def _vessels(rng: np.random.Generator) -> list[Tissue]:
    """Aorta (left of the midline), inferior vena cava (right) and the renal vessels."""
    aorta = tube([[-9, -20, 200], [-12, -20, 0], [-8, -19, -150]], [12, 10, 8.5])
    cava = tube([[22, 0, 200], [22, -18, 30], [19, -20, -150]], [12, 11, 11])
    arteries = union(*(tube([[-10, -20, 5], [side * 40, -30, side * -6 + 2]], [3.2, 2.5]) for side in (1, -1)))
    left_vein = tube([[18, -14, 4], [-10, -8, 6], [-42, -26, 6]], [4.5, 4.5, 4])
    right_vein = tube([[22, -16, -2], [42, -26, -8]], [5, 4])
    artery, vein = rng.uniform(170, 260), rng.uniform(120, 170)
    return [
        Tissue(union(left_vein, right_vein), vein + 10),
        Tissue(arteries, artery - 20),
        Tissue(cava, vein, 4),
        Tissue(aorta, artery, 4),
    ]


def _lungs(rng: np.random.Generator, cavity: Solid) -> Solid:
    """The lungs' bases, around the domes of the diaphragm."""
    top = rng.uniform(118, 140)
    domes = union(ellipsoid([70, 8, 0], [92, 104, top]), ellipsoid([-65, 8, 0], [92, 104, top - 12]), blend=30)
    high = region(lambda points: 45 - points[2])
    return without(common(grown(cavity, -1), high), domes)
