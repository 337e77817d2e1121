"""Attention of transformers, arranged as a map: its locations are the keys, its channels the heads and queries.

An attention matrix says how much each query takes from each key. Keys are patches of the image, or, in shifted windows (Liu et al., ICCV 2021,
Swin), patches of one window of a grid that was moved; both are put back where they lie. Every method then sees the attention as it sees any
layer, A (B, heads * queries, *grid).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from SegHiResCAMLib.engine.cam.layer_classes import attention_owner, tokens_of
from SegHiResCAMLib.engine.errors import EngineError


@dataclass
class Attention:
    """Where the keys of one module's attention lie.

    Attributes:
        path: Of the module that returns the weights.
        owner: The module whose input says how many tokens there are.
        grid: Tokens along each axis in the latest forward pass.
        window: Tokens along each axis of a window; the grid itself where every token sees every other.
        shift: How far the grid is moved before it is cut into windows.
    """

    path: str
    owner: nn.Module
    grid: tuple[int, ...] = ()
    window: tuple[int, ...] = ()
    shift: tuple[int, ...] = ()
    _counts: tuple[int, ...] = field(default=(), repr=False)

    @property
    def kind(self) -> str:
        """For people."""
        return f"attention of {type(self.owner).__name__}"

    def notice(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Take in the shape of the owner's input, before it computes."""
        self.grid, self.window, self.shift = tokens_of(self.owner, tuple(inputs[0].shape))
        self._counts = tuple(math.ceil(n / w) for n, w in zip(self.grid, self.window, strict=True))

    def to_map(self, weights: torch.Tensor) -> torch.Tensor:
        """Attention (B * windows, heads, queries, keys) -> (B, heads * queries, *grid).

        Raises:
            EngineError: `layer-not-a-tensor`, the keys are not the tokens of the image.
        """
        windows = math.prod(self._counts)
        if weights.ndim != 4 or weights.shape[3] != math.prod(self.window) or weights.shape[0] % max(windows, 1):
            raise EngineError(
                "layer-not-a-tensor",
                f"The attention at '{self.path}' is {tuple(weights.shape)}, and these are not the tokens of an image. Choose another layer.",
            )
        whole = self._put_together(weights)
        return whole[(slice(None), slice(None), *(slice(0, n) for n in self.grid))]

    def to_attention(self, maps: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The way back: `weights` with what `maps` say of the keys on the grid. Keys that only pad the last windows keep their own."""
        whole = self._put_together(weights).clone()
        whole[(slice(None), slice(None), *(slice(0, n) for n in self.grid))] = maps
        axes = len(self.grid)
        moved = torch.roll(whole, [-one for one in self.shift], list(range(2, axes + 2)))
        pairs = [size for pair in zip(self._counts, self.window, strict=True) for size in pair]
        cut = moved.reshape(len(moved), weights.shape[1], weights.shape[2], *pairs)
        order = (0, *range(3, 3 + 2 * axes, 2), 1, 2, *range(4, 4 + 2 * axes, 2))
        return cut.permute(order).reshape(weights.shape)

    def _put_together(self, weights: torch.Tensor) -> torch.Tensor:
        """(B, heads * queries, *padded): windows beside each other, and moved back."""
        axes, (_, heads, queries, _) = len(self.grid), weights.shape
        cut = weights.reshape(-1, *self._counts, heads, queries, *self.window)
        pairs = [place for axis in range(axes) for place in (1 + axis, 3 + axes + axis)]
        together = cut.permute(0, 1 + axes, 2 + axes, *pairs).reshape(
            len(cut), heads * queries, *(n * w for n, w in zip(self._counts, self.window, strict=True))
        )
        return torch.roll(together, list(self.shift), list(range(2, axes + 2)))


def attention_at(network: nn.Module, path: str) -> Attention | None:
    """The attention that a module of `network` returns; None for any other module."""
    owner = attention_owner(network, path)
    return None if owner is None else Attention(path, owner)


def refuse_without_attention(method: str, layers: Mapping[str, Attention | None]) -> None:
    """Refuse layers that are no attention, for a method that explains nothing else.

    Raises:
        EngineError: `layer-not-attention`.
    """
    others = [name for name, attention in layers.items() if attention is None]
    if others:
        raise EngineError(
            "layer-not-attention",
            f"{method} explains the attention of transformers, and layer '{others[0]}' returns none. Choose a layer that 'seghirescam layers' "
            "lists as attention, or another method.",
        )


@contextmanager
def noticing(attentions: Sequence[Attention]) -> Iterator[None]:
    """While open, every forward pass says how many tokens there are."""
    handles = [one.owner.register_forward_pre_hook(one.notice) for one in attentions]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
