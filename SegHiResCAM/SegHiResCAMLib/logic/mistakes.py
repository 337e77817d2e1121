"""Compares what a model segments with a reference in the scene; what is found is kept with the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.logic.asked_again import reference_of
from SegHiResCAMLib.logic.explainer import Explainer
from SegHiResCAMLib.logic.images import voxels_of
from SegHiResCAMLib.logic.job import Job, Report
from SegHiResCAMLib.records.question import SegmentOptions
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.kept_comparison import KeptComparison, keep_comparison
from SegHiResCAMLib.turns import Steps
from SegHiResCAMLib.worker.protocol import Compared, CompareSegmentation, Result

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


def compare_with(
    explainer: Explainer,
    volume: vtkMRMLScalarVolumeNode,
    model: str,
    reference: vtkMRMLSegmentationNode,
    options: SegmentOptions | None = None,
    *,
    further: Sequence[vtkMRMLScalarVolumeNode] = (),
    segments: Sequence[str] = (),
    **callbacks: Any,
) -> Job:
    """Compare what a model segments in a volume with a reference; the result is a `Comparison`.

    Args:
        explainer: Who asks the worker.
        volume: That is segmented.
        model: File or folder.
        reference: Whose segments have the names of the model's.
        options: How the model segments; None for the defaults.
        further: Volumes that are the model's further channels.
        segments: Of the model, that are compared even where the reference does not have them.
        callbacks: See `Job`.

    Raises:
        SceneError: A volume has no voxels, they do not lie on one grid, or the reference has no segments.
    """
    labels, names = reference_of(reference, volume)
    request = CompareSegmentation(
        model, voxels_of(volume, further), labels, names, tuple(segments), options or SegmentOptions()
    )

    def finish(result: Result, _report: Report) -> Steps:
        yield from ()
        assert isinstance(result.answer, Compared)
        for node in (volume, reference):
            if node.GetScene() is None:
                message = f"'{node.GetName()}' was deleted meanwhile, so what was found about it was discarded."
                raise SceneError(message)
        keep_comparison(reference, volume, KeptComparison(result.answer.model, result.answer.comparison))
        return result.answer.comparison

    return explainer.ask(request, finish, callbacks)
