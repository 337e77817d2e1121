"""One run of `what-if`: what is read and what is asked, as paths and options."""

from __future__ import annotations

from dataclasses import dataclass

from SegHiResCAMLib.records.explain_job import MaskFile
from SegHiResCAMLib.records.map_check import Fill
from SegHiResCAMLib.records.question import Question


@dataclass(frozen=True, kw_only=True)
class WhatIfJob:
    """Everything that `what-if` is given, but where its results go.

    Attributes:
        volumes: Paths, one for each of the model's inputs, in the model's order.
        model: File, folder or catalogue name.
        question: Its region is removed; its segment is the one that the region speaks of, empty for the model's first.
        mask: Voxels to remove in place of a region.
        fill: What takes their place.
        seed: Of the fill.
        series: SeriesInstanceUID, where the volume's folder holds several.
    """

    volumes: tuple[str, ...]
    model: str
    question: Question
    mask: MaskFile | None = None
    fill: Fill = "shell"
    seed: int = 0
    series: str | None = None
