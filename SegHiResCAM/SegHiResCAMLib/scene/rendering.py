"""A heat map as a cloud in the 3D views: transparent up to the display threshold, denser towards the maximum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from SegHiResCAMLib.scene.appearance import Appearance

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLVolumeRenderingDisplayNode

DENSEST = 0.35
"""Opacity of the maximum, over one unit of distance: what lies behind stays visible."""

_STEPS = 16


def show_rendering(heatmap: vtkMRMLScalarVolumeNode, look: Appearance) -> vtkMRMLVolumeRenderingDisplayNode:
    """Show a heat map in 3D.

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
    return display


def hide_rendering(heatmap: vtkMRMLScalarVolumeNode) -> None:
    """Take it out of the 3D views; does nothing when it is in none."""
    display = _rendering_of(heatmap)
    if display is not None:
        display.SetVisibility(False)


def _rendering_of(heatmap: vtkMRMLScalarVolumeNode) -> vtkMRMLVolumeRenderingDisplayNode | None:
    nodes = [heatmap.GetNthDisplayNode(index) for index in range(heatmap.GetNumberOfDisplayNodes())]
    return next((node for node in nodes if node and node.IsA("vtkMRMLVolumeRenderingDisplayNode")), None)
