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
    """The layout of each batch of a job: PyTorch's own for one, channels last for the next of the same size, then the one that was faster.

    Attributes:
        network: Its convolutions' weights take the layout, too; `put_back` ends that.
        dims: Spatial axes of the network.
        windows: How many are left to do: a job that would be over after the trial keeps PyTorch's own layout.
    """

    network: torch.nn.Module
    dims: int
    windows: int
    _seconds: list[float] = field(default_factory=list)
    _size: int = 0
    _chosen: torch.memory_format | None = None
    _laid_out: torch.memory_format = torch.contiguous_format

    @contextmanager
    def batch(self, size: int) -> Iterator[torch.memory_format]:
        """Lends the layout for a batch of so many windows, and times what is done with it while the trial is on."""
        if size != self._size:
            self._seconds, self._size = [], size  # only batches of one size can be compared
        layout = self._layout()
        self._lay_out(layout)
        start = time.perf_counter()
        yield layout
        self.windows -= size
        if self._chosen is None:
            self._seconds.append(time.perf_counter() - start)
            if layout != torch.contiguous_format:
                own, other = self._seconds[-2:]
                self._chosen = torch.contiguous_format if own <= other else layout

    def put_back(self) -> None:
        """The weights in PyTorch's own layout again."""
        self._lay_out(torch.contiguous_format)

    def _layout(self) -> torch.memory_format:
        worthwhile = self._seconds and self.windows > self._size
        return self._chosen or (CHANNELS_LAST[self.dims] if worthwhile else torch.contiguous_format)

    def _lay_out(self, layout: torch.memory_format) -> None:
        if layout == self._laid_out:
            return
        self._laid_out = layout
        for parameter in self.network.parameters():
            if parameter.ndim == self.dims + 2:
                parameter.data = parameter.data.contiguous(memory_format=layout)
