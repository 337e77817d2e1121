"""The maps: each method is one formula over the activations A and the gradients G = dS/dA of one layer.

A and G are (B, K, *grid): K channels on the layer's grid. Every map is raw and signed, (B, *grid); ReLU and normalisation come last,
when everything is stitched and back on the volume's own grid.

Two kinds of methods differ in how windows add up.

- A *local* method needs nothing but A and G at a position. The score is a sum over windows, so are its gradients, so is the map.
- A *weighted* method gives every channel one weight, from sums over all positions of the whole volume.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from SegHiResCAMLib.engine.errors import EngineError


@dataclass(frozen=True)
class LocalMethod:
    """A method whose map at a position depends on A and G there alone.

    Attributes:
        title: As the field writes it.
        source: The paper.
        form: (A, G) -> raw signed map (B, *grid).
    """

    title: str
    source: str
    form: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class WeightedMethod:
    """A method that weighs whole channels: map = sum_k w_k A^k.

    Attributes:
        title: As the field writes it.
        source: The paper.
        sums: (A, G) -> (B, R, K): R sums over the grid, which add up over windows.
        weights: (sums (R, K) of the whole volume, number of positions n) -> w (K).
    """

    title: str
    source: str
    sums: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    weights: Callable[[torch.Tensor, int], torch.Tensor]


Method = LocalMethod | WeightedMethod


def hires_form(activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """sum_k G^k(u) A^k(u): Draelos & Carin 2020 (HiResCAM); for segmentation Rheude et al., MELBA 2024:023."""
    return (gradient * activation).sum(dim=1)


def gradient_sums(_activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """sum_u G^k(u)."""
    return gradient.flatten(2).sum(dim=2)[:, None]


def mean_gradient(sums: torch.Tensor, positions: int) -> torch.Tensor:
    """w_k = mean_u G^k(u): Vinogradova et al. 2020 (Seg-Grad-CAM)."""
    return sums[0] / positions


def weighted_sum(activation: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """sum_k w_k A^k(u) for weights (K)."""
    return torch.einsum("bk...,k->b...", activation, weights)


METHODS: dict[str, Method] = {
    "seg-hires-grad-cam": LocalMethod("Seg-HiRes-Grad CAM", "Rheude et al., MELBA 2024:023", hires_form),
    "seg-grad-cam": WeightedMethod("Seg-Grad CAM", "Vinogradova et al., AAAI 2020", gradient_sums, mean_gradient),
}


def find_method(name: str) -> Method:
    """The method called `name`.

    Raises:
        EngineError: `method-unknown`, naming those there are.
    """
    if name not in METHODS:
        raise EngineError("method-unknown", f"There is no method '{name}'. Known methods: {', '.join(METHODS)}.")
    return METHODS[name]


def single_map(method: Method, activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The raw signed map (B, *grid) where A and G (B, K, *grid) are all there is: one window, each item by itself."""
    if isinstance(method, LocalMethod):
        return method.form(activation, gradient)
    positions = activation[0, 0].numel()
    sums = method.sums(activation, gradient)
    return torch.cat(
        [weighted_sum(one[None], method.weights(own, positions)) for one, own in zip(activation, sums, strict=True)]
    )
