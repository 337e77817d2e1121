"""What scripts ask about a heat map beside its colours, as `logic.evidence`; see `logic/scripting.py` for the manners."""
# ruff: noqa: N803 - arguments are named as 3D Slicer names them

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.logic.check import check_heatmap
from SegHiResCAMLib.logic.regions import measure_regions
from SegHiResCAMLib.logic.scripting import snake_case

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

    from SegHiResCAMLib.logic.explainer import Explainer
    from SegHiResCAMLib.logic.job import Job


class EvidenceScripting:
    """How far to believe a heat map, and where the network's reasons lie.

    Every method returns its result; with ``wait=False`` a job at once, whose callbacks (``onProgress``, ``onDone``, ``onError``) are called
    from the logic's ``poll()``. All raise `SceneError` or `ExplainerError`, whose message says what is wrong and what to do.

    Args:
        explainer: Of the logic.
    """

    def __init__(self, explainer: Explainer) -> None:
        self._explainer = explainer

    def check(
        self,
        heatmapNode: vtkMRMLScalarVolumeNode,
        modelPath: Any,
        *,
        seed: int = 0,
        wait: bool = True,
        **callbacks: Any,
    ) -> Any:
        """Check how far a heat map can be believed; what is found stays with the heat map, also when it is saved or exported.

        :param modelPath: the model that the heat map explains.
        :param seed: of every draw.
        :returns: the heat map's ExplanationRecord, whose ``check`` has all numbers.
        """
        return self._ended(
            check_heatmap(self._explainer, heatmapNode, str(modelPath), seed=seed, **snake_case(callbacks)), wait
        )

    def regions(
        self,
        heatmapNode: vtkMRMLScalarVolumeNode,
        modelPath: Any,
        *,
        segmentationNode: vtkMRMLSegmentationNode | None = None,
        wait: bool = True,
        **callbacks: Any,
    ) -> Any:
        """Measure which regions the evidence lies in; what is found stays with the heat map, also when it is saved or exported.

        :param modelPath: the model that the heat map explains.
        :param segmentationNode: whose segments are the regions; without it, what the model segments.
        :returns: the heat map's ExplanationRecord, whose ``regions`` has all shares.
        """
        job = measure_regions(self._explainer, heatmapNode, str(modelPath), segmentationNode, **snake_case(callbacks))
        return self._ended(job, wait)

    def _ended(self, job: Job, wait: bool) -> Any:
        return self._explainer.wait(job) if wait else job
