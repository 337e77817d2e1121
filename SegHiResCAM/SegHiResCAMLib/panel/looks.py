"""How heat maps look by the choices of the panel: colours, range, what is hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.panel.parameters import RAW, SLICE
from SegHiResCAMLib.provenance import METHOD
from SegHiResCAMLib.scene.appearance import Appearance
from SegHiResCAMLib.scene.heatmap import explanation_of, heatmap_maximum, heatmaps_of
from SegHiResCAMLib.scene.per_slice import PER_SLICE

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode


def is_signed(parameters: Any) -> bool:
    """Whether values below 0 are shown."""
    return bool(parameters.signed and parameters.normalisation != SLICE)


def image_of(parameters: Any, heatmap: vtkMRMLScalarVolumeNode | None) -> Any:
    """The node that stands for a heat map in the views: itself, or its companion with one range a slice."""
    if heatmap is None or parameters.normalisation != SLICE:
        return heatmap
    return heatmap.GetNodeReference(PER_SLICE) or heatmap


def look_of(parameters: Any, heatmap: vtkMRMLScalarVolumeNode) -> Appearance:
    """How a heat map shall look."""
    return Appearance(
        upper=1.0 if image_of(parameters, heatmap) is not heatmap else _upper(parameters, heatmap),
        colors=parameters.colorMap,
        lower_fraction=parameters.lowerFraction,
        signed=is_signed(parameters),
        interpolate=parameters.interpolate,
        legend=parameters.legend,
    )


def _upper(parameters: Any, heatmap: vtkMRMLScalarVolumeNode) -> float:
    """Of the range: over this map, or over all maps that shall compare. Values of different methods differ by orders of magnitude."""
    compared = [heatmap]
    if parameters.normalisation == RAW:
        compared = heatmaps_of(heatmap.GetScene())
    elif parameters.compareViews and parameters.secondHeatmap is not None:
        both = [parameters.heatmap, parameters.secondHeatmap]
        compared = both if len({one.GetAttribute(METHOD) for one in both}) == 1 else compared
    return max(_largest(parameters, one) for one in compared) or 1.0


def _largest(parameters: Any, heatmap: vtkMRMLScalarVolumeNode) -> float:
    highest = heatmap_maximum(heatmap)
    record = explanation_of(heatmap)
    return max(highest, -record.minimum) if is_signed(parameters) and record is not None else highest
