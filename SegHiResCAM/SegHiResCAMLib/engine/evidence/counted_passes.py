"""How often a network ran: in windows, of which a part of a pass (the tail of a layer, again from another activation) is the share that it computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from SegHiResCAMLib.engine.cam.layer_classes import MULTIPLYING, multiplications
from SegHiResCAMLib.engine.cam.tail import has_computed


@dataclass
class _Call:
    """One call of the network: its windows, and the multiplications of its convolutions and linear layers."""

    windows: int
    multiplications: int = 0


class CountedPasses:
    """Counts the windows that a network computes. The call that multiplies most is taken for a whole pass; where nothing does, all are.

    Args:
        network: Takes windows of one size.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._calls: list[_Call] = []
        self._elsewhere = 0

    @property
    def windows(self) -> float:
        """Computed so far."""
        whole = max((one.multiplications / one.windows for one in self._calls), default=0)
        shares = (one.multiplications / whole if whole else one.windows for one in self._calls)
        return self._elsewhere + sum(shares)

    def add(self, windows: int) -> None:
        """So many were computed by something else in the network's place."""
        self._elsewhere += windows

    @contextmanager
    def counting(self) -> Iterator[None]:
        """While open, the network is watched."""
        with ExitStack() as hooks:
            hooks.callback(self._network.register_forward_pre_hook(self._begin).remove)
            for module in self._network.modules():
                if isinstance(module, MULTIPLYING):
                    hooks.callback(module.register_forward_hook(self._note).remove)
            yield

    def _begin(self, _network: nn.Module, inputs: Any) -> None:
        if inputs:
            self._calls.append(_Call(len(inputs[0])))

    def _note(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if self._calls and inputs and has_computed(module):
            self._calls[-1].multiplications += multiplications(module, inputs[0], output)
