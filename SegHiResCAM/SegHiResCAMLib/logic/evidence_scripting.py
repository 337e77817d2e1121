"""What scripts ask about a heat map beside its colours, as `logic.evidence`; see `logic/scripting.py` for the manners."""
# ruff: noqa: N803 - arguments are named as 3D Slicer names them

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.logic.check import check_heatmap
from SegHiResCAMLib.logic.input_images import share_inputs
from SegHiResCAMLib.logic.mistakes import compare_with
from SegHiResCAMLib.logic.regions import measure_regions
from SegHiResCAMLib.logic.scripting import asked_by_script, snake_case
from SegHiResCAMLib.logic.what_if import remove_and_segment
from SegHiResCAMLib.records.map_check import Fill
from SegHiResCAMLib.records.question import Axis, Device, Mode, SegmentOptions

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

    def inputShares(  # noqa: N802 - as 3D Slicer names methods
        self,
        heatmapNode: vtkMRMLScalarVolumeNode,
        modelPath: Any,
        *,
        seed: int = 0,
        wait: bool = True,
        **callbacks: Any,
    ) -> Any:
        """Divide the score among the images of a model that takes several; what is found stays with the heat map.

        :param modelPath: the model that the heat map explains.
        :param seed: of the tissue that stands for an image that is left out.
        :returns: the heat map's ExplanationRecord, whose ``input_shares`` has all values.
        """
        job = share_inputs(self._explainer, heatmapNode, str(modelPath), seed=seed, **snake_case(callbacks))
        return self._ended(job, wait)

    def compare(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        modelPath: Any,
        referenceNode: vtkMRMLSegmentationNode,
        *,
        further: Sequence[vtkMRMLScalarVolumeNode] = (),
        mode: Mode = "auto",
        axis: Axis = "auto",
        device: Device = "auto",
        wait: bool = True,
        **callbacks: Any,
    ) -> Any:
        """Compare what a model segments in a volume with a reference.

        :param referenceNode: whose segments have the names of the model's; it keeps what is found. ``logic.explain`` takes it, too, for
            regions that are mistakes: ``pixelSet={"kind": "false-positive", "point": [12, -40, 88]}``.
        :returns: a Comparison: for each segment Dice, surface distances and volumes, and the list of mistakes, the largest first.
        """
        options = SegmentOptions(mode=mode, axis=axis, device=device)
        job = compare_with(
            self._explainer,
            volumeNode,
            str(modelPath),
            referenceNode,
            options,
            further=further,
            **snake_case(callbacks),
        )
        return self._ended(job, wait)

    def whatIf(  # noqa: N802 - as 3D Slicer names methods
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        modelPath: Any,
        segmentName: str,
        *,
        segmentationNode: vtkMRMLSegmentationNode | None = None,
        pixelSet: Any = None,
        fill: Fill = "shell",
        seed: int = 0,
        wait: bool = True,
        **options: Any,
    ) -> Any:
        """Replace a region by other tissue, and segment again; the volume stays as it is.

        :param segmentName: the segment that the region speaks of; without ``pixelSet``, what the model segments of it is removed.
        :param segmentationNode: with the id of one of its segments as ``pixelSet``, where the region is drawn.
        :param pixelSet: as ``logic.explain`` has it.
        :param fill: ``shell``, ``patch`` or ``blur``.
        :param seed: of the choice of tissue from elsewhere.
        :returns: the segmentation without the region, a node of its own.
        """
        asked = asked_by_script(segmentName, pixelSet, options)
        job = remove_and_segment(
            self._explainer, volumeNode, str(modelPath), segmentation=segmentationNode, fill=fill, seed=seed, **asked
        )
        return self._ended(job, wait)

    def _ended(self, job: Job, wait: bool) -> Any:
        return self._explainer.wait(job) if wait else job
