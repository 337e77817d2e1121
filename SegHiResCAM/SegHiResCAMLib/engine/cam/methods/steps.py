"""What methods are made of: walks over all windows of a volume that gather numbers, and at the end a map.

A method is a generator. It yields `Gather` steps and is sent their totals over the whole volume; last, it yields its `Map`. So its
formula reads from top to bottom, and the same function serves a single image, windows and slices:

- Maps are *added* where they are made of gradients: the score is a sum over windows, so are its gradients, so is the map. Windows that
  the pixel set does not touch contribute exactly zero.
- Maps are *blended* where they weigh activations: the weights come from the whole volume, and the weighted activations of the windows
  are averaged as the inferer averages predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal

import torch

from SegHiResCAMLib.engine.cam.baselines import Baseline
from SegHiResCAMLib.engine.progress import Progress
from SegHiResCAMLib.records.explanation import PathIntegral


@dataclass(frozen=True)
class Evidence:
    """What one batch of windows tells about one layer.

    Attributes:
        activation: A (B, K, *grid).
        gradient: G = dS/dA (B, K, *grid); zeros in windows that the pixel set does not touch, and in steps that ask for no gradient.
        inputs: (B, C, *window).
        score: S of each window (B); they add up to S of the volume.
        positions: Of the layer, over all windows of the volume.
        pixels: Sum of the pixel set over the whole volume.
        touched: Whether the pixel set touches any of these windows.
        score_with: Replaced activation (B, K, *grid) -> S (B): the tail runs again, by itself.
        gradient_with: Replaced activation -> G (B, K, *grid) there: the tail runs again, forward and backward.
        curvature: H A (B, K, *grid), with H the second derivatives of S by A: the tail runs again, with two backward passes.
        baseline: A0 (B, K, *grid): the layer's activations for an image without content.
        score_of: Replaced inputs (B, C, *window) -> S (B): the whole network runs again.
        to_window: Maps on the layer's grid (B, *grid) -> on the window's (B, *window).
        progress: Told by methods that take long; may raise `Cancelled`.
    """

    activation: torch.Tensor
    gradient: torch.Tensor
    inputs: torch.Tensor
    score: torch.Tensor
    positions: int
    pixels: float
    touched: bool
    score_with: Callable[[torch.Tensor], torch.Tensor]
    gradient_with: Callable[[torch.Tensor], torch.Tensor]
    curvature: Callable[[], torch.Tensor]
    baseline: Callable[[Baseline], torch.Tensor]
    score_of: Callable[[torch.Tensor], torch.Tensor]
    to_window: Callable[[torch.Tensor], torch.Tensor]
    progress: Progress


@dataclass(frozen=True)
class Gather:
    """Numbers of every window, put together over the volume.

    Attributes:
        form: Evidence -> (B, ...).
        gradient: Whether `form` needs G.
        everywhere: Whether windows that the pixel set does not touch count too.
        combine: How windows are put together; "all" keeps each: (windows, ...).
    """

    form: Callable[[Evidence], torch.Tensor]
    gradient: bool = True
    everywhere: bool = False
    combine: Literal["sum", "max", "all"] = "sum"


@dataclass(frozen=True)
class HeadWeights:
    """The class's weights (K) in the 1x1 convolution that is the whole tail."""


@dataclass(frozen=True)
class Map:
    """The raw signed map.

    What the method has counted while it was drawn is sent back, window by window: (windows, F); None where there was nothing to draw.

    Attributes:
        form: Evidence -> (B, *grid); or that and what is counted (B, F).
        stitching: "added" over the windows that the pixel set touches, or "blended" over all of them.
        finish: Done once to the whole map, after stitching.
    """

    form: Callable[[Evidence], torch.Tensor | tuple[torch.Tensor, torch.Tensor]]
    stitching: Literal["added", "blended"]
    finish: Callable[[torch.Tensor], torch.Tensor] = lambda whole: whole


Step = Gather | HeadWeights | Map
Steps = Generator[Step, Any, None]
IntegratingSteps = Generator[Step, Any, PathIntegral]
"""Of a method that integrates: at the end it returns how."""

AnySteps = Generator[Step, Any, PathIntegral | None]


def channel_sums(values: torch.Tensor) -> torch.Tensor:
    """Sum over the grid: (B, K, *grid) -> (B, K), in double precision where the device has it, since methods divide by such sums.

    Channel by channel, for adding in double precision copies what it adds.
    """
    if values.device.type == "mps":
        return values.flatten(2).sum(dim=2)
    return torch.stack([torch.stack([one.sum(dtype=torch.float64) for one in image]) for image in values])


def per_channel(weights: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Weights (K) shaped to multiply `like` (B, K, *grid), in its precision and on its device."""
    return weights.to(like).view(1, -1, *[1] * (like.ndim - 2))


def per_window(numbers: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Numbers of each window (B) shaped to go with `like` (B, ...)."""
    return numbers.view(-1, *[1] * (like.ndim - 1))


def weighted_activations(weights: torch.Tensor) -> Map:
    """sum_k w_k A^k(u) for weights (K) of the whole volume."""
    return Map(lambda x: torch.einsum("bk...,k->b...", x.activation, weights.to(x.activation)), "blended")


def wide(values: torch.Tensor) -> torch.Tensor:
    """In double precision where the device has it, for what cancels or underflows in single precision."""
    return values if values.device.type == "mps" else values.double()
