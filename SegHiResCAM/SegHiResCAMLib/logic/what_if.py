"""Removes a region and segments again; the new segmentation is a node of its own, and nothing else in the scene changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from SegHiResCAMLib.logic.asked_again import reference_of
from SegHiResCAMLib.logic.explainer import Explainer, drawn_mask, scene_of
from SegHiResCAMLib.logic.images import voxels_of
from SegHiResCAMLib.logic.job import Job, Report
from SegHiResCAMLib.records.map_check import Fill
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.regions import Mask
from SegHiResCAMLib.scene.removed_region import add_changed_segmentation
from SegHiResCAMLib.scene.segments import Segment, prepare_labels
from SegHiResCAMLib.turns import Steps
from SegHiResCAMLib.worker.protocol import RegionRemoved, RemoveRegion, Result

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


def remove_and_segment(
    explainer: Explainer,
    volume: vtkMRMLScalarVolumeNode,
    model: str,
    question: Question,
    *,
    further: Sequence[vtkMRMLScalarVolumeNode] = (),
    segmentation: vtkMRMLSegmentationNode | None = None,
    drawn_segment: str | None = None,
    reference: vtkMRMLSegmentationNode | None = None,
    fill: Fill = "shell",
    seed: int = 0,
    **callbacks: Any,
) -> Job:
    """Replace a region by other tissue and segment again; the result is the vtkMRMLSegmentationNode of what is segmented then.

    Args:
        explainer: Who asks the worker.
        volume: That was segmented; it stays as it is.
        model: That segments.
        question: Its region is removed.
        further: Volumes that are the model's further channels.
        segmentation: With `drawn_segment`, where the region is drawn.
        drawn_segment: Id of a segment in it, whose voxels are removed in place of the question's region.
        reference: For a region that is a mistake.
        fill: What takes the region's place.
        seed: Of the fill.
        callbacks: See `Job`.

    Raises:
        SceneError: A volume has no voxels, they do not lie on one grid, or there is no segmentation with such a segment.
    """
    voxels = voxels_of(volume, further)
    mask = drawn_mask(volume, voxels, segmentation, drawn_segment)
    labels, names = (None, ()) if reference is None else reference_of(reference, volume)
    asked = question if mask is None else replace(question, region=Mask())
    request = RemoveRegion(model, voxels, asked, mask, labels, names, fill, seed)
    title = "" if mask is None or segmentation is None else _name(segmentation, drawn_segment)

    def finish(result: Result, _report: Report) -> Steps:
        assert isinstance(result.answer, RegionRemoved)
        made_by, record = result.answer.model, result.answer.record
        segments = [Segment(one.name, one.value, one.color, one.terminology) for one in made_by.labels]
        affine = np.array(voxels.affine)
        image = yield lambda: prepare_labels(result.arrays["labels"], affine, segments)
        named = replace(record, region=title) if title else record
        return add_changed_segmentation(scene_of(volume), image, affine, segments, volume, named)

    return explainer.ask(request, finish, callbacks)


def _name(segmentation: vtkMRMLSegmentationNode, segment_id: str | None) -> str:
    name: str = segmentation.GetSegmentation().GetSegment(segment_id).GetName()
    return name
