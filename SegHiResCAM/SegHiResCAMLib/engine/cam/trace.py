"""One forward pass on PyTorch's meta device, where tensors have shapes but no values, and what its modules returned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from SegHiResCAMLib.engine.cam.graph import Node, consumers, in_order, operation
from SegHiResCAMLib.engine.cam.layer_classes import NORMALISATIONS, normalises_the_image, takes_channels_apart
from SegHiResCAMLib.engine.cam.values import swapped_values
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.output import main_output


@dataclass(frozen=True)
class Output:
    """One tensor that a module returned.

    Attributes:
        shape: With batch and channels.
        node: The node of the graph that hands it on; None where it does not depend on the input.
        concatenated: Whether it is a mere concatenation.
    """

    shape: tuple[int, ...]
    node: Node | None
    concatenated: bool


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        outputs: The tensor it returned under None, or its tensors under their numbers.
        kind: Class of what it returned.
        handed_through: Whether it returned what it was given, unchanged.
        positions_in: Positions of its input's grid.
        order: When it returned, counted over the forward pass.
    """

    outputs: dict[int | None, Output]
    kind: str
    handed_through: bool
    positions_in: int
    order: int


@dataclass(frozen=True)
class Trace:
    """What happened in a forward pass.

    Attributes:
        calls: Of each module, by dotted path.
        order: Nodes of the graph, each after those it depends on.
        users: Which nodes use the result of each.
        norms: Nodes that stand for normalisations whose statistics come from the image itself.
        channel_norms: Those among them that normalise every channel by itself.
    """

    calls: dict[str, list[Call]]
    order: list[Node]
    users: dict[Node, list[Node]]
    norms: set[Node]
    channel_norms: set[Node]


def trace(network: nn.Module, channels: int, window: tuple[int, ...]) -> Trace:
    """Run the network without values. It takes milliseconds and no memory, however large the window.

    Every module's output is handed on as a copy, so that what follows in place does not reach it and every output has a node of its own.
    A normalisation hands on a copy of its input, which has the same shape: its many operations become one node.

    Raises:
        EngineError: `window-unfit`, when the network cannot take a window of this size.
    """
    recorder = _Recorder(network)
    precision = next((one.dtype for one in network.parameters() if one.is_floating_point()), torch.float32)
    image = torch.zeros(1, channels, *window, dtype=precision, device="meta", requires_grad=True)
    try:
        with recorder.hooked(), _without_values(network), torch.inference_mode(False), torch.enable_grad():
            order = in_order(main_output(network(image), len(window)))
    except (RuntimeError, ValueError) as error:
        refuse_out_of_memory(error)
        raise EngineError(
            "window-unfit",
            f"The network cannot take an input of {' x '.join(map(str, window))} positions: {str(error).splitlines()[0]}",
        ) from error
    return Trace(recorder.calls, order, consumers(order), recorder.norms, recorder.channel_norms)


class _Recorder:
    """Hears of every call of a module, and hands its output on as a copy."""

    def __init__(self, network: nn.Module) -> None:
        self.calls: dict[str, list[Call]] = {name: [] for name, _ in network.named_modules()}
        self.norms: set[Node] = set()
        self.channel_norms: set[Node] = set()
        self._network = network
        self._paths = {module: name for name, module in network.named_modules()}
        self._opened: list[tuple[int, int]] = []  # of calls that have not returned: version and positions of the input
        self._returned = 0

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """While open, calls are recorded."""
        handles: list[RemovableHandle] = []
        for module in self._network.modules():
            handles += [module.register_forward_pre_hook(self._begin), module.register_forward_hook(self._end)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _begin(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        first = inputs[0] if inputs and isinstance(inputs[0], torch.Tensor) else None
        self._opened.append((-1, 0) if first is None else (first._version, first.shape[2:].numel()))

    def _end(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        self._returned += 1
        version, positions = self._opened.pop()
        # An activation in place returns its input too, but has changed it.
        unchanged = bool(inputs) and output is inputs[0] and inputs[0]._version == version
        copies: dict[int | None, torch.Tensor] = {
            number: self._copied(module, inputs, tensor) for number, tensor in _tensors(output).items()
        }
        outputs = {
            number: Output(tuple(tensor.shape), copies[number].grad_fn, _is_concatenation(tensor))
            for number, tensor in _tensors(output).items()
        }
        call = Call(outputs, type(output).__name__, unchanged, positions, self._returned)
        self.calls[self._paths[module]].append(call)
        if isinstance(output, torch.Tensor):
            return copies[None]
        if type(output) in (list, tuple):
            return type(output)(copies.get(number, one) for number, one in enumerate(output))
        return output

    def _copied(self, module: nn.Module, inputs: tuple[Any, ...], tensor: torch.Tensor) -> torch.Tensor:
        copy = inputs[0].clone() if isinstance(module, NORMALISATIONS) else tensor.clone()
        if normalises_the_image(module):
            self.norms.add(copy.grad_fn)
            if takes_channels_apart(module):
                self.channel_norms.add(copy.grad_fn)
        return copy


def _tensors(output: Any) -> dict[int | None, torch.Tensor]:
    """The tensor that a module returned under None, or its tensors under their numbers."""
    if isinstance(output, torch.Tensor):
        return {None: output}
    several = enumerate(output) if type(output) in (list, tuple) else ()
    return {number: one for number, one in several if isinstance(one, torch.Tensor)}


def _is_concatenation(tensor: torch.Tensor) -> bool:
    return tensor.grad_fn is not None and operation(tensor.grad_fn) == "Cat"


def _without_values(network: nn.Module) -> Any:
    return swapped_values(network, lambda _module, _name, tensor: tensor.to("meta"))
