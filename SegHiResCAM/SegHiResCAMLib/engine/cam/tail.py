"""A network cut at a layer: what comes before it run by itself, what follows run again from another activation, or found to be one 1x1 convolution."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from SegHiResCAMLib.engine.cam.layer_classes import Convolution, is_pointwise
from SegHiResCAMLib.engine.cam.leaf import Leaf, Target, run_forward
from SegHiResCAMLib.engine.errors import EngineError

HARMLESS = ("CloneBackward0", "AliasBackward0", "torch::autograd::AccumulateGrad", "SelectBackward0")
"""Nodes of a graph that only hand values on (the last chooses the class)."""


Call = tuple[nn.Module, Any]
"""A module, and what it returned."""


class Tail:
    """What follows a leaf in one batch of inputs, run again from other activations; what comes before is computed once, when first needed.

    Args:
        network: Inside `leaves_at`, after a forward pass, so that it is known which call of the layer is the last.
        leaf: Where it is cut.
        run: One forward pass of the batch.
        calls: What `recorded_head` finds for this batch, where that is known.
    """

    def __init__(
        self, network: nn.Module, leaf: Leaf, run: Callable[[], object], calls: Sequence[Call] | None = None
    ) -> None:
        self._network, self._leaf, self._run = network, leaf, run
        self._calls = list(calls or ())

    @contextmanager
    def starting_from(self, activation: torch.Tensor) -> Iterator[None]:
        """While open, a forward pass of the batch begins with this output of the leaf (B, K, *grid)."""
        leaf = self._leaf
        self._calls = self._calls or recorded_head(self._network, leaf, self._run)
        module, output = self._calls[-1]
        call, leaf.call = leaf.call, sum(one is module for one, _ in self._calls)  # others do not run again
        try:
            with _replayed([*self._calls[:-1], (module, leaf.with_tensor(output, activation))]):
                yield
        finally:
            leaf.call = call


def recorded_head(network: nn.Module, leaf: Leaf, run: Callable[[], object]) -> list[Call]:
    """What the tail needs of one forward pass: the outermost modules that are done when the leaf is, what they returned, and the leaf last."""
    with torch.no_grad(), _recording(network, leaf) as calls, stopping_at(leaf):
        run()
    return calls


@contextmanager
def stopping_at(leaf: Leaf) -> Iterator[None]:
    """While open, a forward pass ends when the leaf has its activation, and so does the block: nothing that follows is computed.

    A forward pass must have gone before, so that it is known which call of the layer is the last.
    """
    call = leaf.call or leaf.calls

    def stop(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        if leaf.calls == call:
            raise _ReachedError

    handle = leaf.module.register_forward_hook(stop)
    try:
        yield
    except _ReachedError:
        pass
    finally:
        handle.remove()


class _ReachedError(Exception):
    """A forward pass has come to where it shall end."""


@contextmanager
def _recording(network: nn.Module, leaf: Leaf) -> Iterator[list[Call]]:
    """While open, one forward pass is recorded up to the leaf: the outermost modules that are done by then, and what they returned.

    That is what the tail needs to run again (`_replayed`): the skip connections, and the leaf itself as the last entry.
    """
    calls: list[Call] = []
    opened: list[int] = []
    call = leaf.call or leaf.calls
    done: list[nn.Module] = []  # the leaf's, once it has returned

    def begin(_module: nn.Module, _inputs: Any) -> None:
        opened.append(len(calls))

    def end(module: nn.Module, _inputs: Any, output: Any) -> None:
        start = opened.pop()
        if done:
            return
        del calls[start:]  # what is inside a module that is done need not run again either
        calls.append((module, _copy(output)))  # later operations in place must not reach it
        if module is leaf.module and leaf.calls == call:
            done.append(module)

    handles = []
    for module in network.modules():
        handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _replayed(calls: list[Call]) -> Iterator[None]:
    """While open, a forward pass takes the recorded outputs, in their order, in place of computing them."""
    queues: dict[nn.Module, deque[Any]] = {}
    for module, output in calls:
        queues.setdefault(module, deque()).append(output)
    for module, queue in queues.items():
        module.forward = _Replay(queue, module.forward)
    try:
        yield
    finally:
        for module in queues:
            del module.forward


def head_weights(network: nn.Module, leaf: Leaf, inputs: torch.Tensor, target: Target) -> torch.Tensor:
    """The weights (K) of the class in the 1x1 convolution that is all there is between the layer and the logits.

    Args:
        network: Inside `leaves_at`.
        leaf: The only one.
        inputs: (B, C, *spatial).
        target: What is explained.

    Raises:
        EngineError: `tail-not-1x1`, where anything else lies between.
    """
    convolutions: list[tuple[int, Convolution]] = []  # and how often the layer had been called before

    def note(module: Convolution, _inputs: Any) -> None:
        convolutions.append((leaf.calls, module))

    handles = [
        module.register_forward_pre_hook(note) for module in network.modules() if isinstance(module, Convolution)
    ]
    try:
        with torch.inference_mode(False), torch.enable_grad():
            logit = Target(target.channel).of(run_forward(network, [leaf], inputs.clone()))
    finally:
        for handle in handles:
            handle.remove()
    leaf.reached()
    heads = [module for calls, module in convolutions if calls >= (leaf.call or leaf.calls)]
    names = [node.name() for node in graph_nodes(logit)]
    if (
        [name for name in names if name not in HARMLESS] != ["ConvolutionBackward0"]
        or len(heads) != 1
        or not is_pointwise(heads[0])
    ):
        raise EngineError(
            "tail-not-1x1",
            f"Seg-CAM reads the weights of a 1x1 convolution that follows the layer, but more than that lies between '{leaf.name}' and "
            "the output. Choose the layer just before the last 1x1 convolution, or another method, such as seg-hires-grad-cam.",
        )
    return target.of(heads[0].weight.detach().flatten(1)[None])[0]


class _Replay:
    """A forward that answers from the queue first; later calls of the same module compute."""

    def __init__(self, queue: deque[Any], forward: Callable[..., Any]) -> None:
        self._queue, self._forward = queue, forward
        self.replayed = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.replayed = bool(self._queue)
        return _copy(self._queue.popleft()) if self._queue else self._forward(*args, **kwargs)


def has_computed(module: nn.Module) -> bool:
    """Whether the latest call of a module was more than the replay of what it returned before; for hooks behind it."""
    forward = vars(module).get("forward")
    return not (isinstance(forward, _Replay) and forward.replayed)


def _copy(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.detach().clone()
    if isinstance(output, list | tuple):
        return type(output)(_copy(one) for one in output)
    return output


def graph_nodes(output: torch.Tensor) -> list[Any]:
    """All operations in the graph of `output`, each once; they are torch's own, which has no type for them."""
    found: dict[Any, None] = {}
    waiting: list[Any] = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found[node] = None
            waiting += [following for following, _ in node.next_functions]
    return list(found)
