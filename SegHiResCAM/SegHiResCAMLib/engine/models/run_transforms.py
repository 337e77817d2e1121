"""Transforms in a row whose errors arrive as they are, and that can be stopped between one and the next."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from monai.transforms import Compose
from monai.transforms.lazy.functional import apply_pending_transforms, apply_pending_transforms_in_order
from monai.transforms.traits import LazyTrait

Data = Mapping[Hashable, Any]


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
        data = step(data, lazy=composed.lazy) if isinstance(step, LazyTrait) else step(data)
    found: Data = apply_pending_transforms(data, None, composed.overrides)
    return found
