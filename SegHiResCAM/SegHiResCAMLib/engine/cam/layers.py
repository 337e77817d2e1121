"""Which layers of a network can be explained, and which one to begin with.

The network runs once on PyTorch's meta device, where tensors have shapes but no values: it takes milliseconds and no memory, however
large the window.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from torch import nn

from SegHiResCAMLib.engine.cam.attention import Attention, attention_at, noticing
from SegHiResCAMLib.engine.cam.graph import pointwise_tails, receptive_fields, went_into
from SegHiResCAMLib.engine.cam.layer_classes import CONVOLUTIONS
from SegHiResCAMLib.engine.cam.trace import Call, Trace, trace
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.records.models import Caveat

READABLE_GRID = 8
"""Positions along every axis of a window below which a map is too coarse to be read."""


@dataclass(frozen=True)
class Layer:
    """What a module returns: something that can be explained, or a reason why not.

    Attributes:
        name: Dotted path, as `network.named_modules()` has it; `name@1` is the first call of a module that is called several times,
            `name[1]` the second of the tensors that it returns.
        kind: Class name.
        channels: Of its output; 0 where it has none.
        grid: Positions of its output along each axis of a window; empty where it has none.
        mm: Millimetres from one position to the next along each axis; empty where the spacing is not known.
        reason: Why it cannot be explained; empty where it can.
        is_block: Whether it is a building block of the network: convolutions that change the grid once at most, whose output is
            neither a mere concatenation nor about to be normalised.
        order: When its output is ready, counted over the forward pass.
        receptive_field: Positions of the input that one position sees along each axis, through convolutions, pooling and interpolation
            (a normalisation's statistics see the whole window besides); empty where it cannot be told, as behind attention.
        receptive_field_mm: The same in millimetres.
        feeds_normalisation: Its output goes into nothing but normalisations of single channels, so that its mean gradient is zero:
            Seg-Grad and Seg-XGrad CAM are void here.
        is_attention: It is the attention of a transformer, of which locations are the keys and channels the heads and queries.
        tail_is_trivial: What follows looks at every position alone, so that the map is the pixel set itself.
    """

    name: str
    kind: str
    channels: int = 0
    grid: tuple[int, ...] = ()
    mm: tuple[float, ...] = ()
    reason: str = ""
    is_block: bool = False
    order: int = -1
    receptive_field: tuple[int, ...] = ()
    receptive_field_mm: tuple[float, ...] = ()
    feeds_normalisation: bool = False
    tail_is_trivial: bool = False
    is_attention: bool = False

    @property
    def pointwise(self) -> str:
        """How operations are called that look at every location alone: "1x1x1"."""
        return "x".join("1" for _ in self.grid)

    def is_coarser_than(self, extent_mm: float) -> bool:
        """Whether the grid spacing is larger than something of this extent, such as the segment to be explained."""
        return bool(self.mm) and max(self.mm) > extent_mm

    def caveats(self, extent_mm: float | None = None) -> tuple[Caveat, ...]:
        """What limits a map of this layer; `extent_mm` is the size of the segment to be explained, where one is known."""
        found = []
        if self.feeds_normalisation:
            message = (
                "Its output goes straight into a normalisation layer: mean gradients vanish, so Seg-Grad and Seg-XGrad CAM are mathematically "
                "zero here."
            )
            found.append(Caveat("feeds-normalisation", "mean gradients vanish", message))
        if self.tail_is_trivial:
            message = f"Only {self.pointwise} operations follow, so the map can only reproduce the explained region."
            found.append(Caveat("tail-trivial", f"only {self.pointwise} operations follow", message))
        if extent_mm and self.is_coarser_than(extent_mm):
            message = f"Its grid spacing is {coarser_than(self, extent_mm, 'the segment')}."
            found.append(Caveat("grid-too-coarse", "coarser than the segment", message))
        return tuple(found)


def coarser_than(layer: Layer, extent_mm: float, what: str) -> str:
    """For people: what it means that a layer's grid is coarser than something of this extent."""
    return f"{max(layer.mm):.0f} mm, and {what} is {extent_mm:.0f} mm across: the map cannot show detail inside it"


def list_layers(
    network: nn.Module, channels: int, window: tuple[int, ...], spacing: tuple[float, ...] | None = None
) -> list[Layer]:
    """Everything that the modules of `network` return, in the order of `named_modules`; the network itself is left out.

    Args:
        network: In the mode it is explained in.
        channels: Input channels.
        window: Size of the network's input along each axis.
        spacing: Millimetres between the input's positions along each axis, where known.

    Raises:
        EngineError: `window-unfit`, when the network cannot take a window of this size.
    """
    attentions = {path: one for path, _ in network.named_modules() if (one := attention_at(network, path))}
    with noticing(list(attentions.values())):
        traced = trace(network, channels, window)
    try:
        wider: Trace | None = trace(network, channels, tuple(2 * length for length in window))
    except EngineError:  # it takes windows of one size only
        wider = None
    found = _Found(traced, wider, window, spacing, attentions)
    layers: list[Layer] = []
    for path, module in network.named_modules():
        if path:
            layers += _rows(path, module, found)
    return layers


def layer_named(layers: list[Layer], name: str) -> Layer:
    """The layer called `name`; of a module that is called several times, the last call where none is named.

    Raises:
        EngineError: `layer-unknown`, `layer-unusable`.
    """
    found = [layer for layer in layers if layer.name == name or re.fullmatch(rf"{re.escape(name)}@\d+", layer.name)]
    if not found:
        raise EngineError("layer-unknown", f"The network has no layer '{name}'. 'seghirescam layers' lists them all.")
    if found[-1].reason:
        raise EngineError(
            "layer-unusable", f"Layer '{name}' cannot be explained: it {found[-1].reason}. Choose another."
        )
    return found[-1]


def suggest_layer(layers: list[Layer]) -> tuple[Layer, str]:
    """The layer to begin with, and why: the deepest block output whose grid can still be read.

    Deepest is the coarsest grid with at least 8 positions along every axis of a window; where several blocks share it, the one
    computed last, which has seen most of the image. Where every grid is coarser, the finest is taken.

    Raises:
        EngineError: `layer-none`, when no layer can be explained.
    """
    usable = [layer for layer in layers if not layer.reason and not layer.is_attention]
    if not usable:
        raise EngineError("layer-none", "This network has no layer that can be explained.")
    blocks = [layer for layer in usable if layer.is_block] or usable
    readable = [layer for layer in blocks if min(layer.grid) >= READABLE_GRID]
    if readable:
        coarsest = min(math.prod(layer.grid) for layer in readable)
        chosen = max((layer for layer in readable if math.prod(layer.grid) == coarsest), key=lambda layer: layer.order)
        why = f"the deepest block whose grid ({_times(chosen.grid)}) has at least {READABLE_GRID} locations along every axis"
    else:
        chosen = max(blocks, key=lambda layer: (min(layer.grid), math.prod(layer.grid), layer.order))
        why = f"the block with the finest grid ({_times(chosen.grid)}); no grid has {READABLE_GRID} locations along every axis"
    return chosen, why


def attention_layers(layers: list[Layer], model: str) -> list[Layer]:
    """The attention of all blocks of a model of this name.

    Raises:
        EngineError: `attention-none`.
    """
    found = [layer for layer in layers if layer.is_attention and not layer.reason]
    if not found:
        raise EngineError(
            "attention-none",
            f"'{model}' has no attention that can be looked into. Seg-LeGrad explains transformers of MONAI (UNETR, SwinUNETR); choose another method.",
        )
    return found


class _Found:
    """What the traces of a network say of all its layers."""

    def __init__(
        self,
        traced: Trace,
        wider: Trace | None,
        window: tuple[int, ...],
        spacing: tuple[float, ...] | None,
        attentions: dict[str, Attention],
    ) -> None:
        self.attentions = attentions
        self.calls = traced.calls
        self.wider = wider
        self.window = window
        self.spacing = spacing
        self.reaching = set(traced.order)
        self.pointwise = pointwise_tails(traced.order, traced.users, traced.norms)
        self.before_norm = went_into(traced.order, traced.users, traced.norms, any)
        self.only_before_channel_norm = went_into(traced.order, traced.users, traced.channel_norms, all)
        self.fields = receptive_fields(traced.order, len(window))

    def output_when_wider(self, path: str, call: int, element: int | None) -> tuple[int, ...] | None:
        """The shape of the same output for a window of twice the size, where the network takes one."""
        if self.wider is None:
            return None
        calls = self.wider.calls[path]
        return calls[call].outputs[element].shape if call < len(calls) and element in calls[call].outputs else ()


def _rows(path: str, module: nn.Module, found: _Found) -> list[Layer]:
    """A row for every tensor that every call of a module returns; one row with the reason where there is none."""
    calls = found.calls[path]
    kind = type(module).__name__
    if not calls:
        return [Layer(path, kind, reason="takes no part in the prediction")]
    rows = []
    for number, call in enumerate(calls):
        name = f"{path}@{number + 1}" if len(calls) > 1 else path
        if path in found.attentions:
            rows.append(_attention_row(name, call, found.attentions[path], found))
            continue
        if call.handed_through or isinstance(module, nn.Identity):
            rows.append(Layer(name, kind, reason="passes its input through"))
            continue
        listed = [
            _row(name if element is None else f"{name}[{element}]", path, module, number, element, found)
            for element in call.outputs
        ]
        if None not in call.outputs:  # several tensors: those that are no maps are not worth a line each
            reason = f"returns a {call.kind}, not one tensor"
            listed = [layer for layer in listed if not layer.reason] or [Layer(name, kind, reason=reason)]
        rows += listed
    return rows


def _attention_row(name: str, call: Call, attention: Attention, found: _Found) -> Layer:
    output, grid, spacing = call.outputs[None], attention.grid, found.spacing
    if output.node not in found.reaching:
        return Layer(name, attention.kind, reason="has no influence on the prediction")
    return Layer(
        name,
        attention.kind,
        output.shape[1] * output.shape[2],
        grid,
        tuple(step * n / g for step, n, g in zip(spacing, found.window, grid, strict=True)) if spacing else (),
        order=call.order,
        is_attention=True,
    )


def _row(name: str, path: str, module: nn.Module, number: int, element: int | None, found: _Found) -> Layer:
    kind, call = type(module).__name__, found.calls[path][number]
    output = call.outputs[element]
    reason = _why_not(output.shape, found.output_when_wider(path, number, element), len(found.window))
    if not reason and output.node not in found.reaching:
        reason = "has no influence on the prediction"
    if reason:
        return Layer(name, kind, reason=reason)
    grid, spacing = output.shape[2:], found.spacing
    field = found.fields[output.node]
    sees = tuple(round(extent) for extent in field.extent) if field else ()
    return Layer(
        name,
        kind,
        output.shape[1],
        grid,
        tuple(step * n / g for step, n, g in zip(spacing, found.window, grid, strict=True)) if spacing else (),
        is_block=_is_block(path, module, call, element, found),
        order=call.order,
        receptive_field=sees,
        receptive_field_mm=tuple(step * n for step, n in zip(spacing, sees, strict=True)) if spacing and sees else (),
        feeds_normalisation=output.node in found.only_before_channel_norm,
        tail_is_trivial=output.node in found.pointwise and grid == found.window,
    )


def _why_not(shape: tuple[int, ...], wider: tuple[int, ...] | None, axes: int) -> str:
    if len(shape) != axes + 2:
        return f"returns {len(shape)} dimensions, not a map with {axes} axes"
    # Transformers keep channels last, or windows in the batch: there it is not the axes of a map that grow with the image.
    if shape[0] != 1 or (wider is not None and wider[:2] != shape[:2]):
        return "does not return a map with its channels on the first axis"
    return ""


def _is_block(path: str, module: nn.Module, call: Call, element: int | None, found: _Found) -> bool:
    """Convolutions with norms or activations that change the grid once at most, ending neither in a concatenation nor at a norm."""
    parts = [inner for inner in module.modules() if not any(inner.children())]
    convolutions = sum(isinstance(inner, CONVOLUTIONS) for inner in parts)
    if module in parts or convolutions == 0 or convolutions == len(parts):
        return False
    output = call.outputs[element]
    if output.node in found.before_norm or output.concatenated:
        return False
    ends = min(call.positions_in, math.prod(output.shape[2:]))
    inside = [calls[-1] for inner, calls in found.calls.items() if inner.startswith(f"{path}.") and calls]
    shapes = [one.outputs[None].shape for one in inside if None in one.outputs]
    return all(math.prod(shape[2:]) >= ends for shape in shapes if len(shape) > 2)


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in sizes)
