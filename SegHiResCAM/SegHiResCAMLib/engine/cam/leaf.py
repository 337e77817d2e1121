"""Activations and their gradients at the least cost: the output of the chosen layer is the only leaf of the graph.

Parameters are frozen and a forward hook hands on a detached copy of the layer's output that requires a gradient. Everything before
the layer then records no graph, everything after it the least that there is, and one `autograd.grad` runs back just to the leaf.
The copy protects the leaf from in-place operations that follow.

A layer is named by its dotted path. Where that is not enough, `name@2` is the second call of a module that is called more than once
in a forward pass (without it, the last call counts), and `name[1]` is the second of the tensors that a module returns.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from SegHiResCAMLib.engine.cam.attention import Attention, attention_at, noticing
from SegHiResCAMLib.engine.cam.lean import LeanGradients
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.output import main_output

LAYER_NAME = re.compile(r"(?P<path>[^@\[\]]+)(?:@(?P<call>[1-9]\d*))?(?:\[(?P<element>\d+)\])?")


@dataclass(frozen=True)
class Target:
    """The logit that is explained: of one class, or of one class minus a contrast class.

    Attributes:
        channel: Output channel of the class.
        contrast: Output channel of the contrast class; None for none.
        alpha: How much the contrast class counts (Zhang et al., CVPR 2025, Finer-CAM): z_c - alpha z_j.
    """

    channel: int
    contrast: int | None = None
    alpha: float = 1.0

    def of(self, logits: torch.Tensor) -> torch.Tensor:
        """The explained logit (B, *spatial) of all logits (B, K, *spatial).

        Raises:
            EngineError: `class-unknown`.
        """
        for channel in (self.channel, self.contrast):
            if channel is not None and not 0 <= channel < logits.shape[1]:
                raise EngineError(
                    "class-unknown",
                    f"The network has {logits.shape[1]} output channels, so class {channel} does not exist.",
                )
        chosen = logits[:, self.channel]
        return chosen if self.contrast is None else chosen - self.alpha * logits[:, self.contrast]


@dataclass
class Leaf:
    """The output of one layer in the latest forward pass.

    Attributes:
        name: As it was asked for.
        module: The module at `path`.
        call: Which of its calls counts, from 1; None for the last.
        element: Which of the tensors it returns; None where it returns one.
        attention: Where the keys lie, of a module that returns attention; None for any other.
        calls: How often it was called in the latest forward pass.
        activation: (B, K, *grid); None before the layer ran.
    """

    name: str
    module: torch.nn.Module
    call: int | None = None
    element: int | None = None
    attention: Attention | None = None
    calls: int = 0
    activation: torch.Tensor | None = None

    def reached(self) -> torch.Tensor:
        """The activation, once a forward pass is over.

        Raises:
            EngineError: `layer-not-called`.
        """
        if self.activation is None:
            if self.call is not None and self.calls:
                problem = f"was called {self.calls} time(s) in this prediction, so it has no call {self.call}"
            else:
                problem = "takes no part in this network's prediction"
            raise EngineError("layer-not-called", f"Layer '{self.name}' {problem}. Choose another.")
        return self.activation

    def tensor_of(self, output: Any) -> torch.Tensor:
        """The tensor that is meant, among what the module returned.

        Raises:
            EngineError: `layer-not-a-tensor`.
        """
        chosen = output
        if self.element is not None and isinstance(output, list | tuple) and self.element < len(output):
            chosen = output[self.element]
        if not isinstance(chosen, torch.Tensor) or (self.element is not None and chosen is output):
            found = f"returns a {type(output).__name__}" + (
                f" of {len(output)}" if isinstance(output, list | tuple) else ""
            )
            raise EngineError(
                "layer-not-a-tensor",
                f"Layer '{self.name}' {found}, and that is not one tensor. Choose a module inside it, or one of what it returns "
                "that 'seghirescam layers' lists, as in name[0].",
            )
        return chosen if self.attention is None else self.attention.to_map(chosen)

    def with_tensor(self, output: Any, tensor: torch.Tensor) -> Any:
        """What the module returned, with `tensor` in place of the one that is meant."""
        if self.attention is not None:
            return self.attention.to_attention(tensor, output)
        if self.element is None:
            return tensor
        return type(output)(tensor if number == self.element else one for number, one in enumerate(output))


def find_layer(network: torch.nn.Module, name: str) -> torch.nn.Module:
    """The module of `network` that layer `name` belongs to.

    Raises:
        EngineError: `layer-unknown`, with names that come close.
    """
    return leaf_of(network, name).module


def true_name(network: torch.nn.Module, name: str) -> str:
    """The layer that `name` stands for: itself, or what the network's own `layer_aliases` make of it."""
    aliases: dict[str, str] = getattr(network, "layer_aliases", {})
    return aliases.get(name, name)


def leaf_of(network: torch.nn.Module, name: str) -> Leaf:
    """The layer of `network` called `name`, not yet run.

    Raises:
        EngineError: `layer-unknown`, with names that come close.
    """
    modules = dict(network.named_modules())
    name = true_name(network, name)
    parts = LAYER_NAME.fullmatch(name)
    if parts and parts["path"] in modules:
        call, element = (int(parts[key]) if parts[key] else None for key in ("call", "element"))
        return Leaf(name, modules[parts["path"]], call, element, attention_at(network, parts["path"]))
    close = difflib.get_close_matches(name, [known for known in modules if known], n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise EngineError("layer-unknown", f"The network has no layer '{name}'.{hint} 'seghirescam layers' lists them all.")


@contextmanager
def leaves_at(network: torch.nn.Module, layers: Sequence[str]) -> Iterator[list[Leaf]]:
    """While open, the outputs of `layers` are the only tensors that a graph is built for. Everything is put back afterwards.

    Args:
        network: Any module; its mode (train or eval) is left as it is.
        layers: Names. Where one layer comes after another, the gradient flows through it on to the earlier one.
    """
    leaves = [leaf_of(network, name) for name in layers]
    alone = len(leaves) == 1

    def hand_on(leaf: Leaf, output: Any) -> Any:
        leaf.calls += 1
        if leaf.call is not None and leaf.calls != leaf.call:
            return None
        tensor = leaf.tensor_of(output)
        # A later layer's output already hangs on an earlier leaf; cutting it off would hide the way through it.
        leaf.activation = tensor if tensor.requires_grad and not alone else tensor.detach().requires_grad_()
        return leaf.with_tensor(output, leaf.activation.clone())

    required = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    handles = [
        leaf.module.register_forward_hook(lambda _module, _inputs, output, leaf=leaf: hand_on(leaf, output))
        for leaf in leaves
    ]
    try:
        for parameter, _ in required:
            parameter.requires_grad_(False)
        with noticing([leaf.attention for leaf in leaves if leaf.attention is not None]):
            yield leaves
    finally:
        for handle in handles:
            handle.remove()
        for parameter, flag in required:
            parameter.requires_grad_(flag)


def run_forward(
    network: torch.nn.Module, leaves: Sequence[Leaf], inputs: torch.Tensor, mixed: torch.dtype | None = None
) -> torch.Tensor:
    """Logits (B, K, *spatial) of inputs (B, C, *spatial), inside `leaves_at`; the leaves then hold their activations.

    Args:
        network: The one given to `leaves_at`.
        leaves: What `leaves_at` yields.
        inputs: (B, C, *spatial).
        mixed: A shorter type of numbers for convolutions and matrix products; None computes in that of the network. Logits are in
            that of the inputs.
    """
    for leaf in leaves:
        leaf.calls, leaf.activation = 0, None
    with torch.autocast(inputs.device.type, mixed, enabled=mixed is not None):
        return main_output(network(inputs), inputs.ndim - 2).to(inputs.dtype)


@contextmanager
def recording_gradients(*, flip: bool) -> Iterator[None]:
    """A graph is built while open, whatever the caller has switched off, of as little as gradients of leaves need (`LeanGradients`)."""
    with torch.inference_mode(False), torch.enable_grad(), LeanGradients(flip=flip):
        yield


def gradients_at(
    leaves: Sequence[Leaf], logit: torch.Tensor, cotangent: torch.Tensor, *, more: bool = False
) -> list[torch.Tensor]:
    """G = dS/dA (B, K, *grid) of each leaf, S = sum(cotangent * logit): one tail backward pass.

    Args:
        leaves: After a forward pass.
        logit: (B, *spatial), from it.
        cotangent: (B, *spatial): how much each position's logit counts in S.
        more: Whether another backward pass of the same forward pass follows.

    Raises:
        EngineError: `layer-without-effect`.
    """
    activations = [leaf.reached() for leaf in leaves]
    found: tuple[torch.Tensor | None, ...] = (None,)
    if logit.requires_grad:
        found = torch.autograd.grad(logit, activations, cotangent.to(logit), allow_unused=True, retain_graph=more)
    if any(one is None for one in found):
        raise EngineError("layer-without-effect", "The chosen layer has no influence on this output. Choose another.")
    return [one for one in found if one is not None]


def scores(logit: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
    """S = sum(cotangent * logit) of each item (B).

    Raises:
        EngineError: `region-shape`.
    """
    if logit.shape[1:] != cotangent.shape[1:]:
        raise EngineError(
            "region-shape",
            f"The pixel set is {tuple(cotangent.shape[1:])}, the network's output {tuple(logit.shape[1:])}. "
            "Give the pixel set on the grid of the output.",
        )
    return (logit * cotangent.to(logit)).flatten(1).sum(dim=1)
