"""What was found when a map was checked: numbers, each with what it is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Fill = Literal["shell", "patch", "blur"]
"""What takes a removed region's place."""


@dataclass(frozen=True)
class FillTrial:
    """Whether a fill removes the segment when everything that the touched windows cover is filled.

    Attributes:
        fill: Which one.
        dice: Of what the model then segments and the segment; below 0.1, the fill is used.
    """

    fill: Fill
    dice: float


@dataclass(frozen=True)
class RemovalTest:
    """What happens to the segment when what the map marks is replaced, and when only that is kept.

    Attributes:
        fills: Those that were tried, in order; the last one is used where its Dice is below 0.1.
        reason: Why nothing could be measured; empty where it could.
        voxels: How many of the highest voxels were replaced or kept: 1/2, 1, 2 and 4 times as many as the segment has.
        deletion: Dice of the segment with the map's highest voxels replaced, for each number of voxels.
        insertion: Dice with everything but these replaced.
        at: Which of these numbers is as many voxels as the segment has; what follows is measured there.
        mask: Insertion minus deletion, if voxels are ordered by their distance to the segment's border, inside first.
        edges: Insertion minus deletion, if they are ordered by the strength of the image's edges, as smooth as the layer's grid.
        shifts: Dice with the highest voxels of shifted copies of the map replaced, in the order in which they were drawn.
        planned: How many shifts would have been drawn at most.
        p: Of the map's rank among them: (1 + those with a Dice no higher) / (1 + shifts), or where the drawing was stopped at the fifth of
            those, 5 / shifts. None where nothing could be measured.
    """

    fills: tuple[FillTrial, ...]
    reason: str = ""
    voxels: tuple[int, ...] = ()
    deletion: tuple[float, ...] = ()
    insertion: tuple[float, ...] = ()
    at: int = 0
    mask: float | None = None
    edges: float | None = None
    shifts: tuple[float, ...] = ()
    planned: int = 0
    p: float | None = None

    @property
    def insertion_minus_deletion(self) -> float | None:
        """Of the map, at as many voxels as the segment has: -1 to 1."""
        return None if self.p is None else self.insertion[self.at] - self.deletion[self.at]


@dataclass(frozen=True)
class WeightsTest:
    """How similar the signed map stays when weights after the layer are drawn again, from the output backwards.

    Attributes:
        layers: Down to which module weights were drawn again.
        similarities: Spearman's rank correlation with the map of the trained network, for each.
    """

    layers: tuple[str, ...]
    similarities: tuple[float, ...]

    @property
    def similarity(self) -> float:
        """Once the weights are drawn again as far as it was tried."""
        return self.similarities[-1]


@dataclass(frozen=True)
class NoiseTest:
    """How the signed map changes under noise in the volume.

    Attributes:
        standard_deviations: Of the noise in each of the model's input images: 2 % of its display window, in its units.
        changes: Norm of the difference divided by that of the map, for each draw.
        similarities: Spearman's rank correlation, for each draw.
    """

    standard_deviations: tuple[float, ...]
    changes: tuple[float, ...]
    similarities: tuple[float, ...]

    @property
    def change(self) -> float:
        """Mean over the draws."""
        return sum(self.changes) / len(self.changes)

    @property
    def similarity(self) -> float:
        """Mean over the draws."""
        return sum(self.similarities) / len(self.similarities)


@dataclass(frozen=True, kw_only=True)
class MapCheck:
    """What was found when a map was checked.

    Attributes:
        removal: Whether what it marks matters.
        weights: Whether it depends on what was learned; None where that was not measured.
        noise: Whether it is stable; None where that was not measured.
        not_measured: Why `noise`, or both `weights` and `noise`, are not there; empty where they are.
        slices: Of a slice-wise network, the slices that were checked, as indices along their axis on the model's grid; empty for a volume.
        slices_explained: How many slices the explained region has; 0 for a volume.
        forward_passes: Of the network, over all windows that the check touches.
        seed: Of every draw.
    """

    removal: RemovalTest
    weights: WeightsTest | None
    noise: NoiseTest | None
    not_measured: str = ""
    slices: tuple[int, ...] = ()
    slices_explained: int = 0
    forward_passes: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class CheckValue:
    """One number of a check, as a row of a table.

    Attributes:
        method: Of the map that was checked.
        quantity: What it is.
        of: Which one: a fill, a layer, the number of a draw; empty where there is one.
        voxels: How many voxels were replaced or kept; None where none were.
        value: The number.
    """

    method: str
    quantity: str
    of: str
    voxels: int | None
    value: float


def check_values(method: str, check: MapCheck) -> tuple[CheckValue, ...]:
    """All numbers of the check of a method's map as rows of a table."""
    return tuple(CheckValue(method, *row) for row in _values(check))


_Row = tuple[str, str, int | None, float]


def _values(check: MapCheck) -> Iterator[_Row]:
    test = check.removal
    for one in test.fills:
        yield "Dice, everything filled", one.fill, None, one.dice
    for voxels, deleted, inserted in zip(test.voxels, test.deletion, test.insertion, strict=True):
        yield "Dice, deletion", "", voxels, deleted
        yield "Dice, insertion", "", voxels, inserted
    for number, dice in enumerate(test.shifts, start=1):
        yield "Dice, deletion by a shifted copy", str(number), test.voxels[test.at], dice
    if test.p is not None and test.mask is not None and test.edges is not None:
        yield "p", "", test.voxels[test.at], test.p
        yield "insertion minus deletion", "the segment's mask", test.voxels[test.at], test.mask
        yield "insertion minus deletion", "edges", test.voxels[test.at], test.edges
    if check.weights is not None:
        for layer, value in zip(check.weights.layers, check.weights.similarities, strict=True):
            yield "similarity, weights drawn again", layer, None, value
    if check.noise is not None:
        for number, (change, value) in enumerate(zip(check.noise.changes, check.noise.similarities, strict=True), 1):
            yield "change under noise", str(number), None, change
            yield "similarity under noise", str(number), None, value
    yield "forward passes", "", None, check.forward_passes
