"""Does what a map marks matter? Its highest voxels are replaced, or kept alone, and the model segments again.

The map is compared with what any reader would ask about: copies of itself that are shifted round what the touched windows cover (so with the
same values and the same smoothness), the segment's own mask, and the image's edges. It is measured only where filling everything removes the
segment; a fill in which the segment can still be found would flatter every order of voxels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from SegHiResCAMLib.engine.evidence.changed_windows import ChangedWindows
from SegHiResCAMLib.engine.evidence.fills import FILLS, fill
from SegHiResCAMLib.engine.evidence.probe import MARGIN, Probe, in_domain
from SegHiResCAMLib.engine.inference.segmentation import decide
from SegHiResCAMLib.engine.inference.windows import at
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.records.map_check import FillTrial, RemovalTest

SIZES = (0.5, 1.0, 2.0, 4.0)
"""Voxels that are replaced, as multiples of the segment's."""

AT = SIZES.index(1.0)

LARGEST = 0.35
"""Of what the windows cover, the share that is replaced at most."""

REMOVED = 0.1
"""Dice below which a segment counts as removed."""

SHIFTS, ENOUGH = 19, 5
"""How many shifts are drawn at most, and after how many that do as well as the map itself no more are needed (Besag & Clifford 1991)."""

Values = npt.NDArray[np.floating]


@dataclass
class RemovalSetting:
    """What is measured on.

    Attributes:
        probe: See there.
        passes: Predicts changed images.
        segment: (B, *box): what the model segments of the explained region.
        near: (B, *box): where a segmentation is compared with it.
        filled: (C, x, y, z): what replaces the image.
    """

    probe: Probe
    passes: ChangedWindows
    segment: torch.Tensor
    near: torch.Tensor
    filled: torch.Tensor

    def dice(self, replaced: npt.NDArray[np.bool_], progress: Progress) -> float:
        """Of the segment, with some voxels (B, *domain) replaced."""
        mask = torch.zeros(self.probe.pixel_set.shape, dtype=torch.bool)
        mask[at(slice(None), *self.probe.domain)] = torch.from_numpy(replaced)
        where = self.probe.on_image(mask)
        image = torch.where(where[None], self.filled, self.probe.image.as_tensor())
        return self.dice_of(self.passes.predict(self.probe.stack_of(image), progress))

    def dice_of(self, logits: torch.Tensor) -> float:
        """Of the segment in a prediction."""
        found = (decide(self.probe.model, logits) == self.probe.label.value) & self.near
        both = int((found & self.segment).count_nonzero())
        return 2 * both / max(int(found.count_nonzero()) + int(self.segment.count_nonzero()), 1)


def removal_test(probe: Probe, signed_map: torch.Tensor, seed: int, progress: Progress) -> RemovalTest:
    """Measure whether what a map (B, *spatial) marks matters; at most 35 passes over the touched windows."""
    setting = removal_setting(probe, part(progress, 0.0, 0.03))
    if not setting.segment.any():
        return RemovalTest((), f"the model does not segment the {probe.label.name} in the explained region")
    trials = try_fills(setting, seed, part(progress, 0.03, 0.12))
    if trials[-1].dice >= REMOVED:
        left = ", ".join(f"{one.fill} {one.dice:.2f}" for one in trials)
        return RemovalTest(trials, f"no fill removes the segment (Dice that is left: {left})")
    return _measured(setting, trials, in_domain(signed_map, probe.domain), seed, part(progress, 0.12, 1.0))


def removal_setting(probe: Probe, progress: Progress) -> RemovalSetting:
    """What is measured on, with nothing filled yet; one pass."""
    workplace = replace(probe.workplace, batch=probe.forward.batch)
    passes = ChangedWindows(workplace, probe.stack, probe.windows, probe.box, probe.logits)
    logits = passes.predict(progress=progress)
    inside = probe.pixel_set[at(slice(None), *probe.box)] > 0
    labelled = decide(probe.model, logits) == probe.label.value
    segment = labelled & inside
    near = torch.from_numpy(np.stack([ndimage.binary_dilation(one, iterations=MARGIN) for one in segment.numpy()]))
    near &= segment | ~labelled  # where the segment goes on beyond the region, it is neither right nor wrong
    return RemovalSetting(probe, passes, segment, near, probe.image.as_tensor())


def try_fills(setting: RemovalSetting, seed: int, progress: Progress) -> tuple[FillTrial, ...]:
    """The fills up to the first that removes the segment; that one stays in the setting."""
    probe, trials = setting.probe, []
    region = (probe.region > 0).numpy()
    axes = np.asarray(probe.prepared.image.affine, np.float64)[:3, :3]
    shape = tuple(along.stop - along.start for along in probe.domain)
    everything = np.ones((len(probe.stack), *shape), bool)
    for kind in FILLS:
        whole = torch.from_numpy(fill(kind, probe.prepared.image.numpy(), region, axes, seed))
        image = probe.prepared.image
        setting.filled = probe.select(type(image)(whole, meta=dict(image.meta))).as_tensor()
        trials.append(FillTrial(kind, setting.dice(everything, progress)))
        if trials[-1].dice < REMOVED:
            break
    return tuple(trials)


def _measured(
    setting: RemovalSetting, trials: tuple[FillTrial, ...], values: Values, seed: int, progress: Progress
) -> RemovalTest:
    generator = np.random.default_rng(seed)
    count = int(setting.segment.count_nonzero())
    sizes = [min(max(round(one * count), 1), int(LARGEST * values.size)) for one in SIZES]

    def curves(order: Values, numbers: list[int], report: Progress) -> tuple[list[float], list[float]]:
        chosen = [highest(order, number, generator) for number in numbers]
        deletion = [setting.dice(one, report) for one in chosen]
        return deletion, [setting.dice(~one, report) for one in chosen]

    deletion, insertion = curves(values, sizes, part(progress, 0.0, 0.25))
    others = []
    for order in (_mask_order(setting), _edge_order(setting)):
        (deleted,), (inserted,) = curves(order, sizes[AT : AT + 1], part(progress, 0.25, 0.4))
        others.append(inserted - deleted)

    drawn, planned, p = shift_test(setting, values, deletion[AT], sizes[AT], generator, part(progress, 0.4, 1.0))
    return RemovalTest(
        fills=trials,
        voxels=tuple(sizes),
        deletion=tuple(deletion),
        insertion=tuple(insertion),
        at=AT,
        mask=others[0],
        edges=others[1],
        shifts=tuple(drawn),
        planned=planned,
        p=p,
    )


def shift_test(
    setting: RemovalSetting, values: Values, own: float, size: int, generator: np.random.Generator, progress: Progress
) -> tuple[list[float], int, float]:
    """Dice with the highest voxels of shifted copies of a map replaced, how many copies were planned, and the p-value of the map's own."""

    def statistic(shift: tuple[int, ...]) -> float:
        moved = np.roll(values, shift, axis=tuple(range(1, values.ndim)))
        return -setting.dice(highest(moved, size, generator), progress)

    window, grid = setting.probe.windows.size, setting.probe.layers[0].grid
    shifts = shifts_of(values.shape[1:], window, grid, SHIFTS, generator)
    drawn, p = rank_among(-own, shifts, statistic)
    return [-one for one in drawn], len(shifts), p


def highest(values: Values, count: int, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The `count` highest of some values; of equal ones at the end, some at random."""
    flat = values.ravel()
    limit = np.partition(flat, -count)[-count]
    chosen: npt.NDArray[np.bool_] = flat > limit
    ties = np.flatnonzero(flat == limit)
    chosen[generator.choice(ties, count - int(chosen.sum()), replace=False)] = True
    return chosen.reshape(values.shape)


def shifts_of(
    shape: tuple[int, ...], window: tuple[int, ...], grid: tuple[int, ...], count: int, generator: np.random.Generator
) -> list[tuple[int, ...]]:
    """Different shifts round a box, none of them zero, by whole grid spacings of a layer.

    Along an axis that is not a whole number of spacings long, by their greatest common divisor, so that shifts form a group, as the rank asks.
    """
    steps = [
        math.gcd(max(round(size / positions), 1), length)
        for size, positions, length in zip(window, grid, shape, strict=True)
    ]
    numbers = [length // step for length, step in zip(shape, steps, strict=True)]
    every = math.prod(numbers) - 1
    chosen = generator.choice(every, min(count, every), replace=False) + 1
    return [
        tuple(int(one) * step for one, step in zip(np.unravel_index(number, numbers), steps, strict=True))
        for number in chosen
    ]


def rank_among(
    own: float, shifts: list[tuple[int, ...]], statistic: Callable[[tuple[int, ...]], float]
) -> tuple[list[float], float]:
    """The statistics of shifted copies, and the p-value of the map's own among them.

    Drawing stops at the fifth copy that does as well: the p-value is then 5 / drawn, else (1 + as good) / (1 + drawn). For a map that has no
    more to do with the segment than its copies, P(p <= a) <= a (Besag & Clifford 1991).
    """
    drawn: list[float] = []
    as_good = 0
    for shift in shifts:
        drawn.append(statistic(shift))
        as_good += drawn[-1] >= own
        if as_good == ENOUGH:
            return drawn, ENOUGH / len(drawn)
    return drawn, (1 + as_good) / (1 + len(drawn))


def _mask_order(setting: RemovalSetting) -> Values:
    """Positions inside the segment first, the deepest before all others, then those nearest to it."""
    whole = np.zeros(setting.probe.pixel_set.shape, bool)
    whole[at(slice(None), *setting.probe.box)] = setting.segment.numpy()
    own = whole[at(slice(None), *setting.probe.domain)]
    return np.stack([_depth(one) for one in own])


def _depth(mask: npt.NDArray[np.bool_]) -> Values:
    if not mask.any():
        return np.full(mask.shape, -np.inf)
    depth: Values = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    return depth


def _edge_order(setting: RemovalSetting) -> Values:
    """The gradient's magnitude, smoothed to the spacing of the layer's grid."""
    probe = setting.probe
    images = in_domain(probe.stack.mean(dim=1), probe.domain)
    spacing = [size / count for size, count in zip(probe.windows.size, probe.layers[0].grid, strict=True)]
    return np.stack(
        [
            ndimage.gaussian_filter(ndimage.gaussian_gradient_magnitude(one, 1.0), [0.5 * step for step in spacing])
            for one in images
        ]
    )
