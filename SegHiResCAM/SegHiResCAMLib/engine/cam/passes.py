"""Walks over the windows of a stack of images: what each window tells of every question, a batch at a time, at one batch's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from SegHiResCAMLib.engine.cam.evidence import explain_batch
from SegHiResCAMLib.engine.cam.layout import LayoutTrial
from SegHiResCAMLib.engine.cam.leaf import Leaf, Target
from SegHiResCAMLib.engine.cam.methods.steps import Evidence, channel_sums
from SegHiResCAMLib.engine.cam.placement import Placement
from SegHiResCAMLib.engine.cam.probability import MeanProbability
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.windows import Box, Windows, at
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.records.models import Activation

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
        activation: What makes probabilities of the logits, where the mean probability over the pixel set is asked for, too.
    """

    target: Target
    pixel_set: torch.Tensor
    activation: Activation | None = None


@dataclass
class Tally:
    """What the passes learn of a question besides: S, the mean probability, and for every layer the sums of its gradients and their sizes."""

    score: float | None = None
    probability: MeanProbability | None = None
    gradients: dict[int, torch.Tensor] = field(default_factory=dict)

    def add(self, gradients: Sequence[torch.Tensor]) -> None:
        """Take in a batch's sums of every layer."""
        for place, sums in enumerate(gradients):
            self.gradients[place] = self.gradients[place] + sums if place in self.gradients else sums

    def balance(self, place: int) -> float | None:
        """|sum G| / sum |G| of a layer, averaged over channels; None where there was no gradient."""
        if place not in self.gradients:
            return None
        net, gross = self.gradients[place]
        alive = gross > 0
        return float((net.abs()[alive] / gross[alive]).mean()) if alive.any() else None


@dataclass
class Job:
    """What passes share.

    `kept` holds the evidence of the last pass where that was over in one batch, so that the next need not compute; `cuts`, for each question,
    what `MeanProbability.cut` gave of the windows that are being computed.
    """

    workplace: Workplace
    images: torch.Tensor
    questions: Sequence[Question]
    windows: Windows
    placements: Sequence[Placement] | None
    reveal: Reveal | None
    mixed: torch.dtype | None
    cuts: list[list[torch.Tensor]] = field(default_factory=list)
    grids: list[tuple[int, ...]] = field(default_factory=list)
    kept: tuple[Sequence[Place], bool, list[list[Evidence]]] | None = None

    @cached_property
    def tallies(self) -> list[Tally]:
        """One for each question."""
        return [
            Tally(
                probability=one.activation
                and MeanProbability(one.pixel_set, one.target.channel, one.activation, self.windows)
            )
            for one in self.questions
        ]

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
        """Sums of the pixel sets, once they are known; 1 for an empty one."""
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


def walk(
    job: Job,
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
            _add_probabilities(job, chunk)
            yield chunk, [None if one is None else one.formed for one in found]
    finally:
        layouts.put_back()
    job.reveal = None  # everything is revealed now
    for tally, score in zip(job.tallies, scores, strict=True):
        tally.score = score if tally.score is None else tally.score


@dataclass(frozen=True)
class _Found:
    """What a batch tells of one question: forms, S, and |sum G|, sum |G| of every layer (2, K)."""

    formed: list[torch.Tensor]
    score: float
    gradients: list[torch.Tensor]


def _evidence(
    job: Job,
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
        if reveal:
            reveal(chunk, logits)
        job.cuts = _cuts(job, chunk, logits)
        return job.cotangents(chunk, device) if known is None else known

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


def _cuts(job: Job, chunk: Sequence[Place], logits: torch.Tensor) -> list[list[torch.Tensor]]:
    """For each question, its part of each window's logits; none where that is known already, or not asked for."""
    wanted = [tally.probability if tally.score is None else None for tally in job.tallies]
    return [[one.cut(*place, own) for place, own in zip(chunk, logits, strict=True)] if one else [] for one in wanted]


def _add_probabilities(job: Job, chunk: Sequence[Place]) -> None:
    """Only now: a batch for which memory ran out is computed again."""
    for tally, cuts in zip(job.tallies, job.cuts, strict=False):
        for (image, box), cut in zip(chunk, cuts, strict=False):
            assert tally.probability
            tally.probability.add(image, box, cut, job.share(box))
    job.cuts = []


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
