"""Checks a heat map: what the worker finds becomes part of its record, which the node keeps."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.logic.asked_again import asked_again, check_model
from SegHiResCAMLib.logic.explainer import Explainer
from SegHiResCAMLib.logic.job import Job, Report
from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import change_record
from SegHiResCAMLib.turns import Steps
from SegHiResCAMLib.worker.protocol import CheckMap, MapChecked, Result

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode

SAME = 0.01
"""How far scores and sizes of the same question may differ between a GPU and a CPU, relative to the larger one."""


def check_heatmap(
    explainer: Explainer, heatmap: vtkMRMLScalarVolumeNode, model: str, *, seed: int = 0, **callbacks: Any
) -> Job:
    """Check a heat map; the result is its `ExplanationRecord` with the check, which the node has then, too.

    Args:
        explainer: Who asks the worker.
        heatmap: Of `Explainer.explain`.
        model: File or folder of the model that it explains.
        seed: Of every draw.
        callbacks: See `Job`.

    Raises:
        SceneError: It is not a heat map, or what it explains is not in the scene.
    """
    asked = asked_again(heatmap)
    question = replace(asked.record.question, score_explained=True)
    request = CheckMap(model, asked.voxels, question, asked.mask, asked.reference, asked.reference_names, seed)

    def finish(result: Result, _report: Report) -> Steps:
        yield from ()
        assert isinstance(result.answer, MapChecked)
        again = result.answer.record
        check_same(heatmap, asked.record, again)
        checked = {"check": result.answer.check, "score_explained": again.score_explained, "question": question}
        return change_record(heatmap, **checked)

    return explainer.ask(request, finish, callbacks)


def check_same(heatmap: vtkMRMLScalarVolumeNode, before: ExplanationRecord, again: ExplanationRecord) -> None:
    """Refuse what was found about another map than this one.

    Raises:
        SceneError: The model is another one, or the volume or the explained region has changed since.
    """
    check_model(heatmap, before, again.model)
    pairs = ((before.voxel_count, again.voxel_count), (before.score or 0.0, again.score or 0.0))
    if not all(math.isclose(one, other, rel_tol=SAME) for one, other in pairs):
        message = f"The volume or the explained region has changed since '{heatmap.GetName()}' was made. Explain again, then check the new map."
        raise SceneError(message)
