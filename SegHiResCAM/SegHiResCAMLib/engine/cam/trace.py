"""One forward pass on PyTorch's meta device, where tensors have shapes but no values, and what its modules returned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from SegHiResCAMLib.engine.cam.graph import Node, consumers, in_order, operation
from SegHiResCAMLib.engine.cam.values import swapped_values
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.output import main_output

INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NORMS = (*INSTANCE_NORMS, *BATCH_NORMS, nn.GroupNorm)


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


@dataclass
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
    order: list[Node] = field(default_factory=list)
    users: dict[Node, list[Node]] = field(default_factory=dict)
    norms: set[Node] = field(default_factory=set)
    channel_norms: set[Node] = field(default_factory=set)


def trace(network: nn.Module, channels: int, window: tuple[int, ...]) -> Trace:
    """Run the network without values. It takes milliseconds and no memory, however large the window.

    Every module's output is handed on as a copy, so that what follows in place does not reach it and every output has a node of its own.
    A normalisation hands on a copy of its input, which has the same shape: its many operations become one node.

    Raises:
        EngineError: `window-unfit`, when the network cannot take a window of this size.
    """
    found = Trace({name: [] for name, _ in network.named_modules()})
    paths: dict[nn.Module, list[str]] = {}
    for path, module in network.named_modules(remove_duplicate=False):
        paths.setdefault(module, []).append(path)
    opened: list[tuple[int, int]] = []  # of every call that has not returned: version and positions of its first input
    returned = 0

    def begin(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        first = inputs[0] if inputs and isinstance(inputs[0], torch.Tensor) else None
        opened.append((-1, 0) if first is None else (first._version, first.shape[2:].numel()))

    def end(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        nonlocal returned
        returned += 1
        version, positions = opened.pop()
        # An activation in place returns its input too, but has changed it.
        unchanged = bool(inputs) and output is inputs[0] and inputs[0]._version == version
        outputs: dict[int | None, Output] = {}

        def hand_on(tensor: torch.Tensor, element: int | None) -> torch.Tensor:
            copy = inputs[0].clone() if isinstance(module, NORMS) else tensor.clone()
            if _is_normalisation(module):
                found.norms.add(copy.grad_fn)
                if _takes_channels_apart(module):
                    found.channel_norms.add(copy.grad_fn)
            joined = tensor.grad_fn is not None and operation(tensor.grad_fn) == "Cat"
            outputs[element] = Output(tuple(tensor.shape), copy.grad_fn, joined)
            return copy

        result = output
        if isinstance(output, torch.Tensor):
            result = hand_on(output, None)
        elif type(output) in (list, tuple):
            result = type(output)(
                hand_on(one, number) if isinstance(one, torch.Tensor) else one for number, one in enumerate(output)
            )
        found.calls[paths[module][0]].append(Call(outputs, type(output).__name__, unchanged, positions, returned))
        return result

    handles = []
    for module in network.modules():
        handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    precision = next((one.dtype for one in network.parameters() if one.is_floating_point()), torch.float32)
    image = torch.zeros(1, channels, *window, dtype=precision, device="meta", requires_grad=True)
    try:
        with _without_values(network), torch.inference_mode(False), torch.enable_grad():
            found.order = in_order(main_output(network(image), len(window)))
            found.users = consumers(found.order)
            return found
    except (RuntimeError, ValueError) as error:
        refuse_out_of_memory(error)
        raise EngineError(
            "window-unfit",
            f"The network cannot take an input of {' x '.join(map(str, window))} positions: {str(error).splitlines()[0]}",
        ) from error
    finally:
        for handle in handles:
            handle.remove()


def _without_values(network: nn.Module) -> Any:
    return swapped_values(network, lambda _module, _name, tensor: tensor.to("meta"))


def _is_normalisation(module: nn.Module) -> bool:
    """Whether its statistics come from the image, also in eval mode."""
    if isinstance(module, (*INSTANCE_NORMS, *BATCH_NORMS)):
        return module.training or not module.track_running_stats
    return isinstance(module, nn.GroupNorm)


def _takes_channels_apart(module: nn.Module) -> bool:
    return not isinstance(module, nn.GroupNorm) or module.num_groups == module.num_channels
