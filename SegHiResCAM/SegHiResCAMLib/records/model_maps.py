"""The maps of several models of one case, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

from SegHiResCAMLib.records.explain_job import MaskFile
from SegHiResCAMLib.records.explanation import ModelReference
from SegHiResCAMLib.records.question import Question


@dataclass(frozen=True, kw_only=True)
class ModelMapsJob:
    """Everything that `compare-models` is given, but where its results go.

    Attributes:
        volumes: Paths, one for each of the models' inputs, in their order.
        models: Files, folders or catalogue names, at least two; the first decides what is explained.
        question: What is asked of each.
        mask: Voxels to explain in place of the segment that the first model predicts.
        series: SeriesInstanceUID, where the volume's folder holds several.
    """

    volumes: tuple[str, ...]
    models: tuple[str, ...]
    question: Question
    mask: MaskFile | None = None
    series: str | None = None


@dataclass(frozen=True)
class ModelMap:
    """The map of one model.

    Attributes:
        model: Which.
        layer: Where it was computed.
        score: Sum of the segment's logits over the explained voxels.
        mean_probability: Of the segment over them; None where it is not defined.
        maximum: Of the map.
    """

    model: ModelReference
    layer: str
    score: float
    mean_probability: float | None
    maximum: float


@dataclass(frozen=True)
class ModelMapsRecord:
    """The maps of several models for the same voxels.

    Attributes:
        segment: That is explained.
        region: Which voxels: chosen once, by the first model.
        method: Title.
        units: Of all maps, their mean, their standard deviation and their difference.
        models: In the order in which they were given.
        deviation: Norm of the map of standard deviations, divided by that of the mean map; None where that is 0.
        difference: Of two models, norm of the second map minus the first, divided by that of the first; None of more, or where that is 0.
        versions: Of the programs.
    """

    segment: str
    region: str
    method: str
    units: str
    models: tuple[ModelMap, ...]
    deviation: float | None
    difference: float | None
    versions: dict[str, str]
