"""The computation: volumes, models, segmentation and heat maps; may import torch, monai, SimpleITK and numpy, never Slicer, VTK or Qt."""

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.answer.region_shares import share_by_region
from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.evidence.several_models import ModelMaps, explain_models
from SegHiResCAMLib.engine.evidence.what_if import WhatIf, what_if
from SegHiResCAMLib.engine.images.region_files import Regions, read_regions
from SegHiResCAMLib.engine.images.volume import read_volume, write_volume
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, segment
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.records.explanation import ExplanationRecord, Finding, Measurements
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.region_shares import RegionShare

__all__ = [
    "Cancelled",
    "EngineError",
    "ExplainRequest",
    "Explanation",
    "ExplanationRecord",
    "Finding",
    "Label",
    "Measurements",
    "ModelMaps",
    "Question",
    "RegionShare",
    "Regions",
    "Segmentation",
    "SegmentationModel",
    "WhatIf",
    "explain",
    "explain_models",
    "open_model",
    "read_regions",
    "read_volume",
    "segment",
    "share_by_region",
    "what_if",
    "write_volume",
]
