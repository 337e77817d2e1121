"""How a model's inferer cuts images into windows and blends their predictions: one description for predicting and explaining.

A volume is a *stack* of images for the network: one 3D image for a volumetric network, every slice for a slice-wise one. A window is
one image of the stack and a box in it. The prediction is Y(v) = sum_w g_w(v) y_w(v) / sum_w g_w(v) with the blending weights g.
The boxes and weights are MONAI's own (`sliding_window_inference`), so that what is explained is what was predicted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import sliding_window_inference

from SegHiResCAMLib.engine.models.model import WindowSettings

Box = tuple[slice, ...]


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
        overlap: As `sliding_window_inference` takes it.
        blending: "gaussian" or "constant".
    """

    image: tuple[int, ...]
    size: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    boxes: tuple[Box, ...]
    overlap: float
    blending: str

    @property
    def padded(self) -> tuple[int, ...]:
        """Size of the padded image."""
        return tuple(length + before + after for length, (before, after) in zip(self.image, self.padding, strict=True))

    def pad(self, values: torch.Tensor) -> torch.Tensor:
        """Zeros around the last axes of `values`, as the inferer puts them."""
        flat = [width for pair in reversed(self.padding) for width in pair]
        return torch.nn.functional.pad(values, flat) if any(flat) else values

    def crop(self, values: torch.Tensor) -> torch.Tensor:
        """The image without its padding."""
        inner = tuple(
            slice(before, before + length) for length, (before, _) in zip(self.image, self.padding, strict=True)
        )
        return values[at(..., *inner)]

    def importance(self, dtype: torch.dtype) -> torch.Tensor:
        """The blending weights g of one window, clamped from below as MONAI's inferer clamps them."""
        weights = compute_importance_map(self.size, mode=self.blending, sigma_scale=0.125, device="cpu", dtype=dtype)
        return weights.expand(self.size)

    def weight_sum(self, dtype: torch.dtype) -> torch.Tensor:
        """Sum of the weights of all windows at each position of the padded image."""
        total = torch.zeros(self.padded, dtype=dtype)
        importance = self.importance(dtype)
        for box in self.boxes:
            total[box] += importance
        return total


def plan_windows(image: tuple[int, ...], settings: WindowSettings) -> Windows:
    """The windows in which an image of this size is predicted.

    Without a window size the whole image is one window, padded to the multiple that the network needs.
    """
    if settings.size is None:
        size = tuple(-(-length // settings.multiple) * settings.multiple for length in image)
    else:
        size = tuple(settings.size)
    padding = tuple((max(w - n, 0) // 2, max(w - n, 0) - max(w - n, 0) // 2) for n, w in zip(image, size, strict=True))
    padded = tuple(max(n, w) for n, w in zip(image, size, strict=True))
    step = tuple(w if w == n else max(int(w * (1 - settings.overlap)), 1) for n, w in zip(padded, size, strict=True))
    boxes = tuple(dense_patch_slices(padded, size, step, return_slice=True))
    # One window is its own prediction: dividing its weights by themselves would only add rounding.
    blending = settings.blending if len(boxes) > 1 else "constant"
    return Windows(image, size, padding, boxes, settings.overlap, blending)


def predict_windows(
    network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, windows: Windows, batch: int
) -> torch.Tensor:
    """Logits (B, K, *spatial) of images (B, C, *spatial): MONAI's sliding window inference over `windows`."""
    return sliding_window_inference(
        images,
        roi_size=windows.size,
        sw_batch_size=batch,
        predictor=network,
        overlap=windows.overlap,
        mode=windows.blending,
    )
