"""Divides a heat map's score among the model's input images; what is found becomes part of its record, which the node keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.logic.asked_again import asked_again, check_model
from SegHiResCAMLib.logic.explainer import Explainer
from SegHiResCAMLib.logic.job import Job, Report
from SegHiResCAMLib.scene.heatmap import change_record
from SegHiResCAMLib.turns import Steps
from SegHiResCAMLib.worker.protocol import InputsShared, Result, ShareInputs

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode


def share_inputs(
    explainer: Explainer, heatmap: vtkMRMLScalarVolumeNode, model: str, *, seed: int = 0, **callbacks: Any
) -> Job:
    """Divide the score among the input images; the result is the map's `ExplanationRecord` with the shares, which the node has then, too.

    Args:
        explainer: Who asks the worker.
        heatmap: Of `Explainer.explain`, of a model of several images.
        model: File or folder of the model that it explains.
        seed: Of the tissue that stands for an image that is left out.
        callbacks: See `Job`.

    Raises:
        SceneError: It is not a heat map, or what it explains is not in the scene.
    """
    asked = asked_again(heatmap)
    request = ShareInputs(
        model, asked.voxels, asked.record.question, asked.mask, asked.reference, asked.reference_names, seed
    )

    def finish(result: Result, _report: Report) -> Steps:
        yield from ()
        assert isinstance(result.answer, InputsShared)
        check_model(heatmap, asked.record, result.answer.model)
        return change_record(heatmap, input_shares=result.answer.shares)

    return explainer.ask(request, finish, callbacks)
