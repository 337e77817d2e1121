"""The prediction of changed images at the cost of what changed: windows that a change touches are computed, the logits of the others are kept.

With Y(v) = sum_w g_w(v) y_w(v) / sum_w g_w(v), a window whose input is the same has the same logits, whatever the network. Everything that asks
for a segmentation again (deletion, insertion, what-if, images left out) goes through `ChangedWindows.predict`, and so through one place where
a network computes: `window_logits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from SegHiResCAMLib.engine.cam.passes import Place
from SegHiResCAMLib.engine.inference.engine_choice import Forward, choose_forward, spread
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.segmentation import decide
from SegHiResCAMLib.engine.inference.windows import Box, Windows, at
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.output import main_output
from SegHiResCAMLib.engine.progress import Progress, silent
from SegHiResCAMLib.engine.window_settings import Network
from SegHiResCAMLib.records.question import Engine


def window_logits(network: Network, inputs: torch.Tensor) -> torch.Tensor:
    """Logits (B, K, *window) of windows (B, C, *window) on the device where the network is."""
    with torch.no_grad():
        return main_output(network(inputs), inputs.ndim - 2).to(inputs.dtype)


@torch.no_grad()
def forward_of(
    model: SegmentationModel,
    device: torch.device,
    images: torch.Tensor,
    windows: Windows,
    expected: int,
    engine: Engine,
) -> Forward:
    """What computes the windows of images (B, C, *spatial) of which `expected` will be asked for; it agrees with PyTorch on some."""

    def examples() -> Iterator[torch.Tensor]:
        for image, box in (divmod(number, len(windows.boxes)) for number in spread(len(images) * len(windows.boxes))):
            yield windows.pad_images(images[at(image, slice(None), *windows.source(windows.boxes[box]))][None])

    return choose_forward(model, device, expected, examples, partial(decide, model), engine)


@dataclass
class ChangedWindows:
    """Blended logits in a box of images, and of what becomes of them when the images change.

    Attributes:
        workplace: Where the network computes.
        images: (B, C, *spatial), unchanged.
        windows: How each image is cut.
        box: The part of every image where logits are asked for.
        network: What computes a window in place of the workplace's network, as OpenVINO; None for that network itself.
        computed: Windows that were computed so far.
    """

    workplace: Workplace
    images: torch.Tensor
    windows: Windows
    box: Box
    network: Network | None = None
    computed: int = 0
    _kept: dict[int, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        boxes = [box for box in self.windows.boxes if self._meets(box)]
        self.places: list[Place] = [(image, box) for image in range(len(self.images)) for box in boxes]

    @property
    def passes(self) -> float:
        """Windows that were computed so far, in passes over all windows that the box touches."""
        return self.computed / len(self.places)

    def predict(self, images: torch.Tensor | None = None, progress: Progress = silent) -> torch.Tensor:
        """Logits (B, K, *box) of changed images (B, C, *spatial), or of the unchanged ones; these are kept.

        Args:
            images: Of the same shape; None for the unchanged ones.
            progress: Called before each batch of windows; may raise `Cancelled`.
        """
        same = [images is None or self._is_same(images, place) for place in self.places]
        missing = [number for number, one in enumerate(same) if one and number not in self._kept]
        changed = [number for number, one in enumerate(same) if not one]
        self._kept |= self._compute(missing, self.images, progress)
        found = self._kept | (self._compute(changed, images, progress) if images is not None else {})
        channels = next(iter(found.values())).shape[0]
        size = [along.stop - along.start for along in self.box]
        total = self.images.new_zeros(len(self.images), channels, *size)
        for number, (image, box) in enumerate(self.places):
            total[at(image, slice(None), *self._within(box)[1])] += found[number]
        return total

    def _compute(self, numbers: Sequence[int], images: torch.Tensor, progress: Progress) -> dict[int, torch.Tensor]:
        """What some windows add to the logits in the box: (K, *part) each, on the CPU."""
        found: dict[int, torch.Tensor] = {}

        def compute(chunk: Sequence[int], device: torch.device, _layout: torch.memory_format) -> list[torch.Tensor]:
            progress(len(found) / len(numbers), f"Predicting: window {len(found) + 1} of {len(numbers)}")
            cut = [images[at(image, slice(None), *self.windows.source(box))] for image, box in map(self._place, chunk)]
            inputs = self.windows.pad_images(torch.stack(cut)).to(device)
            logits = window_logits(self.network or self.workplace.network, inputs).to(images.device)
            return [self._share_of(*pair) for pair in zip(map(self._place, chunk), logits, strict=True)]

        for chunk, parts in self.workplace.run(numbers, len(self.windows.size), compute):
            found |= dict(zip(chunk, parts, strict=True))
        self.computed += len(numbers)
        return found

    def _place(self, number: int) -> Place:
        return self.places[number]

    def _share_of(self, place: Place, logits: torch.Tensor) -> torch.Tensor:
        """What a window's logits (K, *window) add in the box."""
        _, box = place
        if len(self.windows.boxes) > 1:
            logits = logits * self.windows.share(box, logits.dtype).to(logits.device)
        return self.windows.crop(logits)[at(slice(None), *self._within(box)[0])].clone()

    def _within(self, box: Box) -> tuple[Box, Box]:
        """Where a window's image and the box meet: counted from the window's corner, and from that of the box."""
        source = self.windows.source(box)
        ends = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(source, self.box, strict=True)]
        own = tuple(slice(start - a.start, stop - a.start) for (start, stop), a in zip(ends, source, strict=True))
        there = tuple(slice(start - b.start, stop - b.start) for (start, stop), b in zip(ends, self.box, strict=True))
        return own, there

    def _meets(self, box: Box) -> bool:
        source = self.windows.source(box)
        return all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in zip(source, self.box, strict=True))

    def _is_same(self, images: torch.Tensor, place: Place) -> bool:
        image, box = place
        index = at(image, slice(None), *self.windows.source(box))
        return torch.equal(images[index], self.images[index])


def touched_box(before: torch.Tensor, after: torch.Tensor, windows: Windows) -> Box | None:
    """The smallest box that holds all windows in which images (B, C, *spatial) differ; None where they do not."""
    differs = (before != after).any(dim=1)
    sources = [windows.source(box) for box in windows.boxes]
    touched = [source for source in sources if bool(differs[at(slice(None), *source)].any())]
    if not touched:
        return None
    return tuple(
        slice(min(one.start for one in along), max(one.stop for one in along)) for along in zip(*touched, strict=True)
    )
