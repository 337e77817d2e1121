"""nnU-Net's sliding window: where its windows lie, and how their predictions are blended.

MONAI's inferer steps by a fixed length and shifts the last window back; nnU-Net spreads as many windows evenly. The middle of its Gaussian is
half a position beside MONAI's, and nothing is clamped.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from SegHiResCAMLib.engine.window_settings import Box, Network, Size, WindowSettings


def even_boxes(image: tuple[int, ...], size: tuple[int, ...], overlap: float) -> tuple[Box, ...]:
    """The windows of an image, which is no smaller than one along any axis.

    Args:
        image: Its size.
        size: Of a window.
        overlap: The least share of a window that its neighbour covers too.
    """
    starts = [_starts(length, window, overlap) for length, window in zip(image, size, strict=True)]
    return tuple(
        tuple(slice(start, start + length) for start, length in zip(corner, size, strict=True))
        for corner in itertools.product(*starts)
    )


def gaussian_importance(size: tuple[int, ...], sigma_scale: float, dtype: torch.dtype) -> torch.Tensor:
    """The blending weights of a window: a Gaussian around its position `size // 2`, 1 there.

    nnU-Net computes them in half precision, to which these are equal.
    """
    lines = [ndimage.gaussian_filter1d(_point(length), length * sigma_scale, mode="constant") for length in size]
    weights = functools.reduce(np.multiply.outer, lines)
    weights /= weights.max()
    weights[weights == 0] = weights[weights > 0].min()
    return torch.from_numpy(weights).to(dtype)


class EvenSteps:
    """nnU-Net's `WindowScheme`."""

    def boxes(self, image: Size, size: Size, settings: WindowSettings) -> tuple[Box, ...]:
        """Evenly spread."""
        assert isinstance(settings.overlap, float)
        return even_boxes(image, size, settings.overlap)

    def gaussian(self, size: Size, settings: WindowSettings, dtype: torch.dtype) -> torch.Tensor:
        """See `gaussian_importance`."""
        assert isinstance(settings.sigma_scale, float)
        return gaussian_importance(size, settings.sigma_scale, dtype)

    def predict(
        self,
        _network: Network,
        _images: torch.Tensor,
        _size: Size,
        _blending: str,
        _settings: WindowSettings,
        _batch: int,
    ) -> None:
        """None: nnU-Net itself is not there; its windows are predicted one by one."""


EVEN_STEPS = EvenSteps()


def _point(length: int) -> npt.NDArray[np.float64]:
    line = np.zeros(length)
    line[length // 2] = 1
    return line


def _starts(length: int, window: int, overlap: float) -> list[int]:
    count = math.ceil((length - window) / (window * (1 - overlap))) + 1
    step = (length - window) / (count - 1) if count > 1 else 0
    return [round(step * number) for number in range(count)]
