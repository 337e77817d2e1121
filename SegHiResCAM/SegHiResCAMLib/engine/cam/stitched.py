"""The map of the *stitched* prediction of a whole stack, computed window by window at one window's memory, exactly.

With Y(v) = sum_w g_w(v) y_w(v) / sum_w g_w(v) and S = sum over v of M(v) Y_c(v), the gradient at a layer in window w is one backward
pass of that window alone with the cotangent M g_w / sum g. A window that M does not touch has no gradient.

A method (`methods/steps.py`) says what to gather from the windows and how to map them; several layers are served by the same passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from SegHiResCAMLib.engine.cam.evidence import collect, explain_batch
from SegHiResCAMLib.engine.cam.layout import LayoutTrial
from SegHiResCAMLib.engine.cam.leaf import Leaf, Target, leaves_at
from SegHiResCAMLib.engine.cam.methods import Method
from SegHiResCAMLib.engine.cam.methods.steps import Evidence, Gather, HeadWeights, Map, Step, channel_sums
from SegHiResCAMLib.engine.cam.placement import Placement
from SegHiResCAMLib.engine.cam.tail import head_weights
from SegHiResCAMLib.engine.memory import Workplace
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.engine.windows import Box, Windows, at

Place = tuple[int, Box]
"""A window: which image of the stack, and where in it."""

Reveal = Callable[[Sequence[Place], torch.Tensor], None]
"""Called with some windows and their logits (B, K, *window) before their pixel sets are read."""

Form = Callable[[Evidence], torch.Tensor]


@dataclass(frozen=True)
class Question:
    """What is explained of a stack of images.

    Attributes:
        target: The logit.
        pixel_set: (B, *spatial), boolean or float: how much each position's logit counts.
    """

    target: Target
    pixel_set: torch.Tensor


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
    batch: int | None = 1,
    placement: Placement | None = None,
) -> StitchedMap:
    """The raw signed map of a stack of images for one class at one layer.

    `network` is on `device`, and `batch` windows are computed at once; the other arguments are those of `stitched_maps`.
    """
    ((found,),) = stitched_maps(
        Workplace(network, device, batch),
        images,
        [Question(Target(class_index), pixel_set)],
        [layer],
        method,
        windows,
        progress=progress,
        placements=None if placement is None else [placement],
    )
    return found


def stitched_maps(
    workplace: Workplace,
    images: torch.Tensor,
    questions: Sequence[Question],
    layers: Sequence[str],
    method: Method,
    windows: Windows,
    *,
    progress: Progress,
    placements: Sequence[Placement] | None = None,
    reveal: Reveal | None = None,
    mixed: torch.dtype | None = None,
) -> list[list[StitchedMap]]:
    """The raw signed maps of a stack of images for several questions at several layers, all from the same passes.

    A further question costs a tail backward pass where its pixel set is, a further layer next to nothing.

    Args:
        workplace: Where the network computes.
        images: (B, C, *spatial), anywhere; maps are gathered there.
        questions: What is explained.
        layers: Names, see `leaf.py`.
        method: From `methods.METHODS`.
        windows: How each image is cut.
        progress: Called before each batch of windows.
        placements: Where the positions of each layer lie in a window; None spreads them evenly over it.
        reveal: For pixel sets that the prediction itself decides: fills them in, window by window, as the first pass goes over all of them.
            Only right where a window's prediction is final, which it is where one window holds a whole image.
        mixed: A shorter type of numbers for convolutions; maps and sums are made in the type of `images`.

    Returns:
        For every question, the map of every layer.
    """
    job = _Job(workplace, images, questions, windows, placements, reveal, mixed)
    programs = [[method.steps() for _ in layers] for _ in questions]
    steps: list[list[Step]] = [[next(program) for program in row] for row in programs]
    walk = 0
    with leaves_at(workplace.network, layers) as leaves:
        while not isinstance(steps[0][0], Map):  # every program takes the same kinds of steps
            report = part(progress, walk / method.walks, (walk + 1) / method.walks)
            answers = _answers(job, leaves, steps, report)
            walk += not isinstance(steps[0][0], HeadWeights)
            steps = [
                [program.send(answer) for program, answer in zip(*pair, strict=True)]
                for pair in zip(programs, answers, strict=True)
            ]
        maps = _draw(job, leaves, steps, part(progress, walk / method.walks, 1.0))
    return [
        [
            StitchedMap(
                values,
                tally.score or 0.0,
                len(job.every),
                len(job.touched[number]),
                job.grids[place],
                tally.balance(place),
            )
            for place, values in enumerate(row)
        ]
        for number, (row, tally) in enumerate(zip(maps, job.tallies, strict=True))
    ]


@dataclass
class _Tally:
    """What the walks learn of a question by the way: S, and for every layer the sums of its gradients and of their sizes (2, K)."""

    score: float | None = None
    gradients: dict[int, torch.Tensor] = field(default_factory=dict)

    def add(self, gradients: Sequence[torch.Tensor]) -> None:
        for place, sums in enumerate(gradients):
            self.gradients[place] = self.gradients[place] + sums if place in self.gradients else sums

    def balance(self, place: int) -> float | None:
        if place not in self.gradients:
            return None
        net, gross = self.gradients[place]
        alive = gross > 0
        return float((net.abs()[alive] / gross[alive]).mean()) if alive.any() else None


@dataclass
class _Job:
    """What walks share. `kept` holds the evidence of the last walk where that was over in one batch, so that the next need not compute."""

    workplace: Workplace
    images: torch.Tensor
    questions: Sequence[Question]
    windows: Windows
    placements: Sequence[Placement] | None
    reveal: Reveal | None
    mixed: torch.dtype | None
    grids: list[tuple[int, ...]] = field(default_factory=list)
    kept: tuple[Sequence[Place], bool, list[list[Evidence]]] | None = None

    @cached_property
    def tallies(self) -> list[_Tally]:
        return [_Tally() for _ in self.questions]

    @cached_property
    def every(self) -> list[Place]:
        """All windows."""
        return [(image, box) for image in range(len(self.images)) for box in self.windows.boxes]

    @cached_property
    def touched(self) -> list[list[Place]]:
        """Those that each pixel set touches."""
        return [[place for place in self.every if self.touches(question, place)] for question in self.questions]

    def touches(self, question: Question, place: Place) -> bool:
        """Whether a pixel set touches a window."""
        image, box = place
        return bool(question.pixel_set[at(image, *self.windows.source(box))].any())

    @cached_property
    def known_pixels(self) -> list[float]:
        return [_total(question.pixel_set) or 1.0 for question in self.questions]

    @property
    def pixels(self) -> list[float]:
        """Sums of the pixel sets; no numbers before they are known."""
        return self.known_pixels if self.reveal is None else [float("nan")] * len(self.questions)

    def places(self, everywhere: bool) -> list[Place]:
        """The windows of a walk. An empty pixel set touches none; one window then says what a map of nothing looks like."""
        if everywhere or self.reveal:
            return self.every
        if len(self.questions) == 1:
            return self.touched[0] or self.every[:1]
        return [
            place for place in self.every if any(self.touches(question, place) for question in self.questions)
        ] or self.every[:1]

    def inputs(self, places: Sequence[Place], device: torch.device) -> torch.Tensor:
        """(B, C, *window)."""
        cut = [self.images[at(image, slice(None), *self.windows.source(box))] for image, box in places]
        return self.windows.pad_images(torch.stack(cut)).to(device)

    def cotangents(self, places: Sequence[Place], device: torch.device) -> list[torch.Tensor]:
        """M g_w / sum g of each question: (B, *window)."""
        shares = [self.share(box) for _, box in places]
        return [
            torch.stack(
                [
                    self.windows.pad(question.pixel_set[at(image, *self.windows.source(box))]) * share
                    for (image, box), share in zip(places, shares, strict=True)
                ]
            ).to(device)
            for question in self.questions
        ]

    def share(self, box: Box) -> torch.Tensor:
        """g_w / sum g: how much a window counts at each of its positions."""
        if len(self.windows.boxes) == 1:
            return torch.ones((), dtype=self.images.dtype, device=self.images.device)
        return self.windows.share(box, self.images.dtype).to(self.images.device)


def _answers(
    job: _Job, leaves: Sequence[Leaf], steps: Sequence[Sequence[Step]], progress: Progress
) -> list[list[torch.Tensor]]:
    """What each program waits for: the weights of the head, or the total of its step over the volume."""
    first = steps[0][0]
    if not isinstance(first, Gather):
        inputs = job.inputs(job.every[:1], job.workplace.device)
        return [
            [head_weights(job.workplace.network, leaf, inputs, question.target) for leaf in leaves]
            for question in job.questions
        ]
    gathers = [[step for step in row if isinstance(step, Gather)] for row in steps]
    forms = [[step.form for step in row] for row in gathers]
    totals: list[list[torch.Tensor | None]] = [[None] * len(leaves) for _ in steps]
    for _, found in _walk(job, leaves, job.places(first.everywhere), forms, first.gradient, first.everywhere, progress):
        for row, own, own_steps in zip(totals, found, gathers, strict=True):
            if own is not None:
                row[:] = [collect(*three) for three in zip(row, own_steps, own, strict=True)]
    missing = [number for number, row in enumerate(totals) if row[0] is None]
    if missing:  # pixel sets that touch nothing
        for _, found in _walk(job, leaves, job.every[:1], forms, first.gradient, True, silent):
            for number in missing:
                own = found[number] or []
                totals[number] = [collect(None, *two) for two in zip(gathers[number], own, strict=True)]
    return [[total for total in row if total is not None] for row in totals]


def _draw(
    job: _Job, leaves: Sequence[Leaf], steps: Sequence[Sequence[Step]], progress: Progress
) -> list[list[torch.Tensor]]:
    """Each question's map of each layer: (B, *spatial)."""
    drawn = [[step for step in row if isinstance(step, Map)] for row in steps]
    added = drawn[0][0].stitching == "added"
    size = (len(job.images), *job.windows.image)
    maps = [[job.images.new_zeros(size) for _ in row] for row in drawn]

    def on_window(step: Map) -> Form:
        return lambda evidence: evidence.to_window(step.form(evidence)).to(job.images)

    forms = [[on_window(step) for step in row] for row in drawn]
    for chunk, found in _walk(job, leaves, job.places(not added), forms, added, not added, progress):
        for row, own in zip(maps, found, strict=True):
            if own is not None:
                _add(job, row, own, chunk, blended=not added)
    return [[step.finish(values) for step, values in zip(*pair, strict=True)] for pair in zip(drawn, maps, strict=True)]


def _add(
    job: _Job, maps: Sequence[torch.Tensor], drawn: Sequence[torch.Tensor], chunk: Sequence[Place], blended: bool
) -> None:
    """Add what was drawn on some windows (B, *window) to the maps of all layers."""
    for number, (image, box) in enumerate(chunk):
        for values, batch in zip(maps, drawn, strict=True):
            counted = batch[number] * job.share(box) if blended else batch[number]
            values[at(image, *job.windows.source(box))] += job.windows.crop(counted)


@dataclass(frozen=True)
class _Found:
    """What a batch tells of one question: forms, S, and |sum G|, sum |G| of every layer (2, K)."""

    formed: list[torch.Tensor]
    score: float
    gradients: list[torch.Tensor]


def _walk(
    job: _Job,
    leaves: Sequence[Leaf],
    places: Sequence[Place],
    forms: Sequence[Sequence[Form]],
    gradient: bool,
    everywhere: bool,
    progress: Progress,
) -> Iterator[tuple[Sequence[Place], list[list[torch.Tensor] | None]]]:
    """Forms of the evidence of some windows, a batch at a time: for each question, None where its pixel set touches none of them."""
    scores = [0.0] * len(job.questions)
    trial = 0 if job.workplace.steady else len(places)  # the faster layout may be another one the next time
    layouts = LayoutTrial(job.workplace.network, len(job.windows.size), trial)
    done = 0

    def compute(chunk: Sequence[Place], device: torch.device) -> list[_Found | None]:
        report = part(progress, done / len(places), (done + len(chunk)) / len(places))
        report(0.0, f"Explaining: window {done + 1} of {len(places)}")
        evidence = _evidence(job, leaves, chunk, device, gradient, layouts, report)
        if len(chunk) == len(places):
            job.kept = (chunk, gradient, evidence)
        job.grids = [tuple(one.activation.shape[2:]) for one in evidence[0]]
        wanted = [everywhere or any(job.touches(question, place) for place in chunk) for question in job.questions]
        return [
            _found(row, own, gradient) if want else None for row, own, want in zip(evidence, forms, wanted, strict=True)
        ]

    try:
        for chunk, found in job.workplace.run(places, len(job.windows.size), compute):
            done += len(chunk)
            for number, one in enumerate(found):
                if one is not None:
                    scores[number] += one.score
                    job.tallies[number].add(one.gradients)
            yield chunk, [None if one is None else one.formed for one in found]
    finally:
        layouts.put_back()
    job.reveal = None  # everything is revealed now
    for tally, score in zip(job.tallies, scores, strict=True):
        tally.score = score if tally.score is None else tally.score


def _evidence(
    job: _Job,
    leaves: Sequence[Leaf],
    chunk: Sequence[Place],
    device: torch.device,
    gradient: bool,
    layouts: LayoutTrial,
    progress: Progress,
) -> list[list[Evidence]]:
    """Of every question, of every layer."""
    if job.kept is not None:
        places, with_gradient, found = job.kept
        if places == chunk and (with_gradient or not gradient):
            return [
                [replace(one, pixels=pixels, progress=progress) for one in row]
                for row, pixels in zip(found, job.pixels, strict=True)
            ]
        job.kept = None
    reveal = job.reveal
    known = None if reveal else job.cotangents(chunk, device)

    def cotangents(logits: torch.Tensor) -> list[torch.Tensor]:
        if reveal is None or known is not None:
            return known or []
        reveal(chunk, logits)
        return job.cotangents(chunk, device)

    with layouts.batch(len(chunk)) if device.type == "cpu" else nullcontext(torch.contiguous_format) as layout:
        return explain_batch(
            job.workplace.network,
            leaves,
            job.inputs(chunk, device).contiguous(memory_format=layout),
            [question.target for question in job.questions],
            cotangents,
            pixels=job.pixels,
            gradient=gradient and (known is None or any(bool(one.any()) for one in known)),
            windows=len(job.every),
            placements=job.placements,
            mixed=job.mixed,
            flip=True,
            progress=progress,
        )


def _found(evidence: Sequence[Evidence], forms: Sequence[Form], gradient: bool) -> _Found:
    return _Found(
        formed=[form(one) for form, one in zip(forms, evidence, strict=True)],
        score=float(evidence[0].score.double().sum()),
        gradients=[_gradient_sums(one.gradient) for one in evidence] if gradient else [],
    )


def _gradient_sums(gradient: torch.Tensor) -> torch.Tensor:
    """The sums of each channel's gradients, and of their sizes: (2, K)."""
    sizes = torch.linalg.vector_norm(gradient.flatten(2), ord=1, dim=2)
    sums = channel_sums(gradient)
    return torch.stack([sums, sizes.to(sums)]).sum(dim=1).cpu().double()


def _total(values: torch.Tensor) -> float:
    """The sum of a volume, slab by slab: adding in double precision would copy all of it at once."""
    return sum(float(slab.sum(dtype=torch.float64)) for image in values for slab in image)
