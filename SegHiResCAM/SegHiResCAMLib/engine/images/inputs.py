"""What a model with one input or several is given: a volume for each."""

from __future__ import annotations

from collections.abc import Sequence

from monai.data import MetaTensor

from SegHiResCAMLib.engine.images.volume import read_volume, stack_volumes
from SegHiResCAMLib.engine.progress import Progress, part, silent


def read_inputs(paths: Sequence[str], series: str | None = None, progress: Progress = silent) -> MetaTensor:
    """The volumes as the channels of one, on the grid of the first; `progress` goes from 0 to 1 and can stop the reading.

    Raises:
        EngineError: One cannot be read, or they do not belong together.
    """
    share = 1 / len(paths)
    each = (part(progress, number * share, (number + 1) * share) for number in range(len(paths)))
    return stack_volumes(
        [read_volume(path, series=series, progress=one) for path, one in zip(paths, each, strict=True)]
    )
