"""The computation: volumes, models, segmentation and heat maps; may import torch, monai, SimpleITK and numpy, never Slicer, VTK or Qt."""

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.images.volume import read_volume, write_volume
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, segment
from SegHiResCAMLib.engine.models import Label, SegmentationModel, open_model

__all__ = [
    "Cancelled",
    "EngineError",
    "ExplainRequest",
    "Explanation",
    "Label",
    "Segmentation",
    "SegmentationModel",
    "explain",
    "open_model",
    "read_volume",
    "segment",
    "write_volume",
]
