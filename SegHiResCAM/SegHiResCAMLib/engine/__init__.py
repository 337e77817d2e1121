"""The computation: volumes, models, segmentation and heat maps; may import torch, monai, SimpleITK and numpy, never Slicer, VTK or Qt."""

from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.explain import explain
from SegHiResCAMLib.engine.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.models import Label, SegmentationModel, open_model
from SegHiResCAMLib.engine.segmentation import Segmentation, segment
from SegHiResCAMLib.engine.volume import read_volume, write_volume

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
