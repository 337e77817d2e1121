"""Why did the network segment this? The public Python API of SegHiResCAM.

    from seghirescam import ExplainRequest, explain, open_model, read_volume, write_volume

    volume, model = read_volume("ct-dicom"), open_model("my-bundle")
    explanation = explain(ExplainRequest.of(volume, model, "kidney"))
    write_volume(explanation.heatmap, "heatmap.nrrd")

What is named here stays from one minor version to the next; what lies in `SegHiResCAMLib` may move. Inside 3D Slicer, scripts use the
module's logic instead, `slicer.util.getModuleLogic("SegHiResCAM")`, which computes in a process of its own.
"""

from importlib.metadata import version

from SegHiResCAMLib.engine import (
    Cancelled,
    EngineError,
    ExplainRequest,
    Explanation,
    ExplanationRecord,
    Finding,
    Label,
    Measurements,
    ModelMaps,
    Question,
    Regions,
    RegionShare,
    Segmentation,
    SegmentationModel,
    WhatIf,
    explain,
    explain_models,
    open_model,
    read_regions,
    read_volume,
    segment,
    share_by_region,
    what_if,
    write_volume,
)
from SegHiResCAMLib.engine.cam.any_network import activation_map
from SegHiResCAMLib.kept_memory import keep_memory

__version__ = version("seghirescam")

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
    "activation_map",
    "explain",
    "explain_models",
    "keep_memory",
    "open_model",
    "read_regions",
    "read_volume",
    "segment",
    "share_by_region",
    "what_if",
    "write_volume",
]
