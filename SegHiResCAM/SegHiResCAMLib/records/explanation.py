"""What is answered about a heat map: one record for `explanation.json`, the worker's answer, the node in the scene and the header of a file."""
# ruff: noqa: N815 - schemaVersion is what readers of JSON files look for

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from SegHiResCAMLib.records.input_shares import InputShares
from SegHiResCAMLib.records.map_check import MapCheck
from SegHiResCAMLib.records.mistakes import Comparison
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.region_shares import RegionShare

SCHEMA_VERSION = 2
"""Of `ExplanationRecord`. Version 1 had no number; see `previous.py`."""

LOGIT_UNITS, ARBITRARY_UNITS, SHARE_OF_MAXIMUM = "logit units", "arbitrary units", "share of the maximum"


@dataclass(frozen=True)
class ModelReference:
    """Which model it was.

    Attributes:
        name: For people.
        sha256: Of the weights file.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class MapLayer:
    """The layer of a heat map.

    Attributes:
        name: Dotted path.
        kind: Class name.
        channels: Of its output.
        grid: Feature-map locations along each axis of one window.
        mm: Grid spacing along each axis; empty where it is not known.
        reason: Why this layer.
    """

    name: str
    kind: str
    channels: int
    grid: tuple[int, ...]
    mm: tuple[float, ...]
    reason: str


@dataclass(frozen=True)
class Finding:
    """What to know before believing a heat map.

    Attributes:
        code: A stable identifier in kebab-case, for programs.
        message: For people.
    """

    code: str
    message: str


@dataclass(frozen=True)
class Measurements:
    """Of the positive part h of a heat map, over all voxels of the volume. None: not defined (a blank map, an empty segment).

    Attributes:
        share_inside: Of the sum of h, the part in the explained voxels, 0 to 1.
        share_within_5_mm: The part in them and up to 5 mm away.
        share_within_10_mm: The part in them and up to 10 mm away.
        peak: The highest value, in the map's units; 0 for a blank map.
        peak_ras_mm: Where it is; the first such voxel where there are several.
        effective_volume_ml: (sum h)^2 / sum h^2 voxels, the volume of a uniform map that is as concentrated: the participation ratio
            (Bell & Dean 1970; Kish's effective sample size). It does not depend on the map's units.
        segment_volume_ml: Of the explained voxels, to compare that with.
    """

    share_inside: float | None
    share_within_5_mm: float | None
    share_within_10_mm: float | None
    peak: float
    peak_ras_mm: tuple[float, float, float] | None
    effective_volume_ml: float | None
    segment_volume_ml: float


@dataclass(frozen=True)
class ScoreExplained:
    """How much of the score a map accounts for: its sum beside S(A) - S(A0), with A0 the layer's activations for the blurred image.

    Attributes:
        share: The sum over that difference, 1 for all of it; None where the question does not apply or the difference is 0.
        map_sum: The signed map's sum over the locations of the layer, in all windows; None where the question does not apply.
        score_change: S(A) - S(A0): the decrease of the score with these activations; None where the question does not apply.
        reason: Why the question does not apply; empty where it does.
    """

    share: float | None
    map_sum: float | None = None
    score_change: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class PathIntegral:
    """How an integrated map was computed.

    Attributes:
        baseline: Where the path starts: "blurred", "zero" or "air".
        steps: Passes along the path, in the window that took the most.
        error: |sum of the map / (S(A) - S(A0)) - 1| with A0 of this baseline; None where the score does not change.
    """

    baseline: Literal["blurred", "zero", "air"]
    steps: int
    error: float | None


@dataclass(frozen=True, kw_only=True)
class ExplanationRecord:
    """A heat map without its voxels, and all that is needed to compute it again. Nothing of the patient is in it.

    Attributes:
        schemaVersion: Of this form.
        question: What was asked.
        model: Of which model.
        method: Title of the method.
        region: What was explained, for people.
        mode: "volumetric", or "slice-wise" and the slices' direction.
        units: Of the map's values.
        layer: Where the map was computed.
        score: S, the sum of the class's logits over the explained voxels; None where it is not finite.
        mean_probability: Of the class over the explained voxels, weighted as they count; None where it does not apply.
        voxel_count: Explained voxels on the model's grid.
        maximum: Of the map.
        minimum: Of the signed map.
        peak_ras_mm: Where the maximum is, RAS millimetres.
        measurements: Where the map lies; None where it was not measured.
        regions: How it is spread over anatomical regions, the shells around them, and the rest; empty where nobody asked for it.
        score_explained: How much of the score it accounts for; None where it was not measured.
        path_integral: Of integrated maps, how; None for others.
        windows: Windows, or slices, of the whole volume.
        windows_touched: Of these, the ones that the explained voxels touch.
        findings: What to know before believing the map, the gravest first.
        timings_s: Seconds of each step.
        segmented_by: What computed the segmentation, PyTorch or OpenVINO, and why; empty where the explanation's own passes decided it.
        explained_by: What computed the map, PyTorch or OpenVINO, and how far they were from each other on a window.
        versions: Of this program, torch and MONAI.
        comparison: Of the segmentation with a reference; None where there is none.
        check: What was found when the map was checked; None where it was not.
        input_shares: How the score is divided among the model's input images; None where nobody asked for it.
        compared_with: Further maps of the same segment that were computed beside this one.
        files: Names of the files beside `explanation.json` that belong to the result.
        result_folders: The folders of a result that has several segments.
    """

    schemaVersion: int = SCHEMA_VERSION
    question: Question
    model: ModelReference
    method: str
    region: str
    mode: str
    units: str
    layer: MapLayer
    score: float | None
    mean_probability: float | None
    voxel_count: int
    maximum: float
    minimum: float
    peak_ras_mm: tuple[float, float, float]
    measurements: Measurements | None = None
    regions: tuple[RegionShare, ...] = ()
    score_explained: ScoreExplained | None = None
    path_integral: PathIntegral | None = None
    windows: int = 0
    windows_touched: int = 0
    segmented_by: str = ""
    explained_by: str = ""
    findings: tuple[Finding, ...] = ()
    timings_s: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    comparison: Comparison | None = None
    check: MapCheck | None = None
    input_shares: InputShares | None = None
    compared_with: tuple[ExplanationRecord, ...] = ()
    files: tuple[str, ...] = ()
    result_folders: tuple[str, ...] = ()
