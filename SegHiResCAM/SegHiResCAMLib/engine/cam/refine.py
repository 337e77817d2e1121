"""One map of several layers: deep layers know what, shallow ones know where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.records.question import Combination, Question


def check_combination(combination: str) -> None:
    """Refuse what is none, before anything is computed.

    Raises:
        EngineError: `combination-unknown`.
    """
    known = get_args(Combination)
    if combination not in known:
        message = f"Layers cannot be combined by '{combination}'. Choose one of: {', '.join(known)}."
        raise EngineError("combination-unknown", message)


def together(maps: Sequence[torch.Tensor], question: Question) -> torch.Tensor:
    """The map of a question: of its layer, combined from the layers that it names, or the mean over all blocks of a method that has one for each."""
    if question.refine_with:
        return refined(maps, question.refine)
    return maps[0] if len(maps) == 1 else torch.stack(list(maps)).mean(dim=0)


def refined(maps: Sequence[torch.Tensor], combination: Combination) -> torch.Tensor:
    """The product or the mean of the heat maps of several layers, each ReLU(map) / its maximum over the whole volume.

    The product keeps what every layer finds (as grad-cam's RefineCAM means it), the mean what any of them does.

    Args:
        maps: Raw signed maps of one shape.
        combination: How they are put together.

    Returns:
        Values from 0 to 1; a layer without any evidence counts as zero everywhere.
    """
    scaled = torch.stack([one.clamp(min=0) / one.max().clamp(min=torch.finfo(one.dtype).tiny) for one in maps])
    return scaled.prod(dim=0) if combination == "product" else scaled.mean(dim=0)
