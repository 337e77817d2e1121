"""The map of the *stitched* prediction of a whole stack, computed window by window at one window's memory, exactly.

With Y(v) = sum_w g_w(v) y_w(v) / sum_w g_w(v) and S = sum over v of M(v) Y_c(v), the gradient at a layer in window w is one backward
pass of that window alone with the cotangent M g_w / sum g. A window that M does not touch has no gradient.

A method (`methods/steps.py`) says what to gather from the windows and how to map them; several layers are served by the same passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from SegHiResCAMLib.engine.cam.attention import refuse_without_attention
from SegHiResCAMLib.engine.cam.batch import collect
from SegHiResCAMLib.engine.cam.converted_cut import CutNetwork
from SegHiResCAMLib.engine.cam.leaf import Leaf, leaves_at
from SegHiResCAMLib.engine.cam.methods import Method
from SegHiResCAMLib.engine.cam.methods.steps import AnySteps, Evidence, Gather, HeadWeights, Map, Step, wide
from SegHiResCAMLib.engine.cam.passes import Asked, Passes, Place, Reveal, ScoreQuestion
from SegHiResCAMLib.engine.cam.positions import Placement
from SegHiResCAMLib.engine.cam.tail import head_weights
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.windows import Windows, at
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.records.explanation import PathIntegral


@dataclass(frozen=True)
class StitchedMap:
    """What `stitched_maps` finds for a question at a layer.

    Attributes:
        values: Raw signed map (B, *spatial) on the stack's grid.
        score: S = sum over v of M(v) Y_c(v).
        mean_probability: Of the class over the pixel set, in the blended prediction; None where it was not asked for or the set is empty.
        windows: How many windows the stack has.
        touched: How many of them the pixel set touches.
        grid: Positions of the layer along each axis of one window.
        gradient_balance: |sum_u G^k| / sum_u |G^k|, averaged over channels; near zero before a normalisation, where the mean gradient
            is rounding. None where no gradient was needed.
        sum: Of the raw map over the locations of the layer, in all windows.
        score_change: S(A) - S(A0), with A0 the layer's activations for the blurred image; None where it was not asked for.
        path_integral: How the method integrated, where it did.
        deviation: Of a smooth map, its standard deviation over the copies with noise (B, *spatial); None for others.
    """

    values: torch.Tensor
    score: float
    mean_probability: float | None
    windows: int
    touched: int
    grid: tuple[int, ...]
    gradient_balance: float | None = None
    sum: float = 0.0
    score_change: float | None = None
    path_integral: PathIntegral | None = None
    deviation: torch.Tensor | None = None


def stitched_maps(
    workplace: Workplace,
    images: torch.Tensor,
    questions: Sequence[ScoreQuestion],
    layers: Sequence[str],
    method: Method,
    windows: Windows,
    *,
    progress: Progress,
    placements: Sequence[Placement] | None = None,
    reveal: Reveal | None = None,
    mixed: torch.dtype | None = None,
    cut: CutNetwork | None = None,
    score_change: bool = False,
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
        cut: The network cut at the only layer, where another engine computes.
        score_change: Whether S(A) - S(A0) is asked for: up to a forward pass and a half more of each window that a pixel set touches.

    Returns:
        For every question, the map of every layer.
    """
    asked = Asked(workplace, images, questions, windows, placements, mixed, cut)
    passes = Passes(asked, reveal)
    programs = [[method.steps() for _ in layers] for _ in questions]
    steps: list[list[Step]] = [[next(program) for program in row] for row in programs]
    walked = 0
    with leaves_at(workplace.network, layers) as leaves:
        if method.of_attention:
            refuse_without_attention(method.title, {leaf.name: leaf.attention for leaf in leaves})
        while not isinstance(steps[0][0], Map):  # every program takes the same kinds of steps
            report = part(progress, walked / method.walks, (walked + 1) / method.walks)
            answers = _answers(passes, leaves, steps, report)
            walked += not isinstance(steps[0][0], HeadWeights)
            steps = [
                [program.send(answer) for program, answer in zip(*pair, strict=True)]
                for pair in zip(programs, answers, strict=True)
            ]
        maps = _draw(passes, leaves, steps, score_change, part(progress, walked / method.walks, 1.0))
    returned = [[_returned(*one) for one in zip(*pair, strict=True)] for pair in zip(programs, maps, strict=True)]
    return [_with_facts(passes, number, *pair) for number, pair in enumerate(zip(maps, returned, strict=True))]


def _returned(program: AnySteps, drawn: _Drawing) -> PathIntegral | None:
    """What a method says of itself once its map is drawn."""
    try:
        program.send(torch.cat(drawn.counted) if drawn.counted else None)
    except StopIteration as end:
        found: PathIntegral | None = end.value
        return found
    raise AssertionError("a method ends with its map")


def _with_facts(
    passes: Passes, number: int, maps: Sequence[_Drawing], returned: Sequence[PathIntegral | None]
) -> list[StitchedMap]:
    """The maps of one question, with what the passes have learned of it."""
    tally, asked = passes.tallies[number], passes.asked
    probability = tally.probability.value() if tally.probability else None
    return [
        StitchedMap(
            drawn.values,
            tally.score or 0.0,
            probability,
            len(asked.every),
            len(asked.touched[number]),
            passes.grids[place],
            tally.balance(place),
            drawn.sum,
            drawn.score_change,
            integral,
        )
        for place, (drawn, integral) in enumerate(zip(maps, returned, strict=True))
    ]


def _answers(
    passes: Passes, leaves: Sequence[Leaf], steps: Sequence[Sequence[Step]], progress: Progress
) -> list[list[torch.Tensor]]:
    """What each program waits for: the weights of the head, or the total of its step over the volume."""
    first = steps[0][0]
    if not isinstance(first, Gather):
        inputs = passes.asked.inputs(passes.asked.every[:1], passes.asked.workplace.device)
        return [
            [head_weights(passes.asked.workplace.network, leaf, inputs, question.target) for leaf in leaves]
            for question in passes.asked.questions
        ]
    gathers = [[step for step in row if isinstance(step, Gather)] for row in steps]
    forms = [[step.form for step in row] for row in gathers]
    totals: list[list[torch.Tensor | None]] = [[None] * len(leaves) for _ in steps]
    for _, found in passes.walk(
        leaves, passes.places(first.everywhere), forms, first.gradient, first.everywhere, progress
    ):
        for row, own, own_steps in zip(totals, found, gathers, strict=True):
            if own is not None:
                row[:] = [collect(*three) for three in zip(row, own_steps, own, strict=True)]
    missing = [number for number, row in enumerate(totals) if row[0] is None]
    if missing:  # pixel sets that touch nothing
        for _, found in passes.walk(leaves, passes.asked.every[:1], forms, first.gradient, True, silent):
            for number in missing:
                own = found[number] or []
                totals[number] = [collect(None, *two) for two in zip(gathers[number], own, strict=True)]
    return [[total for total in row if total is not None] for row in totals]


@dataclass
class _Drawing:
    """The map of one question at one layer: (B, *spatial), its sum over the layer's locations, and what was counted beside."""

    values: torch.Tensor
    sum: float = 0.0
    score_change: float | None = None
    counted: list[torch.Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class _Drawn:
    """The same of some windows: (B, *window)."""

    values: torch.Tensor
    sum: float
    score_change: float | None
    counted: torch.Tensor | None


def _draw(
    passes: Passes, leaves: Sequence[Leaf], steps: Sequence[Sequence[Step]], score_change: bool, progress: Progress
) -> list[list[_Drawing]]:
    """Each question's map of each layer."""
    drawn = [[step for step in row if isinstance(step, Map)] for row in steps]
    added = drawn[0][0].stitching == "added"
    size = (len(passes.asked.images), *passes.asked.windows.image)
    maps = [[_Drawing(passes.asked.images.new_zeros(size)) for _ in row] for row in drawn]
    forms = [[_on_window(step, passes.asked.images, score_change) for step in row] for row in drawn]
    for chunk, found in passes.walk(leaves, passes.places(not added), forms, added, not added, progress):
        for row, own in zip(maps, found, strict=True):
            if own is not None:
                for whole, one in zip(row, own, strict=True):
                    _add(passes.asked, whole, one, chunk, blended=not added)
    for steps_of_row, row in zip(drawn, maps, strict=True):
        for step, whole in zip(steps_of_row, row, strict=True):
            whole.values = step.finish(whole.values)
    return maps


def _on_window(step: Map, like: torch.Tensor, score_change: bool) -> Callable[[Evidence], _Drawn]:
    """What a map is on some windows, in the type of `like`."""

    def form(x: Evidence) -> _Drawn:
        formed = step.form(x)
        raw, counted = formed if isinstance(formed, tuple) else (formed, None)
        change = None
        if score_change:
            change = float(wide(x.score - x.score_with(x.baseline("blurred"))).sum()) if x.touched else 0.0
        return _Drawn(
            x.to_window(raw).to(like), float(wide(raw).sum()), change, None if counted is None else counted.cpu()
        )

    return form


def _add(asked: Asked, whole: _Drawing, drawn: _Drawn, chunk: Sequence[Place], blended: bool) -> None:
    """Add what was drawn on some windows to a map."""
    for number, (image, box) in enumerate(chunk):
        counts = drawn.values[number] * asked.share(box) if blended else drawn.values[number]
        whole.values[at(image, *asked.windows.source(box))] += asked.windows.crop(counts)
    whole.sum += drawn.sum
    if drawn.score_change is not None:
        whole.score_change = (whole.score_change or 0.0) + drawn.score_change
    if drawn.counted is not None:
        whole.counted.append(drawn.counted)
