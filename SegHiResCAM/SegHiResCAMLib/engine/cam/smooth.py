"""Smooth maps: the mean, and the standard deviation, of the maps of several copies of the images with noise.

Smilkov et al. 2017 (SmoothGrad), for any method. The noise is drawn on the images, not on windows, so that windows which overlap see the
same. The explained region is that of the images without noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from SegHiResCAMLib.engine.cam.stitched import StitchedMap
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.records.explanation import PathIntegral

LOW, HIGH = 0.01, 0.99
"""Quantiles between which the range of an image lies, as few voxels of metal or air should not decide it."""

AT_MOST = 2**20
"""Voxels of a channel from which its quantiles are taken, evenly spread."""


@dataclass(frozen=True)
class Noise:
    """Normally distributed noise.

    Attributes:
        copies: How many copies of the images; one has no standard deviation.
        share: Its standard deviation, as a share of the range of each channel.
        seed: The same noise every time.
    """

    copies: int
    share: float
    seed: int = 0


def smooth_maps(
    compute: Callable[[torch.Tensor, Progress], list[list[StitchedMap]]],
    images: torch.Tensor,
    noise: Noise,
    progress: Progress,
) -> list[list[StitchedMap]]:
    """For every question, the smooth map of every layer, with its `deviation`.

    Args:
        compute: Images and progress -> the maps of these images, as `stitched_maps` has them.
        images: (B, C, *spatial).
        noise: That is added.
        progress: Called before each batch of windows.
    """
    drawn: list[list[list[StitchedMap]]] = []
    means: list[list[_Moments]] = []
    for number, copy in enumerate(noisy(images, noise)):
        rows = compute(copy, part(progress, number / noise.copies, (number + 1) / noise.copies))
        if not means:
            means = [
                [_Moments(torch.zeros_like(one.values), torch.zeros_like(one.values)) for one in row] for row in rows
            ]
        for found, row in zip(means, rows, strict=True):
            for moments, one in zip(found, row, strict=True):
                moments.add(one.values)
        drawn.append([[replace(one, values=one.values.new_zeros(0)) for one in row] for row in rows])
    return [
        [_together(moments, [copy[question][layer] for copy in drawn]) for layer, moments in enumerate(row)]
        for question, row in enumerate(means)
    ]


def noisy(images: torch.Tensor, noise: Noise) -> Iterator[torch.Tensor]:
    """The copies of images (B, C, *spatial), one after another."""
    spread = noise.share * _ranges(images)
    for number in range(noise.copies):
        generator = torch.Generator().manual_seed(noise.seed * noise.copies + number)
        copy = torch.randn(images.shape, generator=generator).to(images)
        yield copy.mul_(spread.to(images).view(1, -1, *[1] * (images.ndim - 2))).add_(images)


def _ranges(images: torch.Tensor) -> torch.Tensor:
    """From the lowest to the highest value of each channel, without the outermost percents: (C)."""
    found = []
    for channel in range(images.shape[1]):
        values = images[:, channel].flatten()
        sample = values[:: -(-len(values) // AT_MOST)].double()
        low, high = torch.quantile(sample, torch.tensor([LOW, HIGH], dtype=torch.float64, device=sample.device))
        found.append(high - low)
    return torch.stack(found).cpu()


@dataclass
class _Moments:
    """Mean and sum of squared deviations so far (Welford 1962), of one map after another."""

    mean: torch.Tensor
    squares: torch.Tensor
    count: int = 0

    def add(self, values: torch.Tensor) -> None:
        """Take in a map."""
        self.count += 1
        before = values - self.mean
        self.mean += before / self.count
        self.squares += before * (values - self.mean)

    def deviation(self) -> torch.Tensor | None:
        """The standard deviation of what the maps are a sample of; None for a single one."""
        return None if self.count < 2 else (self.squares / (self.count - 1)).clamp(min=0).sqrt()


def _together(moments: _Moments, copies: Sequence[StitchedMap]) -> StitchedMap:
    first = copies[0]
    return replace(
        first,
        values=moments.mean,
        deviation=moments.deviation(),
        score=_mean([one.score for one in copies]) or 0.0,
        mean_probability=_mean([one.mean_probability for one in copies]),
        gradient_balance=_mean([one.gradient_balance for one in copies]),
        sum=_mean([one.sum for one in copies]) or 0.0,
        score_change=_mean([one.score_change for one in copies]),
        path_integral=_worst([one.path_integral for one in copies]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _worst(integrals: Sequence[PathIntegral | None]) -> PathIntegral | None:
    known = [one for one in integrals if one is not None]
    if not known:
        return None
    errors = [one.error for one in known if one.error is not None]
    return replace(known[0], steps=max(one.steps for one in known), error=max(errors) if errors else None)
