"""How many windows a CPU computes at once, and in which memory layout: timed on the windows of the job itself.

A few small windows together keep all cores busy; large ones do so alone, and together they only leave the caches and take memory. Volumetric
convolutions of few channels often run faster when channels lie together, wide ones slower. Which is so depends on network, processor and library.
Nothing is computed only to be timed.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}

WORTHWHILE = 0.9
"""Another way is taken where a window takes at most this share of the time: times vary, and a larger batch costs memory, another engine a check."""


@dataclass(frozen=True)
class Way:
    """How a batch is computed.

    Attributes:
        batch: Windows at once.
        layout: Of inputs and of the weights of convolutions.
    """

    batch: int = 1
    layout: torch.memory_format = torch.contiguous_format


class Trial:
    """The ways of a job's batches, the first ones to be compared, then the fastest.

    Args:
        dims: Spatial axes of the network.
        windows: Of the whole job. One that would be over after a comparison is not used for it.
        way: Of the first batch.
        layouts: Whether the other memory layout is tried.

    Attributes:
        way: Of the next batch.
        at_most: Windows at once; may be raised once it is known what one window takes.
    """

    def __init__(self, dims: int, windows: int, way: Way, *, layouts: bool) -> None:
        self.way, self.at_most = way, way.batch
        self._dims, self._left, self._layouts = dims, windows, layouts
        self._candidates = self._compare()
        next(self._candidates)

    def done(self, windows: int, seconds: float) -> None:
        """A batch has been computed in `way`."""
        self._left -= windows
        with suppress(StopIteration):
            self.way = self._candidates.send(seconds / windows)

    def settle(self, way: Way) -> None:
        """Compare no more."""
        self._candidates.close()
        self.way = way

    def _compare(self) -> Generator[Way, float, None]:
        """Yields the way of the next batch and is sent its seconds per window; the last way yielded remains."""
        best = self.way
        yield best  # the first pass makes what later ones keep, so it is no measure
        pace = yield best
        while 2 * best.batch <= self.at_most and self._lasts(2 * best.batch):
            wider = replace(best, batch=2 * best.batch)
            other = yield wider
            if other > WORTHWHILE * pace:
                break
            best, pace = wider, other
        if self._layouts and self._lasts(best.batch):
            other_layout = replace(best, layout=CHANNELS_LAST[self._dims])
            if (yield other_layout) < pace:
                best = other_layout
        yield best

    def _lasts(self, batch: int) -> bool:
        """Whether anything would be left to do after a batch."""
        return self._left > batch


def lay_out(network: torch.nn.Module, layout: torch.memory_format, dims: int) -> None:
    """The weights of convolutions in a memory layout."""
    for parameter in network.parameters():
        if parameter.ndim == dims + 2:
            parameter.data = parameter.data.contiguous(memory_format=layout)
