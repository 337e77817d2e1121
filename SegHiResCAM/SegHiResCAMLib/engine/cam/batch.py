"""One batch of windows: what it tells the methods (`Evidence`), from one forward pass and a backward pass for each target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from SegHiResCAMLib.engine.cam.baselines import Baseline
from SegHiResCAMLib.engine.cam.converted_cut import CutNetwork
from SegHiResCAMLib.engine.cam.leaf import Leaf, Target, gradients_at, recording_gradients, run_forward, scores
from SegHiResCAMLib.engine.cam.methods.steps import Evidence, Gather
from SegHiResCAMLib.engine.cam.positions import Placement, even_placement, to_window
from SegHiResCAMLib.engine.cam.tail import Call, Tail, stopping_at
from SegHiResCAMLib.engine.progress import Progress, silent


def explain_batch(
    network: torch.nn.Module,
    leaves: Sequence[Leaf],
    inputs: torch.Tensor,
    targets: Sequence[Target],
    cotangents: Callable[[torch.Tensor], Sequence[torch.Tensor]],
    *,
    pixels: Sequence[float],
    without_content: Callable[[Baseline], torch.Tensor],
    gradient: bool = True,
    windows: int | None = None,
    placements: Sequence[Placement] | None = None,
    mixed: torch.dtype | None = None,
    flip: bool = False,
    by: ByCut | None = None,
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
        without_content: The inputs of a baseline (B, C, *window).
        gradient: Whether G is needed.
        windows: Of the whole volume; None where the batch is all there is.
        placements: Where the positions of each leaf lie; None spreads them evenly over the window.
        mixed: See `run_forward`.
        flip: See `LeanGradients`.
        by: Another way to compute the passes, with one leaf.
        progress: Told how much of the batch is done.
    """
    passed = _passed(network, leaves, inputs, targets, cotangents, gradient, mixed, flip, by)
    size, forward = tuple(inputs.shape[2:]), partial(run_forward, network, leaves, mixed=mixed)
    cuts = [_Cut(network, one, passed, n, inputs, forward, without_content, flip, by) for n, one in enumerate(leaves)]

    def evidence(number: int, place: int) -> Evidence:
        about, cut, activation = (targets[number], passed.weights[number]), cuts[place], passed.activations[place]
        placement = placements[place] if placements else even_placement(size, tuple(activation.shape[2:]))
        return Evidence(
            activation=activation,
            gradient=passed.gradient(number, place),
            inputs=inputs,
            score=passed.totals[number],
            positions=(windows or len(inputs)) * activation[0, 0].numel(),
            pixels=pixels[number],
            touched=bool(passed.weights[number].any()),
            score_with=lambda other: cut.score_with(other, *about),
            gradient_with=lambda other: cut.gradient_with(other, *about),
            curvature=lambda: cut.curvature(*about),
            baseline=cut.baseline,
            score_of=lambda other: cut.score_of(other, *about),
            to_window=lambda maps: to_window(maps, size, placement),
            progress=progress,
        )

    return [[evidence(number, place) for place in range(len(leaves))] for number in range(len(targets))]


class _Cut:
    """One batch of inputs and the network cut at one leaf: its parts run again."""

    def __init__(
        self,
        network: torch.nn.Module,
        leaf: Leaf,
        passed: _Passed,
        place: int,
        inputs: torch.Tensor,
        forward: Callable[[torch.Tensor], torch.Tensor],
        without_content: Callable[[Baseline], torch.Tensor],
        flip: bool,
        by: ByCut | None,
    ) -> None:
        self._leaf, self._activation, self._inputs = leaf, passed.activations[place], inputs
        self._forward, self._without_content, self._flip = forward, without_content, flip
        self._converted, self._calls = None if by is None else by.cut, passed.calls
        self._tail = Tail(network, leaf, lambda: forward(inputs), passed.calls)
        self._baselines: dict[Baseline, torch.Tensor] = {}

    def score_of(self, inputs: torch.Tensor, target: Target, weights: torch.Tensor) -> torch.Tensor:
        """S (B) of other inputs."""
        cut = self._converted
        if cut is not None and cut.tail is not None:
            calls = cut.calls(inputs)
            return scores(target.of(cut.logits(calls, calls[-1][1])), weights)
        with torch.no_grad():
            return scores(target.of(self._forward(inputs)), weights)

    def score_with(self, activation: torch.Tensor, target: Target, weights: torch.Tensor) -> torch.Tensor:
        """S (B) of another activation."""
        cut = self._converted
        if cut is not None and cut.tail is not None:
            return scores(target.of(cut.logits(self._calls, activation)), weights)
        with self._tail.starting_from(activation), torch.no_grad():
            return scores(target.of(self._forward(self._inputs)), weights)

    def gradient_with(self, activation: torch.Tensor, target: Target, weights: torch.Tensor) -> torch.Tensor:
        """G (B, K, *grid) at another activation."""
        with self._tail.starting_from(activation), recording_gradients(flip=self._flip):
            (found,) = gradients_at([self._leaf], target.of(self._forward(self._inputs)), weights)
        return found.to(activation.dtype)

    def curvature(self, target: Target, weights: torch.Tensor) -> torch.Tensor:
        """H A (B, K, *grid), as the derivative of G along A."""
        with (
            self._tail.starting_from(self._activation),
            torch.inference_mode(False),  # by PyTorch's own operations: lean ones have no second derivative
            torch.enable_grad(),
        ):
            logit = target.of(self._forward(self._inputs))
            leaf = self._leaf.reached()
            (gradient,) = torch.autograd.grad(logit, leaf, weights.to(logit), create_graph=True)
            if not gradient.requires_grad:  # the tail is linear
                return torch.zeros_like(self._activation)
            (found,) = torch.autograd.grad(gradient, leaf, leaf.detach(), materialize_grads=True)
        return found.to(self._activation.dtype)

    def baseline(self, which: Baseline) -> torch.Tensor:
        """A0 (B, K, *grid), computed once for all targets."""
        if which not in self._baselines:
            self._baselines[which] = (
                torch.zeros_like(self._activation) if which == "zero" else self._activation_of(which)
            )
        return self._baselines[which]

    def _activation_of(self, which: Baseline) -> torch.Tensor:
        inputs = self._without_content(which)
        if self._converted is not None:
            found: torch.Tensor = self._converted.calls(inputs)[-1][1]
            return found
        with torch.no_grad(), stopping_at(self._leaf):
            self._forward(inputs)
        return self._leaf.reached().detach().to(inputs.dtype)


@dataclass(frozen=True)
class _Passed:
    """What the passes gave: A of every leaf; of every target its cotangents, its S, and, where they are asked for and not zero, G of every leaf.

    And what came before the leaf (`recorded_head`), where it was computed by itself.
    """

    activations: list[torch.Tensor]
    weights: Sequence[torch.Tensor]
    totals: list[torch.Tensor]
    gradients: dict[int, list[torch.Tensor]]
    calls: list[Call] = field(default_factory=list)

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
    by: ByCut | None,
) -> _Passed:
    if by is not None:
        return _passed_by(by, network, leaves[0], inputs, targets, cotangents, gradient, flip)
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


@dataclass(frozen=True)
class ByCut:
    """Passes by a network that was cut at the only leaf.

    Attributes:
        cut: The network.
        weights: The cotangents of each target, which no logits decide.
    """

    cut: CutNetwork
    weights: Sequence[torch.Tensor]


def _passed_by(
    by: ByCut,
    network: torch.nn.Module,
    leaf: Leaf,
    inputs: torch.Tensor,
    targets: Sequence[Target],
    cotangents: Callable[[torch.Tensor], Sequence[torch.Tensor]],
    gradient: bool,
    flip: bool,
) -> _Passed:
    """As `_passed`; where nothing counts, nothing after the leaf is computed."""
    cut, weights = by.cut, by.weights
    calls = cut.calls(inputs)
    activation: torch.Tensor = calls[-1][1]
    alive = [number for number, cotangent in enumerate(weights) if cotangent.any()]
    gradients: dict[int, list[torch.Tensor]] = {}
    logits = activation.new_zeros(()).expand(len(inputs), cut.channels, *inputs.shape[2:])
    if alive and cut.tail is not None and not gradient:
        logits = cut.logits(calls, activation)
    elif alive:
        tail = Tail(network, leaf, lambda: None, calls)
        with tail.starting_from(activation), recording_gradients(flip=flip) if gradient else torch.no_grad():
            logits = run_forward(network, [leaf], inputs)
            for number in alive if gradient else ():
                more = number != alive[-1]
                gradients[number] = gradients_at([leaf], targets[number].of(logits), weights[number], more=more)
    logits = logits.detach()
    cotangents(logits)
    totals = [scores(target.of(logits), cotangent) for target, cotangent in zip(targets, weights, strict=True)]
    return _Passed([activation], weights, totals, gradients, calls)


def collect(total: torch.Tensor | None, step: Gather, own: torch.Tensor) -> torch.Tensor:
    """The total so far and what one batch (B, ...) adds to it. It is kept in double precision on the CPU: sums over a volume are long."""
    if step.combine == "max":
        own = own.amax(dim=0).cpu().double()
        return own if total is None else torch.maximum(total, own)
    if step.combine == "all":
        own = own.cpu().double()
        return own if total is None else torch.cat([total, own])
    own = own.sum(dim=0).cpu().double()
    return own if total is None else total + own


def _nothing(like: torch.Tensor) -> torch.Tensor:
    """Zeros that take no memory."""
    return torch.zeros((), dtype=like.dtype, device=like.device).expand_as(like)
