"""Which memory layout of input and weights makes a network's convolutions faster here, found out on the windows of the job itself.

Volumetric convolutions of few channels often run faster when channels lie together, wide ones slower; which is so depends on network,
processor and library, so it is timed. Nothing is computed only to be timed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass
class LayoutTrial:
    """The layout of each batch of a job: PyTorch's own for the first, channels last for the second, then the one that was faster.

    Attributes:
        network: Its convolutions' weights take the layout, too; `put_back` ends that.
        dims: Spatial axes of the network.
        batches: How many the job has: short jobs are over before a trial pays and keep PyTorch's own layout.
    """

    network: torch.nn.Module
    dims: int
    batches: int
    _seconds: list[float] = field(default_factory=list)

    @contextmanager
    def batch(self) -> Iterator[torch.memory_format]:
        """Lends the layout for one batch, and times what is done with it while a trial is on."""
        layout = self._layout()
        if len(self._seconds) <= 2 and self.batches >= 3:  # later batches keep what the trial ended with
            self._lay_out(layout)
        start = time.perf_counter()
        yield layout
        if len(self._seconds) < 2:
            self._seconds.append(time.perf_counter() - start)

    def put_back(self) -> None:
        """The weights in PyTorch's own layout again."""
        if self.batches >= 3:
            self._lay_out(torch.contiguous_format)

    def _lay_out(self, layout: torch.memory_format) -> None:
        for parameter in self.network.parameters():
            if parameter.ndim == self.dims + 2:
                parameter.data = parameter.data.contiguous(memory_format=layout)

    def _layout(self) -> torch.memory_format:
        tried = len(self._seconds)
        if self.batches < 3 or tried == 0 or (tried == 2 and self._seconds[0] <= self._seconds[1]):
            return torch.contiguous_format
        return CHANNELS_LAST[self.dims]
