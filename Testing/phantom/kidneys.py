"""Two kidneys in the nephrographic phase, with tumours and cysts, inside their fat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phantom.solids import (
    Array,
    Solid,
    common,
    ellipsoid,
    grown,
    rough,
    to_frame,
    tube,
    union,
    waves,
)
from phantom.tissue import BACKGROUND, CYST, FAT, KIDNEY, TUMOUR, Tissue

SIDES = (1, -1)
"""Patient right, patient left: the sign of x (RAS)."""


@dataclass(frozen=True)
class Kidney:
    """A kidney's own frame: rows of `axes` point to the hilum, to the front and along the long axis (up)."""

    center: NDArray[np.float64]
    axes: NDArray[np.float64]
    radii: NDArray[np.float64]
    bow: float

    def straight(self, points: Array) -> Array:
        """Points in the kidney's frame, with the bean's bow taken out (its poles lean towards the hilum)."""
        local = to_frame(points, self.center, self.axes)
        local[0] -= np.float32(self.bow) * (local[2] / np.float32(self.radii[2])) ** 2
        return local

    def place(self, local: NDArray[np.float64]) -> NDArray[np.float64]:
        """The patient point (mm) of a point in the straightened frame; the inverse of `straight`."""
        bowed = np.array([local[0] + self.bow * (local[2] / self.radii[2]) ** 2, local[1], local[2]])
        return self.center + bowed @ self.axes

    def solid(self, shape: Solid) -> Solid:
        """A shape of the straightened frame, placed in the patient."""
        half = np.sqrt(((self.axes * self.radii[:, None]) ** 2).sum(axis=0)) + self.bow + 8
        return Solid(lambda points: shape.distance(self.straight(points)), self.center - half, self.center + half)


@dataclass(frozen=True)
class Lesion:
    """A tumour or cyst: where it is and how large (mm)."""

    side: int
    center: NDArray[np.float64]
    radius: float


def draw_kidneys(rng: np.random.Generator) -> dict[int, Kidney]:
    """A right and a left kidney; the right one lies lower."""
    kidneys = {}
    for side in SIDES:
        center = np.array(
            [side * rng.uniform(58, 66), rng.uniform(-42, -34), rng.uniform(-4, 6) - (14 if side > 0 else 0)]
        )
        turn = np.deg2rad(rng.uniform(20, 40))  # the hilum looks to the middle and to the front
        lean = np.deg2rad(rng.uniform(8, 18))  # the upper pole lies nearer to the spine
        long = np.array([-side * np.sin(lean), -np.sin(np.deg2rad(rng.uniform(4, 14))), np.cos(lean)])
        long /= np.linalg.norm(long)
        hilum = np.array([-side * np.cos(turn), np.sin(turn), 0.0])
        hilum -= (hilum @ long) * long
        hilum /= np.linalg.norm(hilum)
        front = np.cross(long, hilum) * -side
        radii = np.array([rng.uniform(26, 31), rng.uniform(23, 28), rng.uniform(50, 58)])
        kidneys[side] = Kidney(center, np.stack([hilum, front, long]), radii, rng.uniform(5, 10))
    return kidneys


def draw_lesions(
    rng: np.random.Generator, kidneys: dict[int, Kidney], tumours: int | None, cysts: int | None
) -> tuple[list[Lesion], list[Lesion]]:
    """Tumours and cysts that do not touch each other, on the kidneys' convex side or poles."""
    how_many = [int(rng.choice(3, p=[0.1, 0.65, 0.25])), int(rng.choice(3, p=[0.2, 0.45, 0.35]))]
    wanted = [drawn if given is None else given for drawn, given in zip(how_many, (tumours, cysts), strict=True)]
    placed: list[Lesion] = []
    kinds: tuple[list[Lesion], list[Lesion]] = ([], [])
    for kind, number, (smallest, largest) in zip(kinds, wanted, ((12, 28), (9, 20)), strict=True):
        for _ in range(number):
            lesion = _place(rng, kidneys, placed, smallest, largest)
            placed.append(lesion)
            kind.append(lesion)
    return kinds


def _place(
    rng: np.random.Generator, kidneys: dict[int, Kidney], placed: list[Lesion], smallest: float, largest: float
) -> Lesion:
    while True:
        side = SIDES[int(rng.integers(2))]
        radius = float(rng.uniform(smallest, largest))
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        # Not at the hilum, and not backwards into psoas and spine.
        allowed = direction[0] < 0.1 and direction[1] > -0.5
        kidney = kidneys[side]
        depth = rng.uniform(-0.7, 0.45) * radius  # from endophytic to exophytic
        local = direction / np.linalg.norm(direction / kidney.radii) + depth * direction
        center = kidney.place(local)
        apart = all(np.linalg.norm(center - other.center) > radius + other.radius + 4 for other in placed)
        largest = max(smallest, 0.998 * largest)  # a crowded kidney has room for small ones only
        if allowed and apart:
            return Lesion(side, center, radius)


def kidney_tissues(
    rng: np.random.Generator, kidneys: dict[int, Kidney], tumours: list[Lesion], cysts: list[Lesion], cavity: Solid
) -> list[Tissue]:
    """Perirenal fat, kidneys, tumours and cysts, in the order in which they are laid over each other."""
    cortex = rng.uniform(175, 220)
    medulla = cortex - rng.uniform(25, 60)
    room = grown(cavity, -2)
    outlines = {side: kidney.solid(_outline(rng, kidney)) for side, kidney in kidneys.items()}
    masses = [common(_tumour(rng, tumour), room) for tumour in tumours]
    bubbles = [common(ellipsoid(cyst.center, cyst.radius * rng.uniform(0.93, 1.07, 3)), room) for cyst in cysts]
    fat = grown(union(*outlines.values(), *masses, *bubbles, blend=8), rng.uniform(3, 9))
    tissues = [Tissue(common(fat, room), FAT + rng.uniform(-5, 5), 5)]
    for side, kidney in kidneys.items():
        tissues.append(Tissue(outlines[side], cortex, 6, label=KIDNEY))
        tissues += _inside(rng, kidney, outlines[side], medulla)
    for mass, tumour in zip(masses, tumours, strict=True):
        tissues += _tumour_tissues(rng, mass, tumour)
    tissues += [Tissue(bubble, rng.uniform(0, 12), 2, label=CYST) for bubble in bubbles]
    return tissues


def _outline(rng: np.random.Generator, kidney: Kidney) -> Solid:
    return rough(ellipsoid(np.zeros(3), kidney.radii), waves(rng, 38), rng.uniform(0.5, 1.2))


def _inside(rng: np.random.Generator, kidney: Kidney, outline: Solid, medulla: float) -> list[Tissue]:
    """Pyramids in two rows around the sinus, the sinus with its fat, and the pelvis in it."""
    width, depth, length = kidney.radii
    sinus = rough(
        ellipsoid([0.62 * width, 0, 0], [0.72 * width, 0.40 * depth, 0.50 * length]),
        waves(rng, 22),
        rng.uniform(1.0, 1.8),
    )
    pyramids = []
    for row in (-1, 1):
        for angle in np.deg2rad(np.linspace(75, 285, 7) + rng.uniform(-6, 6, 7)):
            outwards = np.array([np.cos(angle), row * 0.55, np.sin(angle)])
            outwards /= np.linalg.norm(outwards)
            middle = 0.56 * outwards / np.linalg.norm(outwards / kidney.radii)
            across = np.cross(outwards, [0.0, 1.0, 0.0])
            across /= np.linalg.norm(across)
            frame = np.stack([outwards, across, np.cross(outwards, across)])
            pyramids.append(ellipsoid(middle, rng.uniform(0.9, 1.1, 3) * [8.5, 6.5, 6.0], frame))
    calyces = tube([[0.9 * width, 0, 0], [0.1 * width, 0, 0.28 * length]], [4, 3])
    lower = tube([[1.25 * width, 0, -4], [0.1 * width, 0, -0.28 * length]], [5, 3])
    inner = grown(outline, -5)
    return [
        Tissue(common(kidney.solid(union(*pyramids, blend=2)), inner), medulla, 5),
        Tissue(kidney.solid(sinus), FAT, 8, label=BACKGROUND),
        Tissue(kidney.solid(union(calyces, lower, blend=3)), rng.uniform(15, 60), 3, label=BACKGROUND),
    ]


def _tumour(rng: np.random.Generator, tumour: Lesion) -> Solid:
    shape = ellipsoid(tumour.center, tumour.radius * rng.uniform(0.85, 1.1, 3))
    return rough(shape, waves(rng, 1.3 * tumour.radius), 0.07 * tumour.radius)


def _tumour_tissues(rng: np.random.Generator, mass: Solid, tumour: Lesion) -> list[Tissue]:
    enhancement = rng.uniform(60, 105)
    mottled = waves(rng, rng.uniform(9, 16))
    solid_part = Tissue(mass, enhancement, rng.uniform(10, 22), mottled, TUMOUR)
    if tumour.radius < 15 or rng.uniform() < 0.4:
        return [solid_part]
    core = rough(ellipsoid(tumour.center, 0.5 * tumour.radius * rng.uniform(0.7, 1.1, 3)), mottled, 2.0)
    return [solid_part, Tissue(common(core, grown(mass, -4)), rng.uniform(28, 45), 6, mottled)]
