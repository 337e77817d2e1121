"""What a network's computation graph says of its layers: how far each one sees, and what lies between it and the output.

The graph is PyTorch's own, of one forward pass on the meta device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

Node = Any  # torch.autograd.graph.Node; what it saved of its operation has no type

HANDS_ON = {"Clone", "Alias"}
POINTWISE = HANDS_ON | {
    "Add", "Sub", "Mul", "Div", "Cat", "Relu", "LeakyRelu", "PreluKernel", "Elu", "Gelu", "Silu", "Mish", "Sigmoid", "Tanh", "Softplus",
    "Repeat", "Hardswish", "Hardsigmoid", "Hardtanh", "Threshold",
}  # fmt: skip
"""Operations whose result at a position depends on their inputs there alone."""


@dataclass(frozen=True)
class ReceptiveField:
    """What one position sees of the input, through convolutions, pooling and interpolation.

    Attributes:
        step: Input positions from one position to the next, along each axis.
        extent: Input positions that one position depends on, along each axis.
    """

    step: tuple[float, ...]
    extent: tuple[float, ...]


def operation(node: Node) -> str:
    """The name of a node's operation: "Convolution" of "ConvolutionBackward0"."""
    return re.sub(r"Backward\d*$", "", node.name().rsplit("::", 1)[-1])


def in_order(output: torch.Tensor) -> list[Node]:
    """Every node of the graph of `output`, each after the nodes it depends on."""
    order: list[Node] = []
    placed: set[Node] = set()
    waiting = [(output.grad_fn, False)]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            order.append(node)
        elif node is not None and node not in placed:
            placed.add(node)
            waiting.append((node, True))
            waiting += [(before, False) for before, _ in node.next_functions]
    return order


def consumers(order: Iterable[Node]) -> dict[Node, list[Node]]:
    """Which nodes use the result of each."""
    found: dict[Node, list[Node]] = {}
    for node in order:
        for before, _ in node.next_functions:
            if before is not None:
                found.setdefault(before, []).append(node)
    return found


def pointwise_tails(order: list[Node], users: dict[Node, list[Node]], other: set[Node]) -> set[Node]:
    """The nodes from which on everything up to the output is pointwise.

    Args:
        order: From `in_order`.
        users: From `consumers`.
        other: Nodes that stand for something that is not pointwise, whatever they are called.
    """
    found: set[Node] = set()
    for node in reversed(order):
        if all(user in found and user not in other and _is_pointwise(user) for user in users.get(node, [])):
            found.add(node)
    return found


def went_into(
    order: list[Node],
    users: dict[Node, list[Node]],
    ends: set[Node],
    quantifier: Callable[[Iterable[bool]], bool],
) -> set[Node]:
    """The nodes whose result went into `ends`, handed on or not: `all` of its uses, or `any`."""
    found: set[Node] = set()
    for node in reversed(order):
        following = users.get(node, [])
        if following and quantifier(
            user in ends or (user in found and operation(user) in HANDS_ON) for user in following
        ):
            found.add(node)
    return found


def receptive_fields(order: list[Node], axes: int) -> dict[Node, ReceptiveField | None]:
    """How far each node sees; None where it cannot be told, as behind attention, which sees everything."""
    found: dict[Node, ReceptiveField | None] = {}
    for node in order:
        before = [found[one] for one, _ in node.next_functions if one is not None]
        known = [one for one in before if one is not None]
        if not before:
            found[node] = ReceptiveField((1.0,) * axes, (1.0,) * axes)
        elif len(known) < len(before) or any(one.step != known[0].step for one in known):
            found[node] = None
        else:
            extent = tuple(max(sizes) for sizes in zip(*(one.extent for one in known), strict=True))
            found[node] = _after(node, ReceptiveField(known[0].step, extent))
    return found


def _after(node: Node, field: ReceptiveField) -> ReceptiveField | None:
    """The receptive field behind one operation."""
    kind = operation(node)
    axes = len(field.step)
    if kind in POINTWISE or kind.endswith("Pad") or kind.startswith(("ReflectionPad", "ReplicationPad")):
        return field
    if kind == "Convolution":
        kernel, stride, dilation = tuple(node._saved_weight.shape[2:]), node._saved_stride, node._saved_dilation
        if len(kernel) != axes:
            return None
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        if node._saved_transposed:
            step = tuple(s / t for s, t in zip(field.step, stride, strict=True))
            added = [s * (r // t) for s, r, t in zip(field.step, reach, stride, strict=True)]
        else:
            step = tuple(s * t for s, t in zip(field.step, stride, strict=True))
            added = [s * r for s, r in zip(field.step, reach, strict=True)]
        return ReceptiveField(step, tuple(e + a for e, a in zip(field.extent, added, strict=True)))
    if kind.startswith(("MaxPool", "AvgPool")):
        kernel = _each(node._saved_kernel_size, axes)
        stride = _each(node._saved_stride, axes) or kernel
        step = tuple(s * t for s, t in zip(field.step, stride, strict=True))
        extent = tuple(e + s * (k - 1) for e, s, k in zip(field.extent, field.step, kernel, strict=True))
        return ReceptiveField(step, extent)
    if kind.startswith("Upsample"):
        sizes = zip(node._saved_self_sym_sizes[2:], node._saved_output_size, strict=True)
        step = tuple(s * before / after for s, (before, after) in zip(field.step, sizes, strict=True))
        neighbours = 0 if "Nearest" in kind else 1
        return ReceptiveField(step, tuple(e + neighbours * s for e, s in zip(field.extent, field.step, strict=True)))
    return None


def _each(sizes: Any, axes: int) -> tuple[int, ...]:
    """A size for every axis, where one stands for all."""
    return tuple(sizes) * axes if len(sizes) == 1 else tuple(sizes)


def _is_pointwise(node: Node) -> bool:
    if operation(node) == "Convolution":
        sizes = (*node._saved_weight.shape[2:], *node._saved_stride)
        return not node._saved_transposed and all(size == 1 for size in sizes)
    return operation(node) in POINTWISE
