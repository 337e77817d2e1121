"""How a model's inferer cuts images into windows and blends their predictions: one description for predicting and explaining.

A volume is a *stack* of images for the network: one 3D image for a volumetric network, every slice for a slice-wise one. A window is
one image of the stack and a box in it. The prediction is Y(v) = sum_w g_w(v) y_w(v) / sum_w g_w(v) with the blending weights g.
The boxes and weights are those of the model's own inferer (`WindowScheme`), so that what is explained is what was predicted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.window_settings import Box, Network, Size, WindowSettings

__all__ = ["Box", "Size", "Windows", "at", "plan_windows", "predict_windows", "window_size"]

_MULTIPLES = (2, 4, 8, 16, 32, 64, 128, 3, 6, 12, 24, 48, 9, 18, 36, 27, 5, 10, 20, 25)
"""Products of the strides that networks have, the common ones first."""


def at(*index: Any) -> tuple[Any, ...]:
    """An index of a tensor put together from numbers, slices and (starred) boxes."""
    return index


@dataclass(frozen=True)
class Windows:
    """The windows of one image of a stack.

    Attributes:
        image: Size of the image along each axis.
        size: Size of a window.
        padding: Positions added before and after each axis where the image is smaller than a window.
        boxes: Windows on the padded image.
        settings: Of the inferer.
        blending: "gaussian" or "constant".
    """

    image: tuple[int, ...]
    size: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    boxes: tuple[Box, ...]
    settings: WindowSettings
    blending: str

    @property
    def padded(self) -> tuple[int, ...]:
        """Size of the padded image."""
        return tuple(length + before + after for length, (before, after) in zip(self.image, self.padding, strict=True))

    def pad(self, values: torch.Tensor) -> torch.Tensor:
        """Zeros around the last axes of `values`, where the inferer pads images."""
        return torch.nn.functional.pad(values, self._widths) if any(self._widths) else values

    def pad_images(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, *spatial) padded with what the inferer pads them with."""
        mode, value = self.settings.padding_mode, self.settings.cval
        return torch.nn.functional.pad(images, self._widths, mode, value) if any(self._widths) else images

    def crop(self, values: torch.Tensor) -> torch.Tensor:
        """The image without its padding."""
        inner = tuple(
            slice(before, before + length) for length, (before, _) in zip(self.image, self.padding, strict=True)
        )
        return values[at(..., *inner)]

    def importance(self, dtype: torch.dtype) -> torch.Tensor:
        """The blending weights g of one window, as the inferer has them."""
        return _importance(self.size, self.blending, self.settings, dtype)

    def weight_sum(self, dtype: torch.dtype, box: Box | None = None) -> torch.Tensor:
        """Sum of the weights of all windows at each position of a box, or of the whole padded image."""
        within = box or tuple(slice(0, length) for length in self.padded)
        total = torch.zeros([one.stop - one.start for one in within], dtype=dtype)
        importance = self.importance(dtype)
        for other in self.boxes:
            overlap = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(within, other, strict=True)]
            if all(start < stop for start, stop in overlap):
                total[_seen_from(within, overlap)] += importance[_seen_from(other, overlap)]
        return total

    def share(self, box: Box, dtype: torch.dtype) -> torch.Tensor:
        """g_w / sum g of one window: how much its prediction counts at each of its positions."""
        return self.importance(dtype) / self.weight_sum(dtype, box)

    def source(self, box: Box) -> Box:
        """The part of the image that lies in a window; along an axis that is padded, that is all of it."""
        return tuple(
            slice(0, length) if any(padding) else along
            for along, length, padding in zip(box, self.image, self.padding, strict=True)
        )

    @property
    def _widths(self) -> list[int]:
        """As `torch.nn.functional.pad` takes them: the last axis first."""
        return [width for pair in reversed(self.padding) for width in pair]


def plan_windows(image: Size, settings: WindowSettings, fits: Callable[[Size], bool] | None = None) -> Windows:
    """The windows in which an image of this size is predicted.

    Args:
        image: Its size.
        settings: Of the inferer.
        fits: As `window_size` has it.

    Raises:
        EngineError: `window-padding`, where the image is too small to be padded as the settings want.
    """
    size = window_size(image, settings, fits)
    padding = tuple((max(w - n, 0) // 2, max(w - n, 0) - max(w - n, 0) // 2) for n, w in zip(image, size, strict=True))
    _check_padding(image, padding, settings)
    padded = tuple(max(n, w) for n, w in zip(image, size, strict=True))
    boxes = settings.scheme.boxes(padded, size, settings)
    # One window is its own prediction: dividing its weights by themselves would only add rounding.
    blending = settings.blending if len(boxes) > 1 else "constant"
    return Windows(image, size, padding, boxes, settings, blending)


def window_size(image: Size, settings: WindowSettings, fits: Callable[[Size], bool] | None = None) -> Size:
    """The size of a window for an image of this size: along axes without a size of their own, that of the image where the network takes it.

    Args:
        image: Its size.
        settings: Of the inferer.
        fits: Whether the network takes a window of a size; None where that cannot be tried. Where it does not take the image's own, the
            window is no larger along any axis than the network needs, or where it takes none, of the multiple that it is said to need.
    """
    own = settings.size or (None,) * len(image)
    whole = [axis for axis, length in enumerate(own) if length is None]
    size = [image[axis] if length is None else length for axis, length in enumerate(own)]

    def rounded(multiple: int) -> list[int]:
        return [-(-n // multiple) * multiple if axis in whole else n for axis, n in enumerate(size)]

    if not whole or (fits is not None and fits(tuple(size))):
        return tuple(size)
    if fits is None:
        return tuple(rounded(settings.multiple))
    found = next((one for one in map(rounded, _MULTIPLES) if fits(tuple(one))), None)
    if found is None:
        return tuple(rounded(settings.multiple))
    for axis in whole:
        for length in sorted({size[axis], *(rounded(multiple)[axis] for multiple in _MULTIPLES)}):
            shorter = (*found[:axis], length, *found[axis + 1 :])
            if length < found[axis] and fits(shorter):
                found[axis] = length
                break
    return tuple(found)


def predict_windows(network: Network, images: torch.Tensor, windows: Windows, batch: int) -> torch.Tensor:
    """Logits (B, K, *spatial) of images (B, C, *spatial), as the model's inferer stitches them from `windows`."""
    settings = windows.settings
    predicted = settings.scheme.predict(network, images, windows.size, windows.blending, settings, batch)
    return _predict_one_by_one(network, windows.pad_images(images), windows) if predicted is None else predicted


def _predict_one_by_one(network: Network, images: torch.Tensor, windows: Windows) -> torch.Tensor:
    """Logits (B, K, *spatial) of padded images, without the padding."""
    importance = windows.importance(images.dtype).to(images.device)
    blended: torch.Tensor | None = None
    for box in windows.boxes:
        logits = network(images[at(..., *box)])
        if blended is None:
            blended = logits.new_zeros(*logits.shape[:2], *windows.padded)
        blended[at(..., *box)] += logits * importance
    assert blended is not None  # there is at least one window
    return windows.crop(blended / windows.weight_sum(images.dtype).to(images.device))


def _seen_from(box: Box, ranges: list[tuple[int, int]]) -> Box:
    """Ranges on the image as slices of what lies in a box."""
    return tuple(
        slice(start - along.start, stop - along.start) for (start, stop), along in zip(ranges, box, strict=True)
    )


@lru_cache(maxsize=2)
def _importance(size: Size, blending: str, settings: WindowSettings, dtype: torch.dtype) -> torch.Tensor:
    if blending == "constant":
        return torch.ones((), dtype=dtype).expand(size)
    return settings.scheme.gaussian(size, settings, dtype)


def _check_padding(image: tuple[int, ...], padding: tuple[tuple[int, int], ...], settings: WindowSettings) -> None:
    """A reflection is shorter than the image by its border, a wrapped copy no longer than it."""
    shortfall = {"reflect": 1, "circular": 0}.get(settings.padding_mode)
    if shortfall is not None and any(max(pair) > n - shortfall for n, pair in zip(image, padding, strict=True)):
        raise EngineError(
            "window-padding",
            f"The volume is {' x '.join(map(str, image))} on the model's grid, too small for windows of "
            f"{' x '.join(str(n + sum(pair)) for n, pair in zip(image, padding, strict=True))}, which the model surrounds by '{settings.padding_mode}'. Give a larger volume.",
        )
