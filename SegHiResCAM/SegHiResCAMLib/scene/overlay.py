"""The heat map over the images in the slice views: switched on, and off again with all as it was.

What was shown before is kept in the scene itself, as attributes and references of the nodes that were changed, so that
it survives a second call, a saved scene, and a new session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer

from SegHiResCAMLib.scene.volumes import Array

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLScalarVolumeNode,
        vtkMRMLScene,
        vtkMRMLSegmentationDisplayNode,
        vtkMRMLSegmentationNode,
        vtkMRMLSliceCompositeNode,
    )

_SAVED = "SegHiResCAM.overlay."  # attributes and reference roles that hold what was shown before
_LAYERS = ("Background", "Foreground")


def show_overlay(
    scene: vtkMRMLScene,
    volume: vtkMRMLScalarVolumeNode,
    heatmap: vtkMRMLScalarVolumeNode,
    segmentation: vtkMRMLSegmentationNode | None = None,
    opacity: float = 0.5,
) -> None:
    """Show a heat map over a volume in every slice view, and the segmentation as outlines, since a fill would hide it.

    Args:
        scene: The vtkMRMLScene.
        volume: What lies under the map.
        heatmap: The map's volume node.
        segmentation: The vtkMRMLSegmentationNode to outline; None leaves segmentations as they are.
        opacity: Of the heat map, 0 to 1.
    """
    for view in _nodes(scene, "vtkMRMLSliceCompositeNode"):
        _save_view(view)
        view.SetBackgroundVolumeID(volume.GetID())
        view.SetForegroundVolumeID(heatmap.GetID())
        view.SetForegroundOpacity(opacity)
        view.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Alpha)
    outlined = segmentation.GetDisplayNode() if segmentation is not None else None
    for display in _nodes(scene, "vtkMRMLSegmentationDisplayNode"):
        if display is not outlined:
            _restore_fill(display)
    if outlined is not None:
        _save_fill(outlined)
        outlined.SetVisibility2DFill(False)
        outlined.SetVisibility2DOutline(True)


def hide_overlay(scene: vtkMRMLScene) -> None:
    """Show in every slice view what was there before `show_overlay`; does nothing when no overlay is shown."""
    for view in _nodes(scene, "vtkMRMLSliceCompositeNode"):
        _restore_view(view)
    for display in _nodes(scene, "vtkMRMLSegmentationDisplayNode"):
        _restore_fill(display)


def jump_slices(scene: vtkMRMLScene, ras: Array) -> None:
    """Move every slice view to a point in RAS millimetres, without panning.

    `SetSliceOffset` would take the negative of R in a sagittal view; jumping takes RAS in all of them.
    """
    for view in _nodes(scene, "vtkMRMLSliceNode"):
        view.JumpSliceByOffsetting(*map(float, ras))


def _nodes(scene: vtkMRMLScene, class_name: str) -> list[Any]:
    return [scene.GetNthNodeByClass(index, class_name) for index in range(scene.GetNumberOfNodesByClass(class_name))]


def _save_view(view: vtkMRMLSliceCompositeNode) -> None:
    if view.GetAttribute(_SAVED + "opacity") is not None:
        return  # an overlay is shown already: what is saved is what was there before it
    for layer in _LAYERS:
        view.SetNodeReferenceID(_SAVED + layer, getattr(view, f"Get{layer}VolumeID")())
    view.SetAttribute(_SAVED + "compositing", str(view.GetCompositing()))
    view.SetAttribute(_SAVED + "opacity", repr(view.GetForegroundOpacity()))


def _restore_view(view: vtkMRMLSliceCompositeNode) -> None:
    if view.GetAttribute(_SAVED + "opacity") is None:
        return
    for layer in _LAYERS:
        getattr(view, f"Set{layer}VolumeID")(view.GetNodeReferenceID(_SAVED + layer))
        view.SetNodeReferenceID(_SAVED + layer, None)
    view.SetCompositing(int(view.GetAttribute(_SAVED + "compositing")))
    view.SetForegroundOpacity(float(view.GetAttribute(_SAVED + "opacity")))
    for name in ("compositing", "opacity"):
        view.RemoveAttribute(_SAVED + name)


def _save_fill(display: vtkMRMLSegmentationDisplayNode) -> None:
    if display.GetAttribute(_SAVED + "fill") is None:
        display.SetAttribute(_SAVED + "fill", str(int(display.GetVisibility2DFill())))
        display.SetAttribute(_SAVED + "outline", str(int(display.GetVisibility2DOutline())))


def _restore_fill(display: vtkMRMLSegmentationDisplayNode) -> None:
    if display.GetAttribute(_SAVED + "fill") is None:
        return
    display.SetVisibility2DFill(display.GetAttribute(_SAVED + "fill") == "1")
    display.SetVisibility2DOutline(display.GetAttribute(_SAVED + "outline") == "1")
    for name in ("fill", "outline"):
        display.RemoveAttribute(_SAVED + name)
