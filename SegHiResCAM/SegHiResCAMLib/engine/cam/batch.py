"""One batch of windows: what it tells the methods (`Evidence`), from one forward pass and a backward pass for each target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from SegHiResCAMLib.engine.cam.leaf import Leaf, Target, gradients_at, recording_gradients, run_forward, scores
from SegHiResCAMLib.engine.cam.methods.steps import Evidence, Gather
from SegHiResCAMLib.engine.cam.positions import Placement, even_placement, to_window
from SegHiResCAMLib.engine.cam.tail import recording, replayed
from SegHiResCAMLib.engine.progress import Progress, silent


def explain_batch(
    network: torch.nn.Module,
    leaves: Sequence[Leaf],
    inputs: torch.Tensor,
    targets: Sequence[Target],
    cotangents: Callable[[torch.Tensor], Sequence[torch.Tensor]],
    *,
    pixels: Sequence[float],
    gradient: bool = True,
    windows: int | None = None,
    placements: Sequence[Placement] | None = None,
    mixed: torch.dtype | None = None,
    flip: bool = False,
    progress: Progress = silent,
) -> list[list[Evidence]]:
    """One forward pass and, with `gradient`, one tail backward pass for each target: the evidence of every leaf, target by target.

    Args:
        network: Inside `leaves_at`.
        leaves: What that yields.
        inputs: (B, C, *window).
        targets: What is explained.
        cotangents: Given the logits (B, K, *window), how much each position's logit counts in the S of each target: (B, *window).
        pixels: Sum of each pixel set over the whole volume.
        gradient: Whether G is needed.
        windows: Of the whole volume; None where the batch is all there is.
        placements: Where the positions of each leaf lie; None spreads them evenly over the window.
        mixed: See `run_forward`.
        flip: See `LeanGradients`.
        progress: Told how much of the batch is done, by methods that take long.
    """
    passed = _passed(network, leaves, inputs, targets, cotangents, gradient, mixed, flip)
    size = tuple(inputs.shape[2:])

    def evidence(number: int, place: int) -> Evidence:
        leaf, activation = leaves[place], passed.activations[place]
        placement = placements[place] if placements else even_placement(size, tuple(activation.shape[2:]))

        def score_of(other: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return scores(targets[number].of(run_forward(network, leaves, other, mixed)), passed.weights[number])

        return Evidence(
            activation=activation,
            gradient=passed.gradient(number, place),
            inputs=inputs,
            score=passed.totals[number],
            positions=(windows or len(inputs)) * activation[0, 0].numel(),
            pixels=pixels[number],
            score_with=_tail(network, leaf, inputs, score_of),
            score_of=score_of,
            to_window=lambda maps: to_window(maps, size, placement),
            progress=progress,
        )

    return [[evidence(number, place) for place in range(len(leaves))] for number in range(len(targets))]


@dataclass(frozen=True)
class _Passed:
    """What the passes gave: A of every leaf; of every target its cotangents, its S, and, where they are asked for and not zero, G of every leaf."""

    activations: list[torch.Tensor]
    weights: Sequence[torch.Tensor]
    totals: list[torch.Tensor]
    gradients: dict[int, list[torch.Tensor]]

    def gradient(self, number: int, place: int) -> torch.Tensor:
        """Of one target at one leaf."""
        activation = self.activations[place]
        known = self.gradients.get(number)
        return _nothing(activation) if known is None else known[place].to(activation.dtype)


def _passed(
    network: torch.nn.Module,
    leaves: Sequence[Leaf],
    inputs: torch.Tensor,
    targets: Sequence[Target],
    cotangents: Callable[[torch.Tensor], Sequence[torch.Tensor]],
    gradient: bool,
    mixed: torch.dtype | None,
    flip: bool,
) -> _Passed:
    with recording_gradients(flip=flip) if gradient else torch.no_grad():
        # A tensor made under inference_mode cannot take part in a graph; its copy can.
        logits = run_forward(network, leaves, inputs.clone() if inputs.is_inference() else inputs, mixed)
        activations = [leaf.reached().detach().to(inputs.dtype) for leaf in leaves]
        weights = cotangents(logits.detach())
        explained = [target.of(logits) for target in targets]
        totals = [scores(logit.detach(), cotangent) for logit, cotangent in zip(explained, weights, strict=True)]
        alive = [number for number, cotangent in enumerate(weights) if gradient and cotangent.any()]
        gradients = {
            number: gradients_at(leaves, explained[number], weights[number], more=number != alive[-1])
            for number in alive
        }
    return _Passed(activations, weights, totals, gradients)


def collect(total: torch.Tensor | None, step: Gather, own: torch.Tensor) -> torch.Tensor:
    """The total so far and what one batch (B, ...) adds to it. It is kept in double precision on the CPU: sums over a volume are long."""
    if step.combine == "max":
        own = own.amax(dim=0).cpu().double()
        return own if total is None else torch.maximum(total, own)
    own = own.sum(dim=0).cpu().double()
    return own if total is None else total + own


def _nothing(like: torch.Tensor) -> torch.Tensor:
    """Zeros that take no memory."""
    return torch.zeros((), dtype=like.dtype, device=like.device).expand_as(like)


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
