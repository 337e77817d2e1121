"""Where the positions of a layer lie in the network's input.

A layer with a stride has fewer positions than the image, and where they lie depends on how the stride is made. A 3x3 convolution of
stride 2 with padding 1 centres position u on input position 2u; pooling 2x2 centres it between 2u and 2u + 1. Stretching the map evenly over the
image, as is usual, is right for pooling only: after four strided convolutions it draws everything 7.5 image positions too far along every
axis, which in a CT is a centimetre.

The placement is measured. With uniform weights, no bias and no nonlinearity, a layer's response to a ramp, divided by its response
to a constant, is the centroid of what each of its positions has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from SegHiResCAMLib.engine.cam.layer_classes import (
    CONVOLUTIONS,
    GATES,
    MEAN_FOR_MAXIMUM,
    keeps_positions,
    mean_for_maximum,
)
from SegHiResCAMLib.engine.cam.leaf import leaf_of
from SegHiResCAMLib.engine.cam.values import swapped_values
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory

PROBE_POSITIONS = 32
"""Of the layer, along the probed axis: enough that its middle does not feel the border."""

PROBE_WIDTHS = (8, 16, 32, 64, 128)
"""Tried for the other axes, the narrowest first that the network can take."""


@dataclass(frozen=True)
class Placement:
    """Position u along an axis is centred on input position `scale * u + offset` of that axis.

    Attributes:
        scale: Input positions from one position of the layer to the next, for each axis.
        offset: Input position that the first one is centred on, for each axis.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]


def even_placement(window: tuple[int, ...], grid: tuple[int, ...]) -> Placement:
    """Each position in the middle of its equal share of the window, as `interpolate(align_corners=False)` has it."""
    scale = tuple(n / g for n, g in zip(window, grid, strict=True))
    return Placement(scale, tuple((step - 1) / 2 for step in scale))


def measure_placement(
    network: nn.Module, layer: str, channels: int, window: tuple[int, ...], grid: tuple[int, ...]
) -> Placement:
    """Where the positions of `layer` lie in the network's input.

    Args:
        network: On any device; left as it was.
        layer: A name, see `leaf.py`.
        channels: Input channels.
        window: Size of the network's input along each axis.
        grid: Positions of the layer in such a window.

    Returns:
        The measured placement; the even one along axes where there is nothing to measure: networks that only take one size, or
        layers whose positions follow no constant step, as behind attention.
    """
    even = even_placement(window, grid)
    if leaf_of(network, layer).attention is not None:
        return even  # tokens are equal shares of the window
    offsets = [
        even.offset[axis] if measured is None else measured
        for axis, measured in enumerate(
            _offset(network, layer, channels, window, even, axis) for axis in range(len(window))
        )
    ]
    return Placement(even.scale, tuple(offsets))


def to_window(maps: torch.Tensor, size: tuple[int, ...], placement: Placement) -> torch.Tensor:
    """Maps (B, *grid) linearly onto a window's positions, (B, *size); beyond the outermost centres, their values go on.

    With the even placement this equals `torch.nn.functional.interpolate` with linear interpolation and align_corners=False.
    """
    for axis, length in enumerate(size):
        weights = _linear_weights(maps.shape[axis + 1], length, placement.scale[axis], placement.offset[axis]).to(maps)
        maps = torch.tensordot(maps, weights, dims=([axis + 1], [1])).movedim(-1, axis + 1)
    return maps


def _linear_weights(positions: int, length: int, scale: float, offset: float) -> torch.Tensor:
    """(length, positions): how much each position counts at each place of the window along one axis; rows sum to 1."""
    places = ((torch.arange(length, dtype=torch.float64) - offset) / scale).clamp(0, positions - 1)
    before = places.floor().long().clamp(max=max(positions - 2, 0))
    share = places - before
    weights = torch.zeros(length, positions, dtype=torch.float64)
    rows = torch.arange(length)
    weights[rows, before] = 1 - share
    weights[rows, (before + 1).clamp(max=positions - 1)] += share
    return weights


def _offset(
    network: nn.Module, layer: str, channels: int, window: tuple[int, ...], even: Placement, axis: int
) -> float | None:
    """The offset along one axis, or None where it cannot be measured."""
    scale = even.scale[axis]
    if scale == 1 or scale != int(scale):
        return None if scale != 1 else 0.0
    long = int(scale) * PROBE_POSITIONS
    shapes = [tuple(long if one == axis else min(width, n) for one, n in enumerate(window)) for width in PROBE_WIDTHS]
    with _averaging(network):
        for shape in dict.fromkeys(shapes):
            centres = _centres(network, layer, channels, shape, axis)
            if centres is not None:
                break
        else:
            return None
    if len(centres) != PROBE_POSITIONS:
        return None
    middle = slice(PROBE_POSITIONS // 4, 3 * PROBE_POSITIONS // 4)
    offsets = (centres - scale * torch.arange(PROBE_POSITIONS))[middle]
    steady = bool(torch.isfinite(offsets).all()) and float(offsets.max() - offsets.min()) <= 1.0
    return round(float(offsets.mean()), 2) if steady else None


def _centres(network: nn.Module, layer: str, channels: int, shape: tuple[int, ...], axis: int) -> torch.Tensor | None:
    """Centroids (positions) along `axis` of what the layer's positions see; None where the network refuses the shape."""
    seen: list[torch.Tensor] = []
    reference = next(network.parameters())
    ramp = torch.arange(shape[axis], dtype=reference.dtype, device=reference.device)
    ramp = ramp.view([-1 if one == axis else 1 for one in range(len(shape))]).expand(shape)
    probe = torch.stack([torch.ones_like(ramp), ramp])[:, None].expand(2, channels, *shape)
    leaf = leaf_of(network, layer)

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        leaf.calls += 1
        if leaf.call in (None, leaf.calls):
            seen.append(leaf.tensor_of(output))

    handle = leaf.module.register_forward_hook(keep)
    try:
        with torch.no_grad():
            network(probe)
    except (RuntimeError, ValueError, AssertionError, EngineError) as error:
        refuse_out_of_memory(error)  # an even placement in its stead would be millimetres off
        return None
    finally:
        handle.remove()
    if not seen or seen[-1].ndim != len(shape) + 2:
        return None
    constant, response = seen[-1].double().mean(dim=1)
    line = tuple(slice(None) if one == axis else n // 2 for one, n in enumerate(constant.shape))
    centres: torch.Tensor = (response[line] / constant[line]).cpu()
    return centres


@contextmanager
def _averaging(network: nn.Module) -> Iterator[None]:
    """Every convolution an average, everything nonlinear out of the way, while open."""

    def uniform(module: nn.Module, name: str, tensor: torch.Tensor) -> torch.Tensor | None:
        if not isinstance(module, CONVOLUTIONS):
            return None
        return torch.zeros_like(tensor) if name == "bias" else torch.full_like(tensor, 1 / tensor[0].numel())

    handles = [
        module.register_forward_hook(substitute)
        for module in network.modules()
        if (substitute := _substitute(module)) is not None
    ]
    try:
        with swapped_values(network, uniform):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _substitute(module: nn.Module) -> Callable[[nn.Module, Any, Any], torch.Tensor] | None:
    """What stands for a module's output while averaging: its input for norms and activations, the mean for a maximum, 1 for gates."""
    if isinstance(module, GATES):
        return lambda _module, _inputs, output: torch.ones_like(output)
    if isinstance(module, tuple(MEAN_FOR_MAXIMUM)):
        return lambda pool, inputs, _output: mean_for_maximum(pool, inputs[0])
    if any(module.children()):
        return None
    return (lambda _module, inputs, _output: inputs[0]) if keeps_positions(module) else None
