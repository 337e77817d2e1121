"""What a model with one input or several is given: a volume for each."""

from __future__ import annotations

from collections.abc import Sequence

from monai.data import MetaTensor

from SegHiResCAMLib.engine.images.masks import read_mask
from SegHiResCAMLib.engine.images.volume import read_volume, stack_volumes
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.records.explain_job import MaskFile


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


def read_inputs_and_mask(
    paths: Sequence[str], series: str | None, mask: MaskFile | None, progress: Progress = silent
) -> tuple[MetaTensor, MetaTensor | None]:
    """The volumes as `read_inputs` gives them, and the voxels that are marked, as `read_mask` does; None where there is no mask.

    Raises:
        EngineError: As both.
    """
    volume = read_inputs(paths, series, part(progress, 0.0, 0.8))
    if mask is None:
        return volume, None
    rest = part(progress, 0.8, 1.0)
    return volume, read_mask(mask.path, segment=mask.segment, value=mask.value, weighted=mask.weighted, progress=rest)
