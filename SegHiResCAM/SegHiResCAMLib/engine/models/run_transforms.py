"""Transforms in a row whose errors arrive as they are, that can be stopped between one and the next, and that take little memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, ScaleIntensityRanged
from monai.transforms.lazy.functional import apply_pending_transforms, apply_pending_transforms_in_order
from monai.transforms.traits import LazyTrait
from monai.utils import convert_to_dst_type

Data = Mapping[Hashable, Any]

AT_ONCE = 4 * 2**20
"""Bytes of an image that a transform of single voxels is given: of a whole CT, its intermediate results would be four times the image."""


def run_steps(composed: Compose, data: Data, before: Callable[[int, Any, Data], None]) -> Data:
    """What dictionary transforms make of `data`, lazily where they are composed so.

    `Compose` itself cannot be stopped, and wraps an error in one that names the object it came from and hides its message.

    Args:
        composed: The transforms.
        data: With the image.
        before: Called before each step with its number, the step, and what it will be given. It may raise.
    """
    for number, step in enumerate(composed.transforms):
        data = apply_pending_transforms_in_order(step, data, composed.lazy, composed.overrides)
        before(number, step, data)
        if isinstance(step, LazyTrait):
            data = step(data, lazy=composed.lazy)
        else:
            data = _in_pieces(step, data) if _is_of_single_voxels(step, data) else step(data)
    found: Data = apply_pending_transforms(data, None, composed.overrides)
    return found


def _is_of_single_voxels(step: Any, data: Data) -> bool:
    """Whether a transform is known to make each voxel from that voxel alone, in float32."""
    return (
        type(step) is ScaleIntensityRanged
        and step.keys == ("image",)
        and step.scaler.dtype == np.float32
        and data["image"].dtype == torch.float32
    )


def _in_pieces(step: Any, data: Data) -> Data:
    """What the transform makes of the image, bit for bit."""
    image: MetaTensor = data["image"]
    values = image.as_tensor()
    found = torch.empty_like(values)
    layers = max(1, AT_ONCE * values.shape[-1] // max(values.nbytes, 1))
    for source, target in zip(torch.split(values, layers, dim=-1), torch.split(found, layers, dim=-1), strict=True):
        target.copy_(step({"image": source})["image"])
    return {**data, "image": convert_to_dst_type(found, image)[0]}
