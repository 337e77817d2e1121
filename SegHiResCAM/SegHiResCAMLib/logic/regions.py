"""Measures which regions a heat map's evidence lies in; what is found becomes part of its record, which the node keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.logic.asked_again import asked_again, check_model
from SegHiResCAMLib.logic.explainer import Explainer
from SegHiResCAMLib.logic.job import Job, Report
from SegHiResCAMLib.records.question import SegmentOptions, options_of
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import change_record, explanation_of
from SegHiResCAMLib.scene.region_labels import region_labels
from SegHiResCAMLib.scene.volumes import volume_array
from SegHiResCAMLib.turns import Steps
from SegHiResCAMLib.worker.protocol import MeasureOwnRegions, MeasureRegions, RegionsMeasured, Result, Voxels

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


def measure_regions(
    explainer: Explainer,
    heatmap: vtkMRMLScalarVolumeNode,
    model: str,
    segmentation: vtkMRMLSegmentationNode | None = None,
    **callbacks: Any,
) -> Job:
    """Measure the shares of a heat map's evidence in regions; the result is its `ExplanationRecord` with them, which the node has then, too.

    Args:
        explainer: Who asks the worker.
        heatmap: Of `Explainer.explain`.
        model: File or folder of the model that it explains.
        segmentation: Whose segments are the regions; None for what the model segments.
        callbacks: See `Job`.

    Raises:
        SceneError: It is not a heat map, or what is to be measured is not in the scene.
    """
    record = explanation_of(heatmap)
    if record is None:
        message = f"'{heatmap.GetName()}' is not a heat map of SegHiResCAM. Choose one that Explain has made."
        raise SceneError(message)
    signed = Voxels.of(*volume_array(heatmap))
    request: MeasureRegions | MeasureOwnRegions
    if segmentation is None:
        asked = asked_again(heatmap)
        options = {name: getattr(record.question, name) for name in options_of(SegmentOptions)}
        request = MeasureOwnRegions(model, asked.voxels, signed, SegmentOptions(**options))
    else:
        labels = region_labels(segmentation, heatmap)
        request = MeasureRegions(signed, Voxels.of(labels.read, labels.affine), labels.names)

    def finish(result: Result, _report: Report) -> Steps:
        yield from ()
        assert isinstance(result.answer, RegionsMeasured)
        if result.answer.model is not None:
            check_model(heatmap, record, result.answer.model)
        return change_record(heatmap, regions=result.answer.regions)

    return explainer.ask(request, finish, callbacks)
