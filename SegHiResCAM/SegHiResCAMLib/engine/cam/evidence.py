"""What a batch of windows tells the methods (`Evidence`), computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from SegHiResCAMLib.engine.cam.leaf import Leaf, Target, activations_and_gradients, run_forward, scores
from SegHiResCAMLib.engine.cam.methods.steps import Evidence, Gather
from SegHiResCAMLib.engine.cam.placement import Placement, even_placement, to_window
from SegHiResCAMLib.engine.cam.tail import recording, replayed
from SegHiResCAMLib.engine.progress import Progress, silent


def explain_batch(
    network: torch.nn.Module,
    leaves: Sequence[Leaf],
    inputs: torch.Tensor,
    cotangent: torch.Tensor,
    target: Target,
    *,
    pixels: float,
    gradient: bool = True,
    windows: int | None = None,
    placements: Sequence[Placement] | None = None,
    progress: Progress = silent,
) -> list[Evidence]:
    """One forward pass, with `gradient` one tail backward pass: the evidence of every leaf.

    Args:
        network: Inside `leaves_at`.
        leaves: What that yields.
        inputs: (B, C, *window).
        cotangent: (B, *window): how much each position's logit counts in S.
        target: What is explained.
        pixels: Sum of the pixel set over the whole volume.
        gradient: Whether G is needed.
        windows: Of the whole volume; None where the batch is all there is.
        placements: Where the positions of each leaf lie; None spreads them evenly over the window.
        progress: Told how much of the batch is done, by methods that take long.
    """
    if gradient:
        activations, gradients, score = activations_and_gradients(network, leaves, inputs, cotangent, target)
    else:
        with torch.no_grad():
            score = scores(run_forward(network, leaves, inputs, target), cotangent)
        activations = [leaf.reached().detach() for leaf in leaves]
        gradients = [torch.zeros((), dtype=one.dtype, device=one.device).expand_as(one) for one in activations]

    def score_of(other: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return scores(run_forward(network, leaves, other, target), cotangent)

    size = tuple(inputs.shape[2:])
    found = []
    for number, (leaf, activation, own) in enumerate(zip(leaves, activations, gradients, strict=True)):
        placement = placements[number] if placements else even_placement(size, tuple(activation.shape[2:]))
        found.append(
            Evidence(
                activation=activation,
                gradient=own,
                inputs=inputs,
                score=score,
                positions=(windows or len(inputs)) * activation[0, 0].numel(),
                pixels=pixels,
                score_with=_tail(network, leaf, inputs, score_of),
                score_of=score_of,
                to_window=lambda maps, placement=placement: to_window(maps, size, placement),  # type: ignore[misc]
                progress=progress,
            )
        )
    return found


def collect(total: torch.Tensor | None, step: Gather, evidence: Evidence) -> torch.Tensor:
    """The total so far and one batch more. It is kept in double precision on the CPU: sums over a volume are long."""
    own = step.form(evidence)
    if step.combine == "max":
        own = own.amax(dim=0).cpu().double()
        return own if total is None else torch.maximum(total, own)
    own = own.sum(dim=0).cpu().double()
    return own if total is None else total + own


def _tail(
    network: torch.nn.Module, leaf: Leaf, inputs: torch.Tensor, score_of: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """S with the leaf's activation replaced; what comes before the leaf is computed once, when it is first needed."""
    calls: list[tuple[torch.nn.Module, object]] = []

    def score_with(activation: torch.Tensor) -> torch.Tensor:
        if not calls:
            with recording(network, leaf) as recorded:
                score_of(inputs)
            calls.extend(recorded)
        module, output = calls[-1]
        with replayed([*calls[:-1], (module, leaf.with_tensor(output, activation))]):
            return score_of(inputs)

    return score_with
