"""Activations and their gradients at the least cost: the output of the chosen layer is the only leaf of the graph.

Parameters are frozen and a forward hook hands on a detached copy of the layer's output that requires a gradient. Everything before
the layer then records no graph, everything after it the least that there is, and one `autograd.grad` runs back just to the leaf.
The copy protects the leaf from in-place operations that follow.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.output import main_output


@dataclass
class Leaf:
    """The layer's output in the latest forward pass; None before the layer ran."""

    activation: torch.Tensor | None = None

    def reached(self) -> torch.Tensor:
        """The activation, once a forward pass is over.

        Raises:
            EngineError: `layer-not-called`.
        """
        if self.activation is None:
            raise EngineError(
                "layer-not-called", "The chosen layer takes no part in this network's prediction. Choose another."
            )
        return self.activation


def find_layer(network: torch.nn.Module, name: str) -> torch.nn.Module:
    """The module of `network` at the dotted path `name`.

    Raises:
        EngineError: `layer-unknown`, with names that come close.
    """
    modules = dict(network.named_modules())
    if name and name in modules:
        return modules[name]
    close = difflib.get_close_matches(name, [known for known in modules if known], n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise EngineError("layer-unknown", f"The network has no layer '{name}'.{hint} The command 'layers' lists them all.")


@contextmanager
def leaf_at(network: torch.nn.Module, layer: str) -> Iterator[Leaf]:
    """While open, the output of `layer` is the only leaf that requires a gradient. Everything is put back afterwards.

    Args:
        network: Any module; its mode (train or eval) is left as it is.
        layer: Dotted name of one of its modules. Called more than once in a forward pass, its last call counts.
    """
    module = find_layer(network, layer)
    leaf = Leaf()

    def hand_on(_module: torch.nn.Module, _inputs: object, output: object) -> torch.Tensor:
        if not isinstance(output, torch.Tensor):
            raise EngineError(
                "layer-not-a-tensor",
                f"Layer '{layer}' returns a {type(output).__name__}, not one tensor. Choose a module inside it.",
            )
        leaf.activation = output.detach().requires_grad_()
        return leaf.activation.clone()

    required = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    handle = module.register_forward_hook(hand_on)
    try:
        for parameter, _ in required:
            parameter.requires_grad_(False)
        yield leaf
    finally:
        handle.remove()
        for parameter, flag in required:
            parameter.requires_grad_(flag)


def activation_and_gradient(
    network: torch.nn.Module, leaf: Leaf, inputs: torch.Tensor, cotangent: torch.Tensor, class_index: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One forward pass and one tail backward pass, inside `leaf_at`.

    Args:
        network: The one given to `leaf_at`.
        leaf: What `leaf_at` yields.
        inputs: (B, C, *spatial).
        cotangent: (B, *spatial): how much each position's logit counts in S.
        class_index: Output channel.

    Returns:
        A and G = dS/dA, both (B, K, *grid), and S = sum(cotangent * logits[:, class_index]) of each item (B).

    Raises:
        EngineError: The layer has no path to the output, or shapes do not fit.
    """
    leaf.activation = None
    with torch.inference_mode(False), torch.enable_grad():
        # A tensor made under inference_mode cannot take part in a graph; its copy can.
        logits = main_output(network(inputs.clone() if inputs.is_inference() else inputs))
        _check_output(logits, cotangent, class_index)
        chosen = logits[:, class_index]
        activation = leaf.reached()
        gradient = None
        if chosen.requires_grad:
            (gradient,) = torch.autograd.grad(chosen, activation, cotangent.to(chosen), allow_unused=True)
    if gradient is None:
        raise EngineError("layer-without-effect", "The chosen layer has no influence on this output. Choose another.")
    score = (chosen.detach() * cotangent.to(chosen)).flatten(1).sum(dim=1)
    return activation.detach(), gradient, score


def _check_output(logits: torch.Tensor, cotangent: torch.Tensor, class_index: int) -> None:
    if not 0 <= class_index < logits.shape[1]:
        raise EngineError(
            "class-unknown", f"There is no class {class_index}: the network has {logits.shape[1]} output channels."
        )
    if logits.shape[2:] != cotangent.shape[1:]:
        raise EngineError(
            "pixel-set-shape",
            f"The pixel set is {tuple(cotangent.shape[1:])}, the network's output {tuple(logits.shape[2:])}. "
            "Give the pixel set on the grid of the output.",
        )
