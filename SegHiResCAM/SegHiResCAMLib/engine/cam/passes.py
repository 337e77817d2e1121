"""Walks over the windows of a stack of images: what each window tells of every question, a batch at a time, at one batch's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar

import torch

from SegHiResCAMLib.engine.cam.baselines import BLUR, Baseline, blurred, lowest
from SegHiResCAMLib.engine.cam.batch import ByCut, explain_batch
from SegHiResCAMLib.engine.cam.converted_cut import CutNetwork
from SegHiResCAMLib.engine.cam.leaf import Leaf, Target
from SegHiResCAMLib.engine.cam.methods.steps import Evidence, channel_sums
from SegHiResCAMLib.engine.cam.positions import Placement
from SegHiResCAMLib.engine.cam.probability import MeanProbability
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.windows import Box, Windows, at
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.records.models import Activation

Place = tuple[int, Box]
"""A window: which image of the stack, and where in it."""

Reveal = Callable[[Sequence[Place], torch.Tensor], None]
"""Called with some windows and their logits (B, K, *window) before their pixel sets are read."""

Formed = TypeVar("Formed")
"""What a method makes of a batch of windows."""


@dataclass(frozen=True)
class ScoreQuestion:
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


@dataclass(frozen=True)
class Asked:
    """A stack of images, how it is cut into windows, and what is asked of it.

    Attributes:
        workplace: Where the network computes.
        images: (B, C, *spatial).
        questions: What is explained.
        windows: How each image is cut.
        placements: Where the positions of each layer lie in a window; None spreads them evenly over it.
        mixed: A shorter type of numbers for convolutions.
        cut: The network cut at the only layer, for another engine.
    """

    workplace: Workplace
    images: torch.Tensor
    questions: Sequence[ScoreQuestion]
    windows: Windows
    placements: Sequence[Placement] | None = None
    mixed: torch.dtype | None = None
    cut: CutNetwork | None = None

    @cached_property
    def every(self) -> list[Place]:
        """All windows."""
        return [(image, box) for image in range(len(self.images)) for box in self.windows.boxes]

    @cached_property
    def touched(self) -> list[list[Place]]:
        """Those that each pixel set touches, once it is known."""
        return [[place for place in self.every if self.touches(question, place)] for question in self.questions]

    @cached_property
    def pixels(self) -> list[float]:
        """Sums of the sizes of the pixel sets' values, once they are known; 1 for an empty one."""
        return [_total(question.pixel_set) or 1.0 for question in self.questions]

    def touches(self, question: ScoreQuestion, place: Place) -> bool:
        """Whether a pixel set touches a window."""
        image, box = place
        return bool(question.pixel_set[at(image, *self.windows.source(box))].any())

    def inputs(self, places: Sequence[Place], device: torch.device) -> torch.Tensor:
        """(B, C, *window)."""
        cut = [self.images[at(image, slice(None), *self.windows.source(box))] for image, box in places]
        return self.windows.pad_images(torch.stack(cut)).to(device)

    def without_content(self, which: Baseline, places: Sequence[Place], device: torch.device) -> torch.Tensor:
        """The same of a baseline: cut from the blurred images, or the lowest value of the stack everywhere."""
        if which == "air":
            inputs = self.inputs(places, device)
            return self._air.to(inputs).view(1, -1, *[1] * len(self.windows.size)).expand_as(inputs)
        sigma = BLUR * min(self.windows.size)
        cut = [blurred(self.images[image], self.windows.source(box), sigma) for image, box in places]
        return self.windows.pad_images(torch.stack(cut)).to(device)

    @cached_property
    def _air(self) -> torch.Tensor:
        return lowest(self.images)

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


@dataclass(frozen=True)
class _Answer(Generic[Formed]):
    """What a batch tells of one question: forms, S, and |sum G|, sum |G| of every layer (2, K)."""

    formed: list[Formed]
    score: float
    gradients: list[torch.Tensor]


@dataclass(frozen=True)
class _Batch(Generic[Formed]):
    """What was computed of some windows: of each question, what it tells (None where it does not count) and its part of their logits."""

    found: list[_Answer[Formed] | None]
    cuts: list[list[torch.Tensor]]


class Passes:
    """Walks over the windows of a stack, and what they have learned so far: every walk adds to it, nothing else does.

    Attributes:
        asked: What it is about.
        tallies: One for each question.
        grids: Positions of each layer along each axis of one window; none before the first walk.
    """

    def __init__(self, asked: Asked, reveal: Reveal | None = None) -> None:
        """`reveal` fills in pixel sets that the prediction decides, as the first walk goes over all windows."""
        self.asked = asked
        self.tallies = [Tally(probability=_probability(one, asked.windows)) for one in asked.questions]
        self.grids: list[tuple[int, ...]] = []
        self._reveal = reveal
        self._kept: _Kept | None = None

    @property
    def _pixels(self) -> list[float]:
        """Sums of the pixel sets; NaN before they are known."""
        return self.asked.pixels if self._reveal is None else [float("nan")] * len(self.asked.questions)

    def places(self, everywhere: bool) -> list[Place]:
        """The windows of a walk. An empty pixel set touches none; one window then says what a map of nothing looks like."""
        asked = self.asked
        if everywhere or self._reveal:
            return asked.every
        if len(asked.questions) == 1:
            return asked.touched[0] or asked.every[:1]
        return [
            place for place in asked.every if any(asked.touches(question, place) for question in asked.questions)
        ] or asked.every[:1]

    def walk(
        self,
        leaves: Sequence[Leaf],
        places: Sequence[Place],
        forms: Sequence[Sequence[Callable[[Evidence], Formed]]],
        gradient: bool,
        everywhere: bool,
        progress: Progress,
    ) -> Iterator[tuple[Sequence[Place], list[list[Formed] | None]]]:
        """Forms of the evidence of some windows, a batch at a time: for each question, None where its pixel set touches none of them."""
        asked, axes = self.asked, len(self.asked.windows.size)
        done: list[Place] = []
        scores = [0.0] * len(asked.questions)

        def compute(chunk: Sequence[Place], device: torch.device, layout: torch.memory_format) -> _Batch[Formed]:
            report = part(progress, len(done) / len(places), (len(done) + len(chunk)) / len(places))
            report(0.0, f"Explaining: window {len(done) + 1} of {len(places)}")
            evidence, cuts = self._evidence(leaves, chunk, device, gradient, layout, report)
            if len(chunk) == len(places):
                self._kept = _Kept(chunk, gradient, evidence)
            self.grids = [tuple(one.activation.shape[2:]) for one in evidence[0]]
            wanted = [everywhere or any(asked.touches(one, place) for place in chunk) for one in asked.questions]
            rows = zip(evidence, forms, wanted, strict=True)
            return _Batch([_answer(row, own, gradient) if want else None for row, own, want in rows], cuts)

        with closing(asked.workplace.run(places, axes, compute, layouts=asked.cut is None)) as batches:
            for chunk, batch in batches:
                done.extend(chunk)
                for number, one in enumerate(batch.found):
                    if one is not None:
                        scores[number] += one.score
                        self.tallies[number].add(one.gradients)
                self._add_probabilities(chunk, batch.cuts)
                yield chunk, [None if one is None else one.formed for one in batch.found]
        self._reveal = None  # everything is revealed now
        for tally, score in zip(self.tallies, scores, strict=True):
            tally.score = score if tally.score is None else tally.score

    def _evidence(
        self,
        leaves: Sequence[Leaf],
        chunk: Sequence[Place],
        device: torch.device,
        gradient: bool,
        layout: torch.memory_format,
        progress: Progress,
    ) -> tuple[list[list[Evidence]], list[list[torch.Tensor]]]:
        """Of every question, of every layer; and what `_cuts` finds."""
        asked, reveal = self.asked, self._reveal
        kept, self._kept = self._kept, None
        if kept is not None and kept.serves(chunk, gradient):
            self._kept = kept
            return kept.again(self._pixels, progress), []
        del kept  # its memory is needed
        known = None if reveal else asked.cotangents(chunk, device)
        cuts: list[list[torch.Tensor]] = []

        def cotangents(logits: torch.Tensor) -> list[torch.Tensor]:
            if reveal:
                reveal(chunk, logits)
            cuts.extend(self._cuts(chunk, logits))
            return asked.cotangents(chunk, device) if known is None else known

        evidence = explain_batch(
            asked.workplace.network,
            leaves,
            asked.inputs(chunk, device).contiguous(memory_format=layout),
            [question.target for question in asked.questions],
            cotangents,
            pixels=self._pixels,
            without_content=lambda which: asked.without_content(which, chunk, device),
            gradient=gradient and (known is None or any(bool(one.any()) for one in known)),
            windows=len(asked.every),
            placements=asked.placements,
            mixed=asked.mixed,
            flip=True,
            by=None if asked.cut is None or known is None else ByCut(asked.cut, known),
            progress=progress,
        )
        return evidence, cuts

    def _cuts(self, chunk: Sequence[Place], logits: torch.Tensor) -> list[list[torch.Tensor]]:
        """For each question, its part of each window's logits; none where that is known already, or not asked for."""
        wanted = [tally.probability if tally.score is None else None for tally in self.tallies]
        return [
            [one.cut(*place, own) for place, own in zip(chunk, logits, strict=True)] if one else [] for one in wanted
        ]

    def _add_probabilities(self, chunk: Sequence[Place], cuts: Sequence[Sequence[torch.Tensor]]) -> None:
        """Only once a batch is done: one for which memory ran out is computed again."""
        for tally, own in zip(self.tallies, cuts, strict=False):
            for (image, box), cut in zip(chunk, own, strict=False):
                assert tally.probability
                tally.probability.add(image, box, cut, self.asked.share(box))


@dataclass(frozen=True)
class _Kept:
    """The evidence of a walk that was over in one batch, so that the next need not compute."""

    places: Sequence[Place]
    gradient: bool
    evidence: list[list[Evidence]]

    def serves(self, places: Sequence[Place], gradient: bool) -> bool:
        """Whether it is that of these windows, with what is needed."""
        return self.places == places and (self.gradient or not gradient)

    def again(self, pixels: Sequence[float], progress: Progress) -> list[list[Evidence]]:
        """The same, with sums of the pixel sets that may be known only now."""
        return [
            [replace(one, pixels=total, progress=progress) for one in row]
            for row, total in zip(self.evidence, pixels, strict=True)
        ]


def _probability(question: ScoreQuestion, windows: Windows) -> MeanProbability | None:
    if question.activation is None:
        return None
    return MeanProbability(question.pixel_set, question.target.channel, question.activation, windows)


def _answer(
    evidence: Sequence[Evidence], forms: Sequence[Callable[[Evidence], Formed]], gradient: bool
) -> _Answer[Formed]:
    return _Answer(
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
    """The sum of a volume's sizes, slab by slab: adding in double precision would copy all of it at once."""
    return sum(
        float((slab if slab.dtype == torch.bool else slab.abs()).sum(dtype=torch.float64))
        for image in values
        for slab in image
    )
