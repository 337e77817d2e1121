"""The mean probability of a class over a pixel set, of the blended prediction, gathered while windows are explained.

A softmax of each window is not the softmax of what they add up to, so the logits of all classes are added first: at the positions of the
pixel set alone, and only until the last window that covers them has come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import torch

from SegHiResCAMLib.engine.inference.windows import Box, Windows, at
from SegHiResCAMLib.records.models import Activation

AT_ONCE = 2**16
"""Positions that are brought into double precision at once."""


@dataclass
class _Open:
    """Positions of one image between two planes whose windows have not all come.

    Attributes:
        logits: (K, N), those of the windows so far, weighted.
        weights: (N), the pixel set's values.
        numbers: Of each position in the slab, its place among the N; -1 outside the pixel set.
    """

    logits: torch.Tensor
    weights: torch.Tensor
    numbers: torch.Tensor


@dataclass
class MeanProbability:
    """sum M p / sum M, where M is a pixel set and p the probability of a class in the blended prediction.

    Attributes:
        pixel_set: (B, *spatial), boolean or float, filled in before windows are taken in.
        channel: Of the class.
        activation: What makes probabilities of logits.
        windows: Of each image.
    """

    pixel_set: torch.Tensor
    channel: int
    activation: Activation
    windows: Windows
    _open: dict[tuple[int, int], _Open] = field(default_factory=dict)
    _probability: float = 0.0
    _weight: float = 0.0

    def cut(self, image: int, box: Box, logits: torch.Tensor) -> torch.Tensor:
        """The logits (K, *window) of a window at the pixel set's positions, (K, N) on the CPU; for a sigmoid, those of the class alone."""
        inside = self.pixel_set[at(image, *self.windows.source(box))] != 0
        wanted = logits if self.activation == "softmax" else logits[self.channel : self.channel + 1]
        return self.windows.crop(wanted)[:, inside.to(logits.device)].cpu()

    def add(self, image: int, box: Box, cut: torch.Tensor, share: torch.Tensor) -> None:
        """Take in what `cut` gave of the next window, and how much that counts at each of its positions: (*window), or one number for all."""
        if not cut.numel():
            return
        source = self.windows.source(box)
        rows = source[0]
        self._close(image, rows.start)
        inside = self.pixel_set[at(image, *source)] != 0
        if share.ndim:
            cut = cut * self.windows.crop(share)[inside].to(cut)
        done = 0
        for first, last in self._slabs:
            within = slice(max(rows.start, first), min(rows.stop, last))
            if within.start >= within.stop:
                continue
            slab = self._slab(image, first, last, cut)
            numbers = slab.numbers[at(slice(within.start - first, within.stop - first), *source[1:])]
            numbers = numbers[numbers >= 0]
            slab.logits[:, numbers] += cut[:, done : done + len(numbers)]
            done += len(numbers)

    def value(self) -> float | None:
        """The mean once every window has been taken in; None for an empty pixel set, or logits that are not finite."""
        self._close(len(self.pixel_set), 0)
        mean = self._probability / self._weight if self._weight else float("nan")
        return mean if math.isfinite(mean) else None

    @cached_property
    def _slabs(self) -> Sequence[tuple[int, int]]:
        """Planes (first, last) of an image; a window that begins where one ends, or later, adds nothing to it."""
        starts = [box[0].start for box in self.windows.boxes]
        if starts != sorted(starts) or any(self.windows.padding[0]):
            return [(0, self.windows.image[0])]
        return list(pairwise([*sorted(set(starts)), self.windows.image[0]]))

    def _slab(self, image: int, first: int, last: int, like: torch.Tensor) -> _Open:
        if (image, first) not in self._open:
            values = self.pixel_set[image, first:last]
            inside = values != 0
            numbers = torch.full(values.shape, -1, dtype=torch.int32)
            numbers[inside] = torch.arange(int(inside.count_nonzero()), dtype=torch.int32)
            weights = values[inside].double()
            self._open[image, first] = _Open(like.new_zeros(len(like), len(weights)), weights, numbers)
        return self._open[image, first]

    def _close(self, image: int, plane: int) -> None:
        """Turn what no later window adds to into probabilities: earlier images, and slabs of this one that end at `plane` or before."""
        ends = dict(self._slabs)
        for key in [key for key in self._open if key[0] < image or (key[0] == image and ends[key[1]] <= plane)]:
            slab = self._open.pop(key)
            self._weight += float(slab.weights.sum())
            for some, weights in zip(
                torch.split(slab.logits, AT_ONCE, 1), torch.split(slab.weights, AT_ONCE), strict=True
            ):
                logits = some.double()
                found = logits.softmax(0)[self.channel] if self.activation == "softmax" else logits.sigmoid()[0]
                self._probability += float((found * weights).sum())
