"""The map of the *stitched* prediction of a whole stack, computed window by window at one window's memory, exactly.

With Y(v) = sum_w g_w(v) y_w(v) / sum_w g_w(v) and S = sum over v of M(v) Y_c(v), the gradient at a layer in window w is one backward
pass of that window alone with the cotangent M g_w / sum g. A window that M does not touch has no gradient.

A method (`methods/steps.py`) says what to gather from the windows and how to map them; several layers are served by the same passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from SegHiResCAMLib.engine.cam.evidence import collect, explain_batch
from SegHiResCAMLib.engine.cam.layout import LayoutTrial
from SegHiResCAMLib.engine.cam.leaf import Leaf, Target, leaves_at
from SegHiResCAMLib.engine.cam.methods import Method
from SegHiResCAMLib.engine.cam.methods.steps import Evidence, Gather, HeadWeights, Map, channel_sums
from SegHiResCAMLib.engine.cam.placement import Placement
from SegHiResCAMLib.engine.cam.tail import head_weights
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.engine.windows import Box, Windows, at

Place = tuple[int, Box]


@dataclass(frozen=True)
class StitchedMap:
    """What `stitched_map` finds.

    Attributes:
        values: Raw signed map (B, *spatial) on the stack's grid.
        score: S = sum over v of M(v) Y_c(v).
        windows: How many windows the stack has.
        touched: How many of them the pixel set touches.
        grid: Positions of the layer along each axis of one window.
        gradient_balance: |sum_u G^k| / sum_u |G^k|, averaged over channels; near zero before a normalisation, where the mean gradient
            is rounding. None where no gradient was needed.
    """

    values: torch.Tensor
    score: float
    windows: int
    touched: int
    grid: tuple[int, ...]
    gradient_balance: float | None = None


def stitched_map(
    network: torch.nn.Module,
    images: torch.Tensor,
    pixel_set: torch.Tensor,
    class_index: int,
    layer: str,
    method: Method,
    windows: Windows,
    *,
    device: torch.device,
    progress: Progress,
    batch: int = 1,
    placement: Placement | None = None,
) -> StitchedMap:
    """The raw signed map of a stack of images at one layer; the arguments are those of `stitched_maps`."""
    (found,) = stitched_maps(
        network,
        images,
        pixel_set,
        Target(class_index),
        [layer],
        method,
        windows,
        device=device,
        progress=progress,
        batch=batch,
        placements=None if placement is None else [placement],
    )
    return found


def stitched_maps(
    network: torch.nn.Module,
    images: torch.Tensor,
    pixel_set: torch.Tensor,
    target: Target,
    layers: Sequence[str],
    method: Method,
    windows: Windows,
    *,
    device: torch.device,
    progress: Progress,
    batch: int = 1,
    placements: Sequence[Placement] | None = None,
) -> list[StitchedMap]:
    """The raw signed maps of a stack of images at several layers, all from the same passes.

    Args:
        network: On `device`.
        images: (B, C, *spatial), anywhere.
        pixel_set: (B, *spatial), boolean or float: how much each position's logit counts.
        target: What is explained.
        layers: Names, see `leaf.py`.
        method: From `methods.METHODS`.
        windows: How each image is cut.
        device: Where windows are computed; maps are gathered where `images` are.
        progress: Called before each window (or batch of windows).
        batch: Windows at once.
        placements: Where the positions of each layer lie in a window; None spreads them evenly over it.
    """
    dtype = images.dtype
    job = _Job(
        network=network,
        target=target,
        images=windows.pad_images(images),
        pixel_set=windows.pad(pixel_set),
        pixels=float(pixel_set.double().sum()) or 1.0,
        windows=windows,
        importance=windows.importance(dtype).to(images.device),
        weight_sum=windows.weight_sum(dtype).to(images.device),
        device=device,
        batch=batch,
        placements=placements,
        tally=_Tally(),
    )
    programs = [method.steps() for _ in layers]
    steps = [next(program) for program in programs]
    walk = 0
    with leaves_at(network, layers) as leaves:
        while not isinstance(steps[0], Map):  # every layer's program takes the same kinds of steps
            if isinstance(steps[0], HeadWeights):
                answers = [head_weights(network, leaf, job.inputs(job.every[:1]), target) for leaf in leaves]
            else:
                report = part(progress, walk / method.walks, (walk + 1) / method.walks)
                answers = _gather(job, leaves, [step for step in steps if isinstance(step, Gather)], report)
                walk += 1
            steps = [program.send(answer) for program, answer in zip(programs, answers, strict=True)]
        report = part(progress, walk / method.walks, 1.0)
        maps = _draw(job, leaves, [step for step in steps if isinstance(step, Map)], report)
    return [
        StitchedMap(values, job.tally.score or 0.0, len(job.every), len(job.touched), grid, job.tally.balance(number))
        for number, (values, grid) in enumerate(zip(maps, job.tally.grids, strict=True))
    ]


@dataclass
class _Tally:
    """What the walks learn by the way: S, and for every layer its grid and the sums of its gradients and of their sizes (2, K)."""

    score: float | None = None
    grids: list[tuple[int, ...]] = field(default_factory=list)
    gradients: dict[int, torch.Tensor] = field(default_factory=dict)

    def add_gradients(self, found: Sequence[Evidence]) -> None:
        for number, evidence in enumerate(found):
            gradient = evidence.gradient
            sums = torch.stack([channel_sums(gradient), channel_sums(gradient.abs())]).sum(dim=1).cpu().double()
            self.gradients[number] = self.gradients.get(number, torch.zeros_like(sums)) + sums

    def balance(self, number: int) -> float | None:
        if number not in self.gradients:
            return None
        net, gross = self.gradients[number]
        alive = gross > 0
        return float((net.abs()[alive] / gross[alive]).mean()) if alive.any() else None


@dataclass(frozen=True)
class _Job:
    """What stays the same from walk to walk. Images and pixel set are padded."""

    network: torch.nn.Module
    target: Target
    images: torch.Tensor
    pixel_set: torch.Tensor
    pixels: float
    windows: Windows
    importance: torch.Tensor
    weight_sum: torch.Tensor
    device: torch.device
    batch: int
    placements: Sequence[Placement] | None
    tally: _Tally

    @cached_property
    def every(self) -> list[Place]:
        """All windows."""
        return [(image, box) for image in range(len(self.images)) for box in self.windows.boxes]

    @cached_property
    def touched(self) -> list[Place]:
        """Those that the pixel set touches."""
        return [(image, box) for image, box in self.every if self.pixel_set[at(image, *box)].any()]

    def inputs(self, places: list[Place]) -> torch.Tensor:
        """(B, C, *window)."""
        return torch.stack([self.images[at(image, slice(None), *box)] for image, box in places]).to(self.device)

    def cotangent(self, places: list[Place]) -> torch.Tensor:
        """M g_w / sum g: (B, *window)."""
        return torch.stack([self.pixel_set[at(image, *box)] * self.share(box) for image, box in places]).to(self.device)

    def share(self, box: Box) -> torch.Tensor:
        """g_w / sum g: how much a window counts at each of its positions."""
        return self.importance / self.weight_sum[box]


def _gather(job: _Job, leaves: Sequence[Leaf], steps: Sequence[Gather], progress: Progress) -> list[torch.Tensor]:
    """The total of each layer's step over the volume."""
    # An empty pixel set touches nothing; one window then says that every sum is zero, and how many channels there are.
    places = job.every if steps[0].everywhere else job.touched or job.every[:1]
    totals: list[torch.Tensor | None] = [None] * len(steps)
    for _, found in _evidence(job, leaves, places, steps[0].gradient, progress):
        totals = [collect(total, step, evidence) for total, step, evidence in zip(totals, steps, found, strict=True)]
    return [total for total in totals if total is not None]


def _draw(job: _Job, leaves: Sequence[Leaf], steps: Sequence[Map], progress: Progress) -> list[torch.Tensor]:
    """Each layer's map (B, *spatial)."""
    added = steps[0].stitching == "added"
    places = job.touched or job.every[:1] if added else job.every
    maps = [torch.zeros_like(job.pixel_set, dtype=job.images.dtype) for _ in steps]
    for chunk, found in _evidence(job, leaves, places, added, progress):
        for values, step, evidence in zip(maps, steps, found, strict=True):
            drawn = evidence.to_window(step.form(evidence)).to(values)
            for (image, box), one in zip(chunk, drawn, strict=True):
                values[at(image, *box)] += one if added else one * job.share(box)
    return [step.finish(job.windows.crop(values)) for step, values in zip(steps, maps, strict=True)]


def _evidence(
    job: _Job, leaves: Sequence[Leaf], places: list[Place], gradient: bool, progress: Progress
) -> Iterator[tuple[list[Place], list[Evidence]]]:
    """What every window tells of every layer, a batch at a time."""
    score = 0.0
    found: list[Evidence] = []
    layouts = LayoutTrial(
        job.network, len(job.windows.size), -(-len(places) // job.batch) if job.device.type == "cpu" else 0
    )
    try:
        for start in range(0, len(places), job.batch):
            found.clear()  # or the last batch's tensors would stand beside this one's
            chunk = places[start : start + job.batch]
            cotangent = job.cotangent(chunk)
            report = part(progress, start / len(places), (start + len(chunk)) / len(places))
            report(0.0, f"Explaining: window {start + 1} of {len(places)}")
            with layouts.batch() as layout:
                found = explain_batch(
                    job.network,
                    leaves,
                    job.inputs(chunk).contiguous(memory_format=layout),
                    cotangent,
                    job.target,
                    pixels=job.pixels,
                    gradient=gradient and bool(cotangent.any()),
                    windows=len(job.every),
                    placements=job.placements,
                    progress=report,
                )
            score += float(found[0].score.double().sum())
            yield chunk, found
            if gradient:
                job.tally.add_gradients(found)
    finally:
        layouts.put_back()
    job.tally.score = score if job.tally.score is None else job.tally.score
    job.tally.grids = [tuple(evidence.activation.shape[2:]) for evidence in found]
