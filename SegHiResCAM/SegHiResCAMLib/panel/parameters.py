"""Every choice of the user, typed, and saved with the scene."""
# ruff: noqa: N815 - parameters are named as Slicer names them, and are what scripts say

from dataclasses import MISSING, Field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from SegHiResCAMLib.records.map_check import Fill
from SegHiResCAMLib.records.question import Question, options_of

SEGMENT, DRAWN, ISLAND = "whole segment", "segment as drawn", "island at the crosshair"
POINTS, SPHERE, BOX, IMAGE = "points", "sphere around a point", "box", "whole image"
MISTAKE, FALSE_POSITIVES, FALSE_NEGATIVES = "chosen mistake", "false positives", "false negatives"
TRUE_POSITIVES, RIM = "true positives", "rim"
WITH_REFERENCE = (MISTAKE, FALSE_POSITIVES, FALSE_NEGATIVES, TRUE_POSITIVES)
"""Kinds of regions that only a reference has."""

PIXEL_SETS = [SEGMENT, DRAWN, ISLAND, POINTS, SPHERE, BOX, RIM, *WITH_REFERENCE, IMAGE]

VOLUME, SLICE, RAW = "volume", "slice", "raw"


def camel_case(name: str) -> str:
    """A field's name as Slicer names parameters."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _parameter(one: Field[Any], hint: Any) -> tuple[Any, Any]:
    """Of a field of the question, the type that Slicer's parameter nodes have for it, and its default."""
    default = None if one.default is MISSING else one.default
    if get_origin(hint) is Literal:
        return Annotated[str, Choice(list(get_args(hint)))], default
    if one.metadata["limits"] is not None:
        return Annotated[hint, WithinRange(*one.metadata["limits"])], default
    if get_origin(hint) is tuple:
        return list[str], None
    return (hint, default) if hint in (bool, str) else (str, "")


def _with_the_question(declared: type) -> type:
    """A parameter for each option of the question, but for its region, which nodes of the scene say."""
    hints = get_type_hints(Question)
    for name, one in options_of(Question).items():
        if name == "region":
            continue
        kind, default = _parameter(one, hints[name])
        declared.__annotations__[camel_case(name)] = kind
        if default is not None:
            setattr(declared, camel_case(name), default)
    return declared


@parameterNodeWrapper
@_with_the_question
class SegHiResCAMParameterNode:
    """What the widgets of the panel follow; beside what stands here, the options of `Question`, such as `mode` and `contrastWeight`.

    `segmentId` is the id of a segment of `segmentation`, or one of the model's labels where there is no segmentation. `label` is what the
    model calls it, asked only where the names differ. No `layer` is the suggested one, no `compareWith` compares nothing, no `contrast`
    sets it against nothing. `methodOptions` is JSON: by method and name, what is not as by default. `lowerFraction` hides what lies under it.
    `mistake` is the row of the chosen one in the list of mistakes, -1 for none; `removed` is what the panel offers to remove, as it calls it.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    inputVolume4: vtkMRMLScalarVolumeNode
    modelPath: Path

    segmentation: vtkMRMLSegmentationNode
    segmentId: str = ""
    label: str = ""
    pixelSet: Annotated[str, Choice(PIXEL_SETS)] = SEGMENT
    points: vtkMRMLMarkupsFiducialNode
    roi: vtkMRMLMarkupsROINode
    radius: Annotated[float, WithinRange(1, 500)] = 10.0
    compareWith: str = ""
    live: bool = False

    heatmap: vtkMRMLScalarVolumeNode
    overlayVisible: bool = True
    opacity: Annotated[float, WithinRange(0, 1)] = 0.5
    lowerFraction: Annotated[float, WithinRange(0, 1)] = 0.15
    colorMap: Annotated[str, Choice(["Inferno", "Magma", "Plasma", "Viridis", "Cividis", "Iron", "Rainbow"])] = (
        "Inferno"
    )
    normalisation: Annotated[str, Choice([VOLUME, SLICE, RAW])] = VOLUME
    signed: bool = False
    interpolate: bool = True
    legend: bool = True
    rendering: bool = False
    secondHeatmap: vtkMRMLScalarVolumeNode
    compareViews: bool = False

    regions: vtkMRMLSegmentationNode
    reference: vtkMRMLSegmentationNode
    mistake: int = -1
    removed: str = ""
    fill: Annotated[str, Choice(list(get_args(Fill)))] = "shell"
    whatIf: vtkMRMLSegmentationNode

    exportFolder: Path
    exportFormat: Annotated[str, Choice(["nrrd", "nii.gz"])] = "nrrd"
