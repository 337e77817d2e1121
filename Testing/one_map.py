"""One map on the CPU, as most tests ask for it; the engine serves several questions and layers at once."""

from __future__ import annotations

import torch

from SegHiResCAMLib.engine.cam.leaf import Target
from SegHiResCAMLib.engine.cam.methods import Method
from SegHiResCAMLib.engine.cam.passes import ScoreQuestion
from SegHiResCAMLib.engine.cam.stitched import StitchedMap, stitched_maps
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.windows import Windows
from SegHiResCAMLib.engine.progress import Progress, silent


def stitched_map(
    network: torch.nn.Module,
    images: torch.Tensor,
    pixel_set: torch.Tensor,
    class_index: int,
    layer: str,
    method: Method,
    windows: Windows,
    *,
    batch: int | None = 1,
    progress: Progress = silent,
) -> StitchedMap:
    """The map of one class at one layer; `batch` windows are computed at once, as many as fit for None."""
    workplace, question = Workplace(network, torch.device("cpu"), batch), ScoreQuestion(Target(class_index), pixel_set)
    ((found,),) = stitched_maps(workplace, images, [question], [layer], method, windows, progress=progress)
    return found
