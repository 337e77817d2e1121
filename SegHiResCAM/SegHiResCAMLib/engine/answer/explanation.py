"""The question with what it is about (`ExplainRequest`), and the answer (`Explanation`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import monai
import numpy as np
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.cam.methods import find_method
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, segment
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.progress import Progress, silent
from SegHiResCAMLib.records.explanation import (
    SHARE_OF_MAXIMUM,
    ExplanationRecord,
    Finding,
    MapLayer,
    Measurements,
    ModelReference,
    PathIntegral,
    ScoreExplained,
)
from SegHiResCAMLib.records.input_shares import InputShares
from SegHiResCAMLib.records.json_form import MalformedError
from SegHiResCAMLib.records.map_check import MapCheck
from SegHiResCAMLib.records.mistakes import Comparison
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.region_shares import RegionShare
from SegHiResCAMLib.records.regions import Mask, PredictedSegment, Region
from SegHiResCAMLib.version import VERSION

VERSIONS = {"seghirescam": VERSION, "torch": torch.__version__, "monai": monai.__version__}
"""Of what computes in this process."""


@dataclass(frozen=True)
class ExplainRequest:
    """Why did `model` segment `question.segment` in `volume`?

    Attributes:
        volume: (C, i, j, k) with RAS affine in mm, from `read_volume`.
        model: From `open_model`.
        question: Everything that can be chosen: segment, method, layer, region, contrast class, device and so on.
        mask: Voxels to explain (1, i, j, k) in any geometry, 0 and 1 or how much each one counts.
        reference: Label map in the model's values (1, i, j, k) in any geometry, from `reference_labels`; for regions that are mistakes.
    """

    volume: MetaTensor
    model: SegmentationModel
    question: Question
    mask: MetaTensor | None = None
    reference: MetaTensor | None = None

    @classmethod
    def of(
        cls,
        volume: MetaTensor,
        model: SegmentationModel,
        segment: str,
        *,
        mask: MetaTensor | None = None,
        **options: Any,
    ) -> ExplainRequest:
        """A request with a question made of `options`, which are fields of `Question`.

        Raises:
            EngineError: `question-malformed`, a number is outside its limits.
        """
        try:
            return cls(volume, model, Question(segment=segment, **options), mask)
        except MalformedError as problem:
            raise EngineError("question-malformed", f"{problem}.") from problem

    def about(self, segment: str) -> ExplainRequest:
        """The same of another segment."""
        return replace(self, question=replace(self.question, segment=segment))

    def segmented(self, progress: Progress = silent) -> Segmentation:
        """What the model outlines in the volume, in the way that the question says."""
        how = self.question
        return segment(
            self.model,
            self.volume,
            mode=how.mode,
            axis=how.axis,
            device=how.device,
            engine=how.segmenting_engine,
            progress=progress,
        )

    @property
    def region(self) -> Region:
        """Which voxels are explained, chosen or by default."""
        return self.question.region or (PredictedSegment() if self.mask is None else Mask())


@dataclass(frozen=True)
class Explanation:
    """The answer.

    Attributes:
        signed_map: Raw map before ReLU (1, i, j, k), float32, on the volume's own grid, in `units`.
        deviation: Of a smooth map, its standard deviation over the copies with noise, on the same grid; None for others, and for combined
            layers.
        segmentation: The model's; None where the region did not need it and nobody asked for it.
        label: The label explained.
        question: What was asked of it; its region is the one that was explained.
        model: Of which model.
        method: Title of the method.
        mode: "volumetric", or "slice-wise" and the slices' direction.
        layer: Where the map was computed.
        score: S, the sum of the label's logits over the explained voxels.
        mean_probability: Of the label over the explained voxels, in the network's blended prediction, 0 to 1; None where there are none.
        voxel_count: Explained voxels on the model's grid.
        windows: Windows of the whole volume.
        windows_touched: Windows that the explained voxels touch.
        measurements: Where the heat map lies, in and around the explained voxels.
        score_explained: How much of the score it accounts for; None where it was not measured.
        path_integral: Of an integrated map, how; None for others.
        timings: Seconds of each step.
        findings: What to know before believing the map, the gravest first.
        segmented_by: What computed the segmentation, and why; empty where the explanation's own passes decided it.
        explained_by: What computed the map, and how far engines were from each other on a window.
        versions: Of this program, torch and MONAI, where it was computed.
        chosen: The explained voxels (1, i, j, k), uint8, on the volume's own grid, where they are not simply the predicted segment.
        regions: How the map is spread over anatomical regions; see `share_by_region`. Empty where nobody asked for it.
        comparison: Of the segmentation with a reference; None where there is none.
        check: What was found when the map was checked; None where it was not.
        input_shares: How the score is divided among the model's input images; None where nobody asked for it.
    """

    signed_map: MetaTensor
    segmentation: Segmentation | None
    label: Label
    question: Question
    model: ModelReference
    method: str
    mode: str
    layer: MapLayer
    score: float
    mean_probability: float | None
    voxel_count: int
    windows: int
    windows_touched: int
    measurements: Measurements
    score_explained: ScoreExplained | None = None
    path_integral: PathIntegral | None = None
    timings: dict[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    segmented_by: str = ""
    explained_by: str = ""
    chosen: MetaTensor | None = None
    versions: dict[str, str] = field(default_factory=lambda: dict(VERSIONS))
    deviation: MetaTensor | None = None
    regions: tuple[RegionShare, ...] = ()
    comparison: Comparison | None = None
    check: MapCheck | None = None
    input_shares: InputShares | None = None

    @property
    def region(self) -> Region:
        """Which voxels were explained."""
        return self.question.region or PredictedSegment()

    @property
    def units(self) -> str:
        """Of the map's values."""
        return SHARE_OF_MAXIMUM if self.question.refine_with else find_method(self.question.method).units

    @property
    def explained_voxels(self) -> torch.Tensor:
        """What was explained, on the volume's own grid: (1, i, j, k), boolean."""
        return voxels_of(self.chosen, self.segmentation, self.label, self.signed_map)

    @property
    def heatmap(self) -> MetaTensor:
        """ReLU of the signed map: the positive evidence for the segment, raw, in `units`."""
        return self.signed_map.clamp(min=0)

    @property
    def peak(self) -> tuple[float, tuple[float, float, float]]:
        """The heat map's highest value and where it is, in RAS millimetres."""
        values = self.signed_map.as_tensor()[0]
        index = np.unravel_index(int(values.argmax()), tuple(values.shape))
        position = self.signed_map.affine.numpy() @ np.array([*index, 1.0])
        return float(torch.clamp(values[index], min=0)), (float(position[0]), float(position[1]), float(position[2]))

    def record(self) -> ExplanationRecord:
        """All but the voxels, for files, nodes and messages; nothing of the patient is in it."""
        maximum, position = self.peak
        return ExplanationRecord(
            question=self.question,
            model=self.model,
            method=self.method,
            region=self.region.title,
            mode=self.mode,
            units=self.units,
            layer=self.layer,
            score=self.score if math.isfinite(self.score) else None,  # JSON has no other numbers
            mean_probability=self.mean_probability,
            voxel_count=self.voxel_count,
            maximum=maximum,
            minimum=float(self.signed_map.min()),
            peak_ras_mm=position,
            measurements=self.measurements,
            regions=self.regions,
            comparison=self.comparison,
            check=self.check,
            input_shares=self.input_shares,
            score_explained=self.score_explained,
            path_integral=self.path_integral,
            windows=self.windows,
            windows_touched=self.windows_touched,
            segmented_by=self.segmented_by,
            explained_by=self.explained_by,
            findings=self.findings,
            timings_s=dict(self.timings),
            versions=dict(self.versions),
        )


def voxels_of(
    chosen: MetaTensor | None, segmentation: Segmentation | None, label: Label, signed_map: MetaTensor
) -> torch.Tensor:
    """See `Explanation.explained_voxels`."""
    if chosen is not None:
        explained: torch.Tensor = chosen.as_tensor() > 0
    elif segmentation is not None:
        explained = segmentation.labels.as_tensor() == label.value
    else:
        explained = torch.zeros(signed_map.shape, dtype=torch.bool)
    return explained
