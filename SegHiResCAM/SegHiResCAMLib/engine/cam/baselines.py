"""A layer's activations for an image without content: the baseline from which evidence is measured."""

from __future__ import annotations

from typing import Literal

import torch

from SegHiResCAMLib.engine.inference.windows import Box

Baseline = Literal["blurred", "zero", "air"]
"""Activations A0 of the blurred image, of an image of its lowest value throughout, or zeros in place of activations."""

BLUR = 1 / 16
"""Standard deviation of the blur, as a share of the window's shortest side: organs lose their borders, and their surroundings stay."""

REACH = 4
"""Standard deviations at which the blur's kernel ends."""


def blurred(image: torch.Tensor, box: Box, sigma: float) -> torch.Tensor:
    """What lies in `box` of the image, blurred as a whole: (C, *spatial) -> (C, *box). Beyond the edges, the outermost values go on.

    Windows that overlap see the same, since each is cut from one blurred image, of which nothing else is ever computed.
    """
    reach = max(round(REACH * sigma), 1)
    ends = [
        (max(along.start - reach, 0), min(along.stop + reach, n)) for along, n in zip(box, image.shape[1:], strict=True)
    ]
    values = image[(slice(None), *[slice(*one) for one in ends])]
    for axis, (along, (first, last)) in enumerate(zip(box, ends, strict=True), start=1):
        places = torch.arange(along.start, along.stop)
        weights = _kernel(places, reach, sigma, image.shape[axis])[:, first:last].to(values)
        values = torch.tensordot(values, weights, dims=([axis], [1])).movedim(-1, axis)
    return values


def lowest(images: torch.Tensor) -> torch.Tensor:
    """The lowest value of each channel of a stack: (B, C, *spatial) -> (C)."""
    return torch.stack([image.flatten(1).amin(dim=1) for image in images]).amin(dim=0)


def _kernel(places: torch.Tensor, reach: int, sigma: float, length: int) -> torch.Tensor:
    """(places, length): how much each position along one axis counts at some places of the blurred image; rows sum to 1."""
    offsets = torch.arange(-reach, reach + 1)
    gaussian = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    positions = (places[:, None] + offsets).clamp(0, length - 1)
    weights = torch.zeros(len(places), length, dtype=torch.float64)
    return weights.scatter_add_(1, positions, (gaussian / gaussian.sum()).expand(len(places), -1).contiguous())
