"""What a model segments once a region was removed: a segmentation of its own, beside the one before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from SegHiResCAMLib.plain_text import plain
from SegHiResCAMLib.provenance import PREFIX
from SegHiResCAMLib.records.evidence import WhatIfRecord
from SegHiResCAMLib.records.json_form import from_json, to_json
from SegHiResCAMLib.scene.segments import Segment, add_segmentation, set_model_of
from SegHiResCAMLib.scene.volumes import Array

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScene, vtkMRMLSegmentationNode, vtkOrientedImageData

WHAT_IF = f"{PREFIX}whatIf"
"""Attribute: the record, as JSON on one line."""

LIGHTER = 0.5
"""Of the way to white that colours go, so that contours of before and afterwards can be told apart."""


def add_changed_segmentation(
    scene: vtkMRMLScene,
    image: vtkOrientedImageData,
    affine: Array,
    segments: Sequence[Segment],
    volume: vtkMRMLScalarVolumeNode,
    record: WhatIfRecord,
) -> vtkMRMLSegmentationNode:
    """Add what is segmented now, as contours in lighter colours; arguments as `add_segmentation` has them.

    Args:
        scene: The vtkMRMLScene.
        image: Of `prepare_labels`.
        affine: (4, 4) from (i, j, k) to RAS millimetres.
        segments: What its values mean.
        volume: That was segmented, before the region was removed.
        record: Kept with the segmentation and read back by `what_if_of`.
    """
    light = [replace(one, color=_lighter(one.color)) for one in segments]
    name = f"{record.model.name} without {plain(record.region)}"
    node = add_segmentation(scene, image, affine, light, volume, name=name)
    node.GetDisplayNode().SetVisibility2DFill(False)
    set_model_of(node, record.model.name, record.model.sha256)
    node.SetAttribute(WHAT_IF, json.dumps(to_json(record), ensure_ascii=False, allow_nan=False))
    return node


def remove_changed_segmentation(node: vtkMRMLSegmentationNode) -> None:
    """Remove what `add_changed_segmentation` has added, with its displays."""
    scene = node.GetScene()
    displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    for one in [node, *displays]:
        if one is not None and one.GetScene() is scene:  # in the desktop, some go with it
            scene.RemoveNode(one)


def what_if_of(node: vtkMRMLSegmentationNode | None) -> WhatIfRecord | None:
    """What was found when a region was removed; None for any other segmentation."""
    line = None if node is None else node.GetAttribute(WHAT_IF)
    return None if line is None else _read(line)


@lru_cache(8)  # the panel asks at every change of a choice
def _read(line: str) -> WhatIfRecord | None:
    try:
        return from_json(WhatIfRecord, json.loads(line))
    except ValueError:
        return None


def _lighter(color: tuple[float, float, float]) -> tuple[float, float, float]:
    red, green, blue = (part + LIGHTER * (1 - part) for part in color)
    return red, green, blue
