"""What is answered when a region is removed, or a map is checked: numbers with what they are compared with."""
# ruff: noqa: N815 - schemaVersion is what readers of JSON files look for

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from SegHiResCAMLib.records.explanation import ModelReference
from SegHiResCAMLib.records.map_check import Fill


@dataclass(frozen=True)
class SegmentChange:
    """What became of one segment.

    Attributes:
        segment: Its name.
        before_ml: Its volume before.
        after_ml: Its volume afterwards.
        dice: Of the segment before and afterwards, 0 to 1; None where there was none before and none afterwards.
        score_before: Sum of its logits over the voxels that it had before; None where it had none.
        score_after: The same sum afterwards, over the same voxels.
    """

    segment: str
    before_ml: float
    after_ml: float
    dice: float | None
    score_before: float | None
    score_after: float | None


@dataclass(frozen=True, kw_only=True)
class WhatIfRecord:
    """What a model segments once a region of the volume has been replaced.

    Attributes:
        schemaVersion: Of this form.
        model: Of which model.
        region: What was replaced, for people.
        removed_ml: Its volume on the volume's grid.
        fill: By what: "shell", the mean of the tissue around; "patch", real tissue from elsewhere; "blur", the smoothed surroundings.
        seed: Of the fill.
        segments: What became of each segment.
        windows: Windows, or slices, of the whole volume.
        windows_touched: Of these, the ones that the edit touches.
        windows_computed: How many were computed in all, before and afterwards.
        versions: Of this program, torch and MONAI.
    """

    schemaVersion: int = 1
    model: ModelReference
    region: str
    removed_ml: float
    fill: Fill
    seed: int
    segments: tuple[SegmentChange, ...]
    windows: int
    windows_touched: int
    windows_computed: int
    versions: Mapping[str, str] = field(default_factory=dict)
