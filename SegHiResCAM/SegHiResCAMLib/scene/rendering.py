"""A heat map as a cloud in the 3D views, inside the translucent surface of its segmentation.

The cloud is transparent up to the display threshold, and denser towards the maximum. What the segmentation's display was before is kept in
its attributes, as `overlay` does. The surface takes time to be made: `missing_surface` says so, and `add_surface` takes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from SegHiResCAMLib.scene.appearance import Appearance
from SegHiResCAMLib.scene.heatmap import SEGMENTATION
from SegHiResCAMLib.scene.surfaces import Surfaces, add_surfaces, has_surfaces

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLVolumeRenderingDisplayNode

DENSEST = 0.35
"""Opacity of the maximum, over one unit of distance: what lies behind stays visible."""

SURFACE_OPACITY = 0.25
"""Of the segmentation around the cloud."""

_SAVED = "SegHiResCAM.in3D."  # attributes that hold what the segmentation's display was before
_MADE = _SAVED + "madeSurface"  # attribute: the surface was made for this only

_STEPS = 16


def show_rendering(heatmap: vtkMRMLScalarVolumeNode, look: Appearance) -> vtkMRMLVolumeRenderingDisplayNode:
    """Show a heat map in 3D, inside the surface of its segmentation where that has been made.

    Returns:
        The vtkMRMLVolumeRenderingDisplayNode.
    """
    scene = heatmap.GetScene()
    display = _rendering_of(heatmap)
    if display is None:
        display = scene.AddNewNodeByClass("vtkMRMLGPURayCastVolumeRenderingDisplayNode")
        properties = scene.AddNewNodeByClass("vtkMRMLVolumePropertyNode", f"{heatmap.GetName()} in 3D")
        display.SetAndObserveVolumePropertyNodeID(properties.GetID())
        heatmap.AddAndObserveDisplayNodeID(display.GetID())
    table = heatmap.GetDisplayNode().GetColorNode()
    lookup = table.GetLookupTable()
    volume_property = display.GetVolumePropertyNode().GetVolumeProperty()
    opacity, colors = volume_property.GetScalarOpacity(), volume_property.GetRGBTransferFunction()
    opacity.RemoveAllPoints()
    colors.RemoveAllPoints()
    start, end = (-look.upper, look.upper) if look.signed else (0.0, look.upper)
    for step in range(_STEPS + 1):
        value = start + (end - start) * step / _STEPS
        entry = lookup.GetTableValue(round(step / _STEPS * (lookup.GetNumberOfTableValues() - 1)))
        colors.AddRGBPoint(value, *entry[:3])
    hidden = look.lower_fraction * look.upper
    if look.signed:
        opacity.AddPoint(-look.upper, DENSEST)
        opacity.AddPoint(-hidden, 0.0)
    opacity.AddPoint(hidden, 0.0)
    opacity.AddPoint(look.upper, DENSEST)
    display.SetVisibility(True)
    segmentation = heatmap.GetNodeReference(SEGMENTATION)
    if segmentation is not None and has_surfaces(segmentation):
        _show_surface(segmentation)
    return display


def missing_surface(heatmap: vtkMRMLScalarVolumeNode) -> vtkMRMLSegmentationNode | None:
    """The segmentation around a heat map, where its surface must still be made."""
    segmentation: vtkMRMLSegmentationNode | None = heatmap.GetNodeReference(SEGMENTATION)
    return None if segmentation is None or has_surfaces(segmentation) else segmentation


def add_surface(segmentation: vtkMRMLSegmentationNode, surfaces: Surfaces | None) -> None:
    """Give a segmentation its surface, for as long as it is shown around a heat map; see `surfaces.add_surfaces`."""
    segmentation.CreateDefaultDisplayNodes()
    segmentation.GetDisplayNode().SetAttribute(_MADE, "1")
    add_surfaces(segmentation, surfaces)


def is_rendered(heatmap: vtkMRMLScalarVolumeNode) -> bool:
    """Whether a heat map is shown in 3D."""
    display = _rendering_of(heatmap)
    return display is not None and bool(display.GetVisibility())


def hide_rendering(heatmap: vtkMRMLScalarVolumeNode) -> None:
    """Take it out of the 3D views; does nothing when it is in none."""
    display = _rendering_of(heatmap)
    if display is None or not display.GetVisibility():
        return
    display.SetVisibility(False)
    segmentation = heatmap.GetNodeReference(SEGMENTATION)
    if segmentation is not None:
        _restore_surface(segmentation)


def _show_surface(segmentation: vtkMRMLSegmentationNode) -> None:
    segmentation.CreateDefaultDisplayNodes()
    display = segmentation.GetDisplayNode()
    if display.GetAttribute(_SAVED + "opacity") is not None:
        return
    display.SetAttribute(_SAVED + "opacity", repr(display.GetOpacity3D()))
    display.SetAttribute(_SAVED + "visibility", str(int(display.GetVisibility3D())))
    display.SetOpacity3D(SURFACE_OPACITY)
    display.SetVisibility3D(True)


def _restore_surface(segmentation: vtkMRMLSegmentationNode) -> None:
    display = segmentation.GetDisplayNode()
    if display is None or display.GetAttribute(_SAVED + "opacity") is None:
        return
    display.SetOpacity3D(float(display.GetAttribute(_SAVED + "opacity")))
    display.SetVisibility3D(display.GetAttribute(_SAVED + "visibility") == "1")
    if display.GetAttribute(_MADE) is not None:  # or it would be seen where nothing was
        segmentation.RemoveClosedSurfaceRepresentation()
        display.RemoveAttribute(_MADE)
    for name in ("opacity", "visibility"):
        display.RemoveAttribute(_SAVED + name)


def _rendering_of(heatmap: vtkMRMLScalarVolumeNode) -> vtkMRMLVolumeRenderingDisplayNode | None:
    nodes = [heatmap.GetNthDisplayNode(index) for index in range(heatmap.GetNumberOfDisplayNodes())]
    return next((node for node in nodes if node and node.IsA("vtkMRMLVolumeRenderingDisplayNode")), None)
