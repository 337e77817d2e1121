"""Which layers of a network can be explained, and which one to begin with.

The network runs once on PyTorch's meta device, where tensors have shapes but no values: it takes milliseconds and no memory, however
large the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from SegHiResCAMLib.engine.cam.values import swapped_values
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.output import main_output

READABLE_GRID = 8
"""Positions along every axis of a window below which a map is too coarse to be read."""

# Their output depends on the mean of what they are given, channel by channel or group by group, also in eval mode.
NORMALISATIONS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm)

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Layer:
    """One module of a network.

    Attributes:
        name: Dotted path, as `network.named_modules()` has it.
        kind: Class name.
        channels: Of its output; 0 where it has none.
        grid: Positions of its output along each axis of a window; empty where it has none.
        mm: Millimetres from one position to the next along each axis; empty where the spacing is not known.
        reason: Why it cannot be explained; empty where it can.
        is_block: Whether it is a building block of the network: convolutions that change the grid once at most, whose output is
            neither a mere concatenation nor about to be normalised.
        order: When its output is ready, counted over the forward pass.
    """

    name: str
    kind: str
    channels: int = 0
    grid: tuple[int, ...] = ()
    mm: tuple[float, ...] = ()
    reason: str = ""
    is_block: bool = False
    order: int = -1


@dataclass
class _Seen:
    """What the hooks saw of one module."""

    outputs: list[Any] = field(default_factory=list)
    handed_on: list[torch.Tensor] = field(default_factory=list)  # kept, so that no later tensor takes an id over
    returns_its_input: bool = False
    feeds_normalisation: bool = False
    positions_in: int = 0
    order: int = -1

    @property
    def output(self) -> Any:
        """Of the last call."""
        return self.outputs[-1]

    @property
    def is_map(self) -> bool:
        """Whether the last call returned one tensor with spatial axes."""
        return bool(self.outputs) and isinstance(self.output, torch.Tensor) and self.output.ndim > 2


def list_layers(
    network: nn.Module, channels: int, window: tuple[int, ...], spacing: tuple[float, ...] | None = None
) -> list[Layer]:
    """Every module of `network` but the network itself, in the order of `named_modules`.

    Args:
        network: In the mode it is explained in.
        channels: Input channels.
        window: Size of the network's input along each axis.
        spacing: Millimetres between the input's positions along each axis, where known.

    Raises:
        EngineError: `window-unfit`, when the network cannot take a window of this size.
    """
    seen, influences = _trace(network, channels, window)
    return [
        _describe(name, module, seen, influences.get(name, False), window, spacing)
        for name, module in network.named_modules()
        if name
    ]


def suggest_layer(layers: list[Layer]) -> tuple[Layer, str]:
    """The layer to begin with, and why: the deepest block output whose grid can still be read.

    Deepest is the coarsest grid with at least 8 positions along every axis of a window; where several blocks share it, the one
    computed last, which has seen most of the image. Where every grid is coarser, the finest is taken.

    Raises:
        EngineError: `layer-none`, when no layer can be explained.
    """
    usable = [layer for layer in layers if not layer.reason]
    if not usable:
        raise EngineError("layer-none", "This network has no layer that can be explained.")
    blocks = [layer for layer in usable if layer.is_block] or usable
    readable = [layer for layer in blocks if min(layer.grid) >= READABLE_GRID]
    if readable:
        coarsest = min(math.prod(layer.grid) for layer in readable)
        chosen = max((layer for layer in readable if math.prod(layer.grid) == coarsest), key=lambda layer: layer.order)
        why = f"the deepest block whose grid ({_times(chosen.grid)}) has at least {READABLE_GRID} positions along every axis"
    else:
        chosen = max(blocks, key=lambda layer: (min(layer.grid), math.prod(layer.grid), layer.order))
        why = f"the block with the finest grid ({_times(chosen.grid)}); no grid has {READABLE_GRID} positions along every axis"
    return chosen, why


def _trace(network: nn.Module, channels: int, window: tuple[int, ...]) -> tuple[dict[str, _Seen], dict[str, bool]]:
    """Run the network on the meta device; return what the hooks saw and which modules influence the output."""
    seen = {name: _Seen() for name, _ in network.named_modules()}
    producer: dict[int, list[str]] = {}  # id of a tensor that was handed on -> the modules that returned it
    clock = 0

    def on_call(module: nn.Module, inputs: tuple[object, ...], name: str) -> None:
        first = inputs[0] if inputs else None
        if isinstance(first, torch.Tensor):
            seen[name].positions_in = math.prod(first.shape[2:])
            if isinstance(module, NORMALISATIONS):
                for source in producer.get(id(first), []):
                    seen[source].feeds_normalisation = True

    def on_return(_module: nn.Module, inputs: tuple[object, ...], output: object, name: str) -> object:
        nonlocal clock
        clock += 1
        record = seen[name]
        record.order = clock
        record.outputs.append(output)
        if not isinstance(output, torch.Tensor):
            return None
        record.returns_its_input = any(output is given for given in inputs)
        # A copy keeps in-place operations that follow away from the output, and every module's output a tensor of its own.
        copy = output.clone()
        record.handed_on.append(copy)
        producer[id(copy)] = [name, *producer.get(id(output), [])]
        return copy

    handles = []
    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(lambda m, i, n=name: on_call(m, i, n)))
        handles.append(module.register_forward_hook(lambda m, i, o, n=name: on_return(m, i, o, n)))
    image = torch.zeros(1, channels, *window, device="meta", requires_grad=True)
    try:
        with swapped_values(network, _shape_only), torch.inference_mode(False), torch.enable_grad():
            return seen, _influences(seen, main_output(network(image)))
    except (RuntimeError, ValueError) as error:
        raise EngineError(
            "window-unfit",
            f"The network cannot take an input of {_times(window)} positions: {str(error).splitlines()[0]}",
        ) from error
    finally:
        for handle in handles:
            handle.remove()


def _shape_only(_module: nn.Module, _name: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to("meta")


def _influences(seen: dict[str, _Seen], output: torch.Tensor) -> dict[str, bool]:
    """Which modules' last outputs the network's output depends on."""
    last = {
        name: record.output
        for name, record in seen.items()
        if record.outputs and isinstance(record.output, torch.Tensor) and record.output.requires_grad
    }
    gradients = torch.autograd.grad(output.sum(), list(last.values()), allow_unused=True)
    return {name: gradient is not None for name, gradient in zip(last, gradients, strict=True)}


def _describe(
    name: str,
    module: nn.Module,
    seen: dict[str, _Seen],
    influences: bool,
    window: tuple[int, ...],
    spacing: tuple[float, ...] | None,
) -> Layer:
    kind = type(module).__name__
    reason = _why_not(module, seen[name], influences, len(window))
    if reason:
        return Layer(name, kind, reason=reason)
    output = seen[name].output
    grid = tuple(output.shape[2:])
    mm = tuple(step * n / g for step, n, g in zip(spacing, window, grid, strict=True)) if spacing else ()
    return Layer(name, kind, output.shape[1], grid, mm, is_block=_is_block(name, module, seen), order=seen[name].order)


def _why_not(module: nn.Module, record: _Seen, influences: bool, dims: int) -> str:
    if not record.outputs:
        return "takes no part in the prediction"
    output = record.output
    if not isinstance(output, torch.Tensor):
        return f"returns a {type(output).__name__}, not one tensor"
    if record.returns_its_input or isinstance(module, nn.Identity):
        return "hands its input through"
    if output.ndim != dims + 2:
        return f"returns {output.ndim} dimensions, not a map with {dims} axes"
    return "" if influences else "has no influence on the prediction"


def _is_block(name: str, module: nn.Module, seen: dict[str, _Seen]) -> bool:
    """Convolutions with norms or activations that change the grid once at most, ending neither in a concatenation nor at a norm."""
    parts = [inner for inner in module.modules() if not any(inner.children())]
    convolutions = sum(isinstance(inner, CONVOLUTIONS) for inner in parts)
    if module in parts or convolutions == 0 or convolutions == len(parts):
        return False
    own = seen[name]
    output = own.output
    if own.feeds_normalisation or (output.grad_fn is not None and output.grad_fn.name().startswith("CatBackward")):
        return False
    ends = min(own.positions_in, math.prod(output.shape[2:]))
    inside = [record for inner, record in seen.items() if inner.startswith(f"{name}.")]
    return all(math.prod(record.output.shape[2:]) >= ends for record in inside if record.is_map)


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)
