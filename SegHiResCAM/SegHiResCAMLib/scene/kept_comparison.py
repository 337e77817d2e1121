"""What was found when a model's segmentation was compared with a reference, kept with the reference and so with the scene."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from SegHiResCAMLib.provenance import PREFIX
from SegHiResCAMLib.records.explanation import ModelReference
from SegHiResCAMLib.records.json_form import from_json, to_json
from SegHiResCAMLib.records.mistakes import Comparison

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

COMPARISON, COMPARED_VOLUME = f"{PREFIX}comparison", f"{PREFIX}comparedVolume"
"""Attribute, and role of the reference to the volume."""


@dataclass(frozen=True)
class KeptComparison:
    """A comparison and whose segmentation it is about."""

    model: ModelReference
    comparison: Comparison


def keep_comparison(reference: vtkMRMLSegmentationNode, volume: vtkMRMLScalarVolumeNode, found: KeptComparison) -> None:
    """Keep it with the reference; one of before is replaced."""
    reference.SetNodeReferenceID(COMPARED_VOLUME, volume.GetID())
    reference.SetAttribute(COMPARISON, json.dumps(to_json(found), ensure_ascii=False, allow_nan=False))


def comparison_of(
    reference: vtkMRMLSegmentationNode | None, volume: vtkMRMLScalarVolumeNode | None, model_sha256: str
) -> Comparison | None:
    """What was found about a model in a volume; None where these were not compared."""
    if reference is None or reference.GetNodeReference(COMPARED_VOLUME) is not volume:
        return None
    line = reference.GetAttribute(COMPARISON)
    if line is None:
        return None
    found = _read(line)
    return found.comparison if found is not None and found.model.sha256 == model_sha256 else None


@lru_cache(8)  # the panel asks at every change of a choice
def _read(line: str) -> KeptComparison | None:
    try:
        return from_json(KeptComparison, json.loads(line))
    except ValueError:
        return None
