"""How a model's inferer cuts images into windows and blends their predictions, as its reader describes it.

A scheme says where windows lie and how much each position of one counts. A reader of models whose inferer is another than MONAI's hands over
a scheme of its own; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import sliding_window_inference

Box = tuple[slice, ...]
Size = tuple[int, ...]
Network = Callable[[torch.Tensor], torch.Tensor]


class WindowScheme(Protocol):
    """Whose windows these are."""

    def boxes(self, image: Size, size: Size, settings: WindowSettings) -> tuple[Box, ...]:
        """The windows of an image, which is no smaller than one along any axis.

        Args:
            image: Its size, with padding.
            size: Of a window.
            settings: Of the inferer.
        """

    def gaussian(self, size: Size, settings: WindowSettings, dtype: torch.dtype) -> torch.Tensor:
        """The weights of one window's positions where the middle counts more: of the size of the window, on the CPU."""

    def predict(
        self, network: Network, images: torch.Tensor, size: Size, blending: str, settings: WindowSettings, batch: int
    ) -> torch.Tensor | None:
        """Logits (B, K, *spatial) of images (B, C, *spatial) by the inferer itself; None where windows are to be predicted one by one.

        Args:
            network: Logits of windows (B, C, *size).
            images: Without padding.
            size: Of a window.
            blending: "gaussian" or "constant".
            settings: Of the inferer.
            batch: Windows at once.
        """


class FixedSteps:
    """MONAI's: windows follow one another by a fixed step, the last one is shifted back, and small weights are clamped."""

    def boxes(self, image: Size, size: Size, settings: WindowSettings) -> tuple[Box, ...]:
        """See `WindowScheme`."""
        overlap = settings.overlap if isinstance(settings.overlap, tuple) else (settings.overlap,) * len(size)
        step = tuple(w if w == n else max(int(w * (1 - o)), 1) for n, w, o in zip(image, size, overlap, strict=True))
        return tuple(dense_patch_slices(image, size, step, return_slice=True))

    def gaussian(self, size: Size, settings: WindowSettings, dtype: torch.dtype) -> torch.Tensor:
        """See `WindowScheme`."""
        weights: torch.Tensor = compute_importance_map(
            size, mode="gaussian", sigma_scale=settings.sigma_scale, device="cpu", dtype=dtype
        ).expand(size)
        return weights

    def predict(
        self, network: Network, images: torch.Tensor, size: Size, blending: str, settings: WindowSettings, batch: int
    ) -> torch.Tensor:
        """See `WindowScheme`."""
        logits: torch.Tensor = sliding_window_inference(
            images,
            roi_size=size,
            sw_batch_size=batch,
            predictor=network,
            overlap=settings.overlap,
            mode=blending,
            sigma_scale=settings.sigma_scale,
            padding_mode=settings.padding_mode,
            cval=settings.cval,
        )
        return logits


FIXED_STEPS = FixedSteps()


@dataclass(frozen=True)
class WindowSettings:
    """How the model's inferer cuts an image into windows.

    Attributes:
        size: Window size in locations along each axis of the network's input; None along an axis, or altogether, for all of the image.
        overlap: Share of a window that its neighbour covers too, 0 to below 1; one for each axis where they differ.
        blending: How overlapping predictions are averaged: "gaussian" (the middle counts more) or "constant".
        multiple: Of what the description says that every axis of the network's input must be; only followed where the network itself cannot
            be tried (see `window_size`).
        sigma_scale: Standard deviation of the Gaussian, as a share of the window; one for each axis where they differ.
        padding_mode: What surrounds images that are smaller than a window, as `torch.nn.functional.pad` calls it.
        cval: The value around them, where that is constant.
        scheme: Whose windows these are.
    """

    size: tuple[int | None, ...] | None = None
    overlap: float | tuple[float, ...] = 0.25
    blending: Literal["gaussian", "constant"] = "gaussian"
    multiple: int = 1
    sigma_scale: float | tuple[float, ...] = 0.125
    padding_mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"
    cval: float = 0.0
    scheme: WindowScheme = FIXED_STEPS
