"""Transforms in a row whose errors arrive as they are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Compose


class Steps(Compose):
    """One dictionary transform after the other, undone backwards as `Compose` does it.

    `Compose` itself wraps an error in one that names the object it came from, and hides its sentence.
    """

    def __call__(self, data: Mapping[Hashable, Any], *_: Any, **__: Any) -> Mapping[Hashable, Any]:
        """What the last one makes of it."""
        for step in self.transforms:
            data = step(data)
        return data
