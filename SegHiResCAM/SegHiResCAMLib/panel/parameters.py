"""Every choice of the user, typed, and saved with the scene."""
# ruff: noqa: N815 - parameters are named as Slicer names them, and are what scripts say

from pathlib import Path
from typing import Annotated

from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

SEGMENT, DRAWN, ISLAND = "whole segment", "segment as drawn", "island at the crosshair"
POINTS, SPHERE, BOX, IMAGE = "points", "sphere around a point", "box", "whole image"
PIXEL_SETS = [SEGMENT, DRAWN, ISLAND, POINTS, SPHERE, BOX, IMAGE]

VOLUME, SLICE, RAW = "volume", "slice", "raw"


@parameterNodeWrapper
class SegHiResCAMParameterNode:
    """What the widgets of the panel follow.

    `segmentId` is the id of a segment of `segmentation`, or one of the model's labels where there is no segmentation. `label` is what the
    model calls it, asked only where the names differ. No `layer` is the suggested one, no `compareWith` compares nothing, no `contrast`
    sets it against nothing. `methodOptions` is JSON: by method and name, what is not as by default. `lowerFraction` hides what lies under it.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    inputVolume2: vtkMRMLScalarVolumeNode
    inputVolume3: vtkMRMLScalarVolumeNode
    inputVolume4: vtkMRMLScalarVolumeNode
    modelPath: Path

    mode: Annotated[str, Choice(["auto", "slice-wise", "volumetric"])] = "auto"
    axis: Annotated[str, Choice(["auto", "axial", "coronal", "sagittal"])] = "auto"
    device: Annotated[str, Choice(["auto", "cuda", "mps", "cpu"])] = "auto"

    segmentation: vtkMRMLSegmentationNode
    segmentId: str = ""
    label: str = ""
    pixelSet: Annotated[str, Choice(PIXEL_SETS)] = SEGMENT
    points: vtkMRMLMarkupsFiducialNode
    roi: vtkMRMLMarkupsROINode
    radius: Annotated[float, WithinRange(1, 500)] = 10.0
    method: str = "seg-hires-grad-cam"
    compareWith: str = ""
    layer: str = ""
    contrast: str = ""
    contrastWeight: Annotated[float, WithinRange(0, 10)] = 1.0
    refineWith: list[str]
    refine: Annotated[str, Choice(["product", "mean"])] = "product"
    methodOptions: str = ""
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

    exportFolder: Path
    exportFormat: Annotated[str, Choice(["nrrd", "nii.gz"])] = "nrrd"
