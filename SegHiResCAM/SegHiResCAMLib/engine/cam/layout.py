"""Which memory layout of the input makes a network's convolutions faster here, found out on the windows of the job itself.

Volumetric convolutions of few channels run backward up to four times faster when channels lie together, wide ones slower; which
is so depends on network, processor and library, so it is timed. Nothing is computed only to be timed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
ROUNDS = 2
"""Batches each layout is tried for; the first one makes what later ones keep, so the last one counts."""


@dataclass
class LayoutTrial:
    """The layout of each batch of a job: both in turn at first, then the one that was faster.

    Attributes:
        dims: Spatial axes of the network.
        batches: How many the job has: short jobs are over before a trial pays and keep PyTorch's own layout.
    """

    dims: int
    batches: int
    _seconds: list[float] = field(default_factory=list)

    @contextmanager
    def batch(self) -> Iterator[torch.memory_format]:
        """Lends the layout for one batch, and times what is done with it while a trial is on."""
        start = time.perf_counter()
        yield self._layout()
        if len(self._seconds) < 2 * ROUNDS:
            self._seconds.append(time.perf_counter() - start)

    def _layout(self) -> torch.memory_format:
        tried = len(self._seconds)
        if self.batches < 3 * ROUNDS or tried < ROUNDS:
            return torch.contiguous_format
        if tried < 2 * ROUNDS or self._seconds[2 * ROUNDS - 1] < self._seconds[ROUNDS - 1]:
            return CHANNELS_LAST[self.dims]
        return torch.contiguous_format
