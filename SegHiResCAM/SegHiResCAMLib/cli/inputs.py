"""What a command is given: the volumes that a model looks at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monai.data import MetaTensor


def read_inputs(paths: Sequence[str], series: str | None = None) -> MetaTensor:
    """The volumes as the channels of one, on the grid of the first.

    Raises:
        EngineError: One cannot be read, or they do not belong together.
    """
    from SegHiResCAMLib.engine.images.volume import read_volume, stack_volumes

    return stack_volumes([read_volume(path, series=series) for path in paths])
