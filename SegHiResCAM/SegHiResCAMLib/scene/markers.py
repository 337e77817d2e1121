"""What is drawn over the images to show where a region is: spheres and boxes as outlines, the crosshair, the voxel that was explained last.

The nodes made here are this session's: they are hidden from lists and not saved with the scene.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import vtk

from SegHiResCAMLib.scene.volumes import Array

if TYPE_CHECKING:
    from slicer import vtkMRMLCrosshairNode, vtkMRMLMarkupsROINode, vtkMRMLScene

MARKER = "SegHiResCAM.marker"
"""Attribute of such a node: what it marks."""

SPHERE, LIVE = "sphere", "live"
COLOR = (1.0, 0.85, 0.2)  # seen on dark and bright tissue, and not in the default colours of heat maps' ends

_BEFORE = "SegHiResCAM.crosshairBefore"  # attribute of the crosshair: its mode before it was shown
_NONE, _SMALL = "NoCrosshair", "ShowSmallBasic"  # modes
_FACETS = 48  # around a sphere


def show_sphere(scene: vtkMRMLScene, centre: Array, radius: float) -> None:
    """Outline a ball in the slice views: its cut with each of them; centre in RAS millimetres of the scene, radius in mm."""
    source = vtk.vtkSphereSource()
    source.SetCenter(*map(float, centre))
    source.SetRadius(radius)
    source.SetThetaResolution(_FACETS)
    source.SetPhiResolution(_FACETS)
    source.Update()
    node = marker_of(scene, SPHERE) or _add(scene, "vtkMRMLModelNode", SPHERE)
    node.SetAndObservePolyData(source.GetOutput())
    display = node.GetDisplayNode()
    display.SetColor(*COLOR)
    display.SetOpacity(0.25)  # in 3D
    display.SetVisibility2D(True)
    display.SetSliceIntersectionThickness(2)


def mark_point(scene: vtkMRMLScene, place: Array, text: str) -> None:
    """Mark a point of the scene, RAS millimetres, with a few words beside it; there is one such mark."""
    node = marker_of(scene, LIVE) or _add(scene, "vtkMRMLMarkupsFiducialNode", LIVE)
    node.RemoveAllControlPoints()
    node.AddControlPointWorld([float(one) for one in place], text)
    node.SetLocked(True)
    display = node.GetDisplayNode()
    display.SetGlyphTypeFromString("Cross2D")
    display.SetSelectedColor(*COLOR)
    display.SetTextScale(2.5)


def remove_marker(scene: vtkMRMLScene, kind: str) -> None:
    """Take a mark away; does nothing where there is none."""
    node = marker_of(scene, kind)
    if node is not None:
        display = node.GetDisplayNode()
        scene.RemoveNode(node)
        if display is not None and display.GetScene() is scene:
            scene.RemoveNode(display)


def marker_of(scene: vtkMRMLScene, kind: str) -> Any:
    """The node of a mark; None where there is none."""
    for class_name in ("vtkMRMLModelNode", "vtkMRMLMarkupsFiducialNode"):
        for index in range(scene.GetNumberOfNodesByClass(class_name)):
            node = scene.GetNthNodeByClass(index, class_name)
            if node.GetAttribute(MARKER) == kind:
                return node
    return None


def outline_box(box: vtkMRMLMarkupsROINode) -> None:
    """Show a box by its edges alone, since a fill would cover the heat map."""
    box.CreateDefaultDisplayNodes()
    display = box.GetDisplayNode()
    display.SetFillVisibility(False)
    display.SetOutlineVisibility(True)


def show_crosshair(crosshair: vtkMRMLCrosshairNode) -> None:
    """Show where the crosshair stands, if it is not shown."""
    if crosshair.GetAttribute(_BEFORE) is None:
        mode = crosshair.GetCrosshairModeAsString(crosshair.GetCrosshairMode())
        crosshair.SetAttribute(_BEFORE, mode)
        if mode == _NONE:
            crosshair.SetCrosshairMode(crosshair.GetCrosshairModeFromString(_SMALL))


def restore_crosshair(crosshair: vtkMRMLCrosshairNode) -> None:
    """Show the crosshair as it was before `show_crosshair`, unless somebody has changed it; does nothing otherwise."""
    before = crosshair.GetAttribute(_BEFORE)
    if before is None:
        return
    crosshair.RemoveAttribute(_BEFORE)
    if before == _NONE and crosshair.GetCrosshairModeAsString(crosshair.GetCrosshairMode()) == _SMALL:
        crosshair.SetCrosshairMode(crosshair.GetCrosshairModeFromString(_NONE))


def _add(scene: vtkMRMLScene, class_name: str, kind: str) -> Any:
    node = scene.CreateNodeByClass(class_name)
    node.UnRegister(None)
    node.SetName(f"Marker ({kind})")
    node.SetAttribute(MARKER, kind)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetSaveWithScene(False)
    return node
