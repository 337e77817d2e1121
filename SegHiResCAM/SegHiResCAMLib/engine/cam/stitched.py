"""The map of the *stitched* prediction of a whole stack, computed window by window at one window's memory, exactly.

With Y(v) = sum_w g_w(v) y_w(v) / sum_w g_w(v) and S = sum over v of M(v) Y_c(v), the gradient at a layer in window w is one backward
pass of that window alone with the cotangent M g_w / sum g. A window that M does not touch has no gradient.

A method (`methods/steps.py`) says what to gather from the windows and how to map them; several layers are served by the same passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from SegHiResCAMLib.engine.cam.batch import collect
from SegHiResCAMLib.engine.cam.leaf import Leaf, leaves_at
from SegHiResCAMLib.engine.cam.methods import Method
from SegHiResCAMLib.engine.cam.methods.steps import Gather, HeadWeights, Map, Step
from SegHiResCAMLib.engine.cam.passes import Asked, Form, Passes, Place, Reveal, ScoreQuestion
from SegHiResCAMLib.engine.cam.positions import Placement
from SegHiResCAMLib.engine.cam.tail import head_weights
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.windows import Windows, at
from SegHiResCAMLib.engine.progress import Progress, part, silent


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
    """

    values: torch.Tensor
    score: float
    mean_probability: float | None
    windows: int
    touched: int
    grid: tuple[int, ...]
    gradient_balance: float | None = None


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
    asked = Asked(workplace, images, questions, windows, placements, mixed)
    passes = Passes(asked, reveal)
    programs = [[method.steps() for _ in layers] for _ in questions]
    steps: list[list[Step]] = [[next(program) for program in row] for row in programs]
    walked = 0
    with leaves_at(workplace.network, layers) as leaves:
        while not isinstance(steps[0][0], Map):  # every program takes the same kinds of steps
            report = part(progress, walked / method.walks, (walked + 1) / method.walks)
            answers = _answers(passes, leaves, steps, report)
            walked += not isinstance(steps[0][0], HeadWeights)
            steps = [
                [program.send(answer) for program, answer in zip(*pair, strict=True)]
                for pair in zip(programs, answers, strict=True)
            ]
        maps = _draw(passes, leaves, steps, part(progress, walked / method.walks, 1.0))
    return [_with_facts(passes, number, row) for number, row in enumerate(maps)]


def _with_facts(passes: Passes, number: int, maps: Sequence[torch.Tensor]) -> list[StitchedMap]:
    """The maps of one question, with what the passes have learned of it."""
    tally, asked = passes.tallies[number], passes.asked
    probability = tally.probability.value() if tally.probability else None
    return [
        StitchedMap(
            values,
            tally.score or 0.0,
            probability,
            len(asked.every),
            len(asked.touched[number]),
            passes.grids[place],
            tally.balance(place),
        )
        for place, values in enumerate(maps)
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


def _draw(
    passes: Passes, leaves: Sequence[Leaf], steps: Sequence[Sequence[Step]], progress: Progress
) -> list[list[torch.Tensor]]:
    """Each question's map of each layer: (B, *spatial)."""
    drawn = [[step for step in row if isinstance(step, Map)] for row in steps]
    added = drawn[0][0].stitching == "added"
    size = (len(passes.asked.images), *passes.asked.windows.image)
    maps = [[passes.asked.images.new_zeros(size) for _ in row] for row in drawn]

    def on_window(step: Map) -> Form:
        return lambda evidence: evidence.to_window(step.form(evidence)).to(passes.asked.images)

    forms = [[on_window(step) for step in row] for row in drawn]
    for chunk, found in passes.walk(leaves, passes.places(not added), forms, added, not added, progress):
        for row, own in zip(maps, found, strict=True):
            if own is not None:
                _add(passes.asked, row, own, chunk, blended=not added)
    return [[step.finish(values) for step, values in zip(*pair, strict=True)] for pair in zip(drawn, maps, strict=True)]


def _add(
    asked: Asked, maps: Sequence[torch.Tensor], drawn: Sequence[torch.Tensor], chunk: Sequence[Place], blended: bool
) -> None:
    """Add what was drawn on some windows (B, *window) to the maps of all layers."""
    for number, (image, box) in enumerate(chunk):
        for values, batch in zip(maps, drawn, strict=True):
            counted = batch[number] * asked.share(box) if blended else batch[number]
            values[at(image, *asked.windows.source(box))] += asked.windows.crop(counted)
