"""A network cut at a layer, for OpenVINO: what comes before the layer needs no gradient, nor does what follows where only scores are asked for.

Gradients are PyTorch's. Written down as plain operations, a tail's gradient can be given to OpenVINO as well, but OpenVINO 2026.4 then computes
many networks wrongly, and which ones depends on sizes and layers. Nothing is used here that does not agree with PyTorch on a real window of the job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from weakref import WeakKeyDictionary

import torch
from torch import nn

from SegHiResCAMLib.engine.cam.leaf import Leaf, Target, gradients_at, leaves_at, recording_gradients, run_forward
from SegHiResCAMLib.engine.cam.tail import Call, Tail, graph_nodes, recorded_head
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.inference.openvino_network import Compiled, openvino_version
from SegHiResCAMLib.kept_memory import release_memory

AGREEMENT = 1e-3
"""How far a map that OpenVINO has a part in may be from PyTorch's, of its maximum."""

ON_A_WINDOW = AGREEMENT / 4
"""How far on the windows that are checked, of the logits' range and of the map's maximum in the window. Others differ more: of a network that normalises each image by
itself, one slice of a real kidney differed twenty times as much as the next."""

_built: WeakKeyDictionary[nn.Module, dict[tuple[str, tuple[int, ...], bool], CutNetwork | str]] = WeakKeyDictionary()
"""The latest of each network, converted: the next job has the same layer and windows as a rule."""


@dataclass(frozen=True)
class Part:
    """What is done before the cut.

    Attributes:
        module: One of the outermost modules that are done when the layer is.
        shape: Of what it returns of one window.
        is_used: Whether what follows the layer needs that.
    """

    module: nn.Module
    shape: tuple[int, ...]
    is_used: bool


@dataclass(frozen=True)
class CutNetwork:
    """A network cut at a layer, for windows of one size.

    Attributes:
        parts: In their order; the layer's own last.
        head: Windows (1, C, *window) -> what the parts that are used returned.
        tail: What these parts returned -> logits; None where PyTorch computes it.
        channels: K, of the logits.
        engine: What computes, for people.
        pace: The time that it took on some windows, of PyTorch's.
    """

    parts: tuple[Part, ...]
    head: Compiled
    tail: Compiled | None
    channels: int
    engine: str
    pace: float = 1.0

    def calls(self, inputs: torch.Tensor) -> list[Call]:
        """As `recorded_head` of windows (B, C, *window)."""
        of_parts = zip(*(self.head(one[None]) for one in inputs), strict=True)
        return _as_calls(self.parts, [torch.cat(one) if len(one) > 1 else one[0] for one in of_parts])

    def logits(self, calls: Sequence[Call], activation: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, *window) of another activation (B, K', *grid); only where there is a `tail`."""
        assert self.tail is not None
        before = zip(calls[:-1], self.parts, strict=False)
        tensors = [*(output for (_, output), part in before if part.is_used), activation]
        return torch.cat([self.tail(*(one[None] for one in window))[0] for window in zip(*tensors, strict=True)])


def is_built(network: nn.Module, layer: str, window: tuple[int, ...], *, gradient: bool) -> bool:
    """Whether `cut_at` has been asked this before."""
    return (layer, window, gradient) in _built.get(network, {})


def cut_at(
    network: nn.Module, layer: str, inputs: torch.Tensor, target: Target, weights: torch.Tensor, *, gradient: bool
) -> CutNetwork | str:
    """The network cut at a layer, or why it cannot be.

    Args:
        network: On the CPU, in eval mode.
        layer: See `leaf.py`.
        inputs: Some windows of the job (B, C, *window).
        target: The logit that is explained.
        weights: How much it counts in S at each position (B, *window).
        gradient: Whether gradients are asked for; else the tail is converted, too.
    """
    key = (layer, (1, *inputs.shape[1:]), gradient)
    by_torch = partial(_by_torch, network, inputs=inputs, target=target, weights=weights, gradient=gradient)
    with leaves_at(network, [layer]) as (leaf,):
        start = perf_counter()
        own = by_torch(leaf)
        seconds = perf_counter() - start
        try:
            if not is_built(network, *key[:2], gradient=gradient):
                _built[network] = {key: _converted(network, leaf, inputs[:1], own.logits.shape[1], gradient=gradient)}
            cut = _built[network][key]
            # Whatever was found of another question, which may be about a region where they agree less.
            return cut if isinstance(cut, str) else _compared(cut, own, seconds, network, leaf, inputs, by_torch)
        except Exception as error:  # noqa: BLE001 - networks fail to convert in many ways, and PyTorch computes them all
            refuse_out_of_memory(error)
            _built[network] = {key: f"OpenVINO cannot compute this network ({type(error).__name__})"}
            return str(_built[network][key])


@dataclass(frozen=True)
class _OfWindows:
    """Logits, A, and G where it was asked for, of some windows."""

    logits: torch.Tensor
    activation: torch.Tensor
    gradient: torch.Tensor | None

    def difference(self, other: _OfWindows) -> float:
        """The largest, of a window's range of logits and, at each location and channel of G A, of its map's maximum; infinite where one is not finite."""
        logits = self.logits.flatten(1)
        pairs = [(logits, other.logits.flatten(1), logits.amax(1) - logits.amin(1))]
        if self.gradient is not None and other.gradient is not None:
            own, another = self.gradient * self.activation, other.gradient * other.activation
            pairs.append((own.flatten(1), another.flatten(1), own.sum(1).flatten(1).abs().amax(1)))
        found = torch.cat([(one - another).abs().amax(1) / size for one, another, size in pairs])
        return float(found.max()) if bool((found < float("inf")).all()) else float("inf")


def _converted(
    network: nn.Module, leaf: Leaf, inputs: torch.Tensor, channels: int, *, gradient: bool
) -> CutNetwork | str:
    """The network cut and converted, or why it cannot be; not compared yet."""
    calls = recorded_head(network, leaf, lambda: run_forward(network, [leaf], inputs))
    tensors = [output for _, output in calls]
    if not all(isinstance(one, torch.Tensor) and one.dtype == torch.float32 for one in tensors):
        return "the layer, or what goes around it, is more than one tensor"
    used = _used(network, leaf, calls, inputs)
    parts = tuple(
        Part(module, tuple(output.shape), is_used) for (module, output), is_used in zip(calls, used, strict=True)
    )
    with torch.no_grad():
        head = Compiled(_Head(network, leaf, used), [inputs], f"head {leaf.name} {used}")
        # Windows of two sizes may have grids of one size, and other logits.
        what = f"tail {leaf.name} {tuple(inputs.shape)} {used}"
        given = [tensor for tensor, is_used in zip(tensors, used, strict=True) if is_used]
        tail = None if gradient else Compiled(_Tail(network, leaf, parts, inputs), given, what)
    release_memory()  # what PyTorch traced in is of no use to OpenVINO
    return CutNetwork(parts, head, tail, channels, "")


def _used(network: nn.Module, leaf: Leaf, calls: Sequence[Call], inputs: torch.Tensor) -> list[bool]:
    """Whether the logits depend on what each module before the leaf returned; on the leaf's own they do."""
    marks = {module: torch.zeros((), requires_grad=True) for module, _ in calls[:-1]}
    tail = Tail(network, leaf, lambda: None, calls)
    with ExitStack() as stack, torch.inference_mode(False), torch.enable_grad(), tail.starting_from(calls[-1][1]):
        for module, mark in marks.items():
            add = module.register_forward_hook(lambda _module, _inputs, output, mark=mark: output + mark)
            stack.callback(add.remove)
        nodes = graph_nodes(run_forward(network, [leaf], inputs))
    reached = {id(node.variable) for node in nodes if hasattr(node, "variable")}
    return [*(id(marks[module]) in reached for module, _ in calls[:-1]), True]


def _as_calls(parts: Sequence[Part], outputs: Sequence[torch.Tensor]) -> list[Call]:
    """What the parts that are used returned, of all windows of a batch, and zeros that take no memory for the others."""
    windows, following = len(outputs[-1]), iter(outputs)
    nothing = outputs[-1].new_zeros(())
    return [
        (part.module, next(following) if part.is_used else nothing.expand(windows, *part.shape[1:])) for part in parts
    ]


def _compared(
    cut: CutNetwork,
    own: _OfWindows,
    seconds: float,
    network: nn.Module,
    leaf: Leaf,
    inputs: torch.Tensor,
    by_torch: Callable[[Leaf], _OfWindows],
) -> CutNetwork | str:
    """The cut network, if it agrees with PyTorch, which took so many seconds, on some windows."""
    start = perf_counter()
    calls = cut.calls(inputs)
    activation = calls[-1][1]
    if cut.tail is not None:
        other = _OfWindows(cut.logits(calls, activation), activation, None)
    else:
        with Tail(network, leaf, lambda: None, calls).starting_from(activation):
            other = by_torch(leaf)
    pace = (perf_counter() - start) / seconds
    difference = own.difference(other)
    if not difference <= ON_A_WINDOW:
        return f"OpenVINO differed by {difference:.1g} of the maximum on a window"
    who = f"OpenVINO {openvino_version()}" + (" up to the layer, PyTorch after it" if cut.tail is None else "")
    return replace(cut, engine=f"{who}: {difference:.1g} of the maximum from PyTorch on a window", pace=pace)


def _by_torch(
    network: nn.Module, leaf: Leaf, *, inputs: torch.Tensor, target: Target, weights: torch.Tensor, gradient: bool
) -> _OfWindows:
    if not gradient:
        with torch.no_grad():
            return _OfWindows(run_forward(network, [leaf], inputs), leaf.reached().detach(), None)
    with recording_gradients(flip=True):
        logits = run_forward(network, [leaf], inputs)
        (found,) = gradients_at([leaf], target.of(logits), weights)
    return _OfWindows(logits.detach(), leaf.reached().detach(), found)


class _Head(nn.Module):
    """The network up to a leaf; what is used of what `recorded_head` finds is what it returns."""

    def __init__(self, network: nn.Module, leaf: Leaf, used: Sequence[bool]) -> None:
        super().__init__()
        self.network, self.leaf, self.used = network, leaf, used

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        calls = recorded_head(self.network, self.leaf, lambda: run_forward(self.network, [self.leaf], inputs))
        return tuple(output for (_, output), is_used in zip(calls, self.used, strict=True) if is_used)


class _Tail(nn.Module):
    """What follows a leaf: from what the parts that are used returned to logits."""

    def __init__(self, network: nn.Module, leaf: Leaf, parts: Sequence[Part], inputs: torch.Tensor) -> None:
        super().__init__()
        self.network, self.leaf, self.inputs = network, leaf, inputs
        self.parts = parts

    def forward(self, *outputs: torch.Tensor) -> torch.Tensor:
        calls = _as_calls(self.parts, outputs)
        with Tail(self.network, self.leaf, lambda: None, calls).starting_from(outputs[-1]):
            return run_forward(self.network, [self.leaf], self.inputs)
