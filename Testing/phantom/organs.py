"""Liver, spleen, stomach and bowel: what lies in front of the kidneys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phantom.solids import (
    Field,
    Solid,
    common,
    ellipsoid,
    grown,
    region,
    rough,
    tube,
    union,
    waves,
    without,
)
from phantom.tissue import AIR, Tissue


def draw_organs(rng: np.random.Generator, cavity: Solid) -> list[Tissue]:
    """One patient's organs within the abdominal cavity, in the order in which they are laid over each other."""
    return [
        *_liver(rng, cavity),
        *_spleen(rng, cavity),
        *_stomach(rng, cavity),
        *_colon(rng, cavity),
        *_small_bowel(rng, cavity),
    ]


def _liver(rng: np.random.Generator, cavity: Solid) -> list[Tissue]:
    size = rng.uniform(0.92, 1.08)
    right = ellipsoid([82, 6, 52], size * np.array([64, 84, 74]), _turned(8))
    left = ellipsoid([8, 46, 72], size * np.array([72, 38, 36]), _turned(-14))
    tip = ellipsoid([98, -6, 14], size * np.array([30, 50, 52]), _turned(8))
    liver = common(rough(union(right, tip, left, blend=30), waves(rng, 70), 2.5), grown(cavity, -3))
    hu = rng.uniform(95, 125)
    root = np.array([32.0, 20.0, 48.0])
    tips = root + rng.uniform([10, -45, -25], [75, 45, 45], size=(9, 3))
    portal = union(*(tube([root, root + 0.5 * (tip - root) + rng.normal(0, 4, 3), tip], [5, 3.2, 1.2]) for tip in tips))
    gallbladder = rough(ellipsoid([58, 48, 2], [14, 18, 26], _turned(15)), waves(rng, 50), 1.0)
    return [
        Tissue(liver, hu, 5),
        Tissue(common(portal, grown(liver, -5)), hu + rng.uniform(25, 50)),
        Tissue(common(grown(gallbladder, 2), grown(cavity, -4)), 65),
        Tissue(common(gallbladder, grown(cavity, -6)), rng.uniform(5, 18), 3),
    ]


def _spleen(rng: np.random.Generator, cavity: Solid) -> list[Tissue]:
    size = rng.uniform(0.85, 1.15)
    outer = ellipsoid([-104, -28, 58], size * np.array([34, 54, 46]), _turned(-22))
    spleen = without(outer, ellipsoid([-62, -8, 50], [36, 50, 60]))
    spleen = common(rough(spleen, waves(rng, 60), 1.5), grown(cavity, -3))
    return [Tissue(spleen, rng.uniform(105, 135), 5)]


def _stomach(rng: np.random.Generator, cavity: Solid) -> list[Tissue]:
    fundus = ellipsoid([-64, 28, 68], rng.uniform(0.85, 1.1) * np.array([38, 42, 46]))
    antrum = tube([[-55, 52, 40], [-15, 62, 18], [28, 50, 16]], [24, 19, 12])
    whole = rough(union(fundus, antrum, blend=22), waves(rng, 45), 2.0)
    stomach = common(whole, grown(cavity, -5))
    pancreas = tube([[36, 12, -6], [18, 14, 14], [-22, 14, 20], [-82, -6, 36]], [15, 11, 9, 8])
    duodenum = tube([[36, 42, 14], [50, 18, 0], [46, 8, -40], [0, 4, -46]], [12, 12, 12, 11])
    return [
        Tissue(stomach, 75, 6),
        *_lumen(grown(stomach, -5), level=rng.uniform(48, 66), content=rng.uniform(5, 30)),
        Tissue(rough(pancreas, waves(rng, 14), 1.5), rng.uniform(80, 105), 9),
        Tissue(duodenum, 80, 8),
        Tissue(grown(duodenum, -3.5), 25, 8),
    ]


def _colon(rng: np.random.Generator, cavity: Solid) -> list[Tissue]:
    ascending = tube([[104, 8, -22], [106, -2, -90], [100, 8, -170]], [22, 24, 26])
    transverse = tube(
        [[104, 14, -22], [70, 58, -44], [0, 74, -56], [-70, 62, -30], [-112, -4, 8]], [21, 19, 18, 18, 17]
    )
    descending = tube([[-114, -8, 8], [-116, -16, -60], [-108, -4, -170]], [17, 15, 15])
    haustra = waves(rng, 34)
    colon = common(rough(union(ascending, transverse, descending, blend=5), haustra, 2.5), grown(cavity, -3))
    stool = waves(rng, 13)
    return [
        Tissue(colon, 65, 5),
        *_lumen(grown(colon, -3.5), level=rng.uniform(55, 75), content=-40, mottle=70, pattern=stool),
    ]


def _small_bowel(rng: np.random.Generator, cavity: Solid) -> list[Tissue]:
    """Loops in front and below, each a bent tube with a bright wall."""
    tissues = []
    for _ in range(int(rng.integers(14, 20))):
        start = rng.uniform([-85, 12, -140], [75, 70, -18])
        corners = start + np.cumsum(rng.normal(0, 16, size=(4, 3)), axis=0)
        corners[:, 1] = np.clip(corners[:, 1], 8, 78)
        corners[:, 2] = np.minimum(corners[:, 2], -14)
        radius = rng.uniform(10, 15)
        loop = common(tube(corners, [radius] * 4), grown(cavity, -3))
        level = 200.0 if rng.uniform() < 0.7 else float(corners[:, 1].mean() + 4)
        tissues += [
            Tissue(loop, rng.uniform(75, 110), 6),
            *_lumen(grown(loop, -3.5), level=level, content=rng.uniform(10, 40)),
        ]
    return tissues


def _lumen(
    inside: Solid, level: float, content: float, mottle: float = 8.0, pattern: Field | None = None
) -> list[Tissue]:
    """Content up to a level (y, mm) and gas in front of it: the patient lies on the back."""
    gas = common(inside, region(lambda points: np.float32(level) - points[1]))
    return [Tissue(inside, content, mottle, pattern), Tissue(gas, AIR + 60)]


def _turned(degrees: float) -> NDArray[np.float64]:
    """Axes turned about the long axis of the patient."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
