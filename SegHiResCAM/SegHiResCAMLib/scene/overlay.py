"""The heat map over the images in the slice views: switched on, and off again with all as it was.

What was shown before is kept in the scene itself, as attributes and references of the nodes that were changed, so that
it survives a second call, a saved scene, and a new session. Whatever the user changes meanwhile is the user's: it is neither overwritten
nor put back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.provenance import METHOD
from SegHiResCAMLib.scene.comparison import VIEWS
from SegHiResCAMLib.scene.view_layers import ViewLayers, layers_of, set_layers
from SegHiResCAMLib.scene.volumes import Array

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLScalarVolumeNode,
        vtkMRMLScene,
        vtkMRMLSegmentationDisplayNode,
        vtkMRMLSliceCompositeNode,
        vtkMRMLSliceNode,
    )

_SAVED = "SegHiResCAM.overlay."  # attributes and reference roles that hold what was shown before
_LAYERS = ("Background", "Foreground")
_SHOWN = _SAVED + "Shown"  # reference role: the heat map that was put into the view


def show_overlay(
    scene: vtkMRMLScene, volume: vtkMRMLScalarVolumeNode, heatmap: vtkMRMLScalarVolumeNode, opacity: float = 0.5
) -> None:
    """Show a heat map over a volume in every slice view, and visible segmentations as outlines, since fills would hide it.

    Layers that the user has changed since this map was shown stay as they are.

    Args:
        scene: The vtkMRMLScene.
        volume: What lies under the map.
        heatmap: The map's volume node.
        opacity: Of the heat map, 0 to 1.
    """
    for view in _views(scene):
        again = _shown_in(view) == heatmap.GetID()
        if again and view.GetForegroundVolumeID() != heatmap.GetID():
            continue
        _save_view(view)
        view.SetNodeReferenceID(_SHOWN, heatmap.GetID())
        background = view.GetBackgroundVolumeID() if again else volume.GetID()
        set_layers(view, ViewLayers(background, heatmap.GetID(), opacity))
    for display in outlined_displays(scene):
        _outline(display)


def show_volume(scene: vtkMRMLScene, volume: vtkMRMLScalarVolumeNode) -> None:
    """Show a volume, and nothing over it, in every slice view; 3D Slicer does so with whatever is loaded."""
    for view in _views(scene):
        set_layers(view, layers_of(view)._replace(background=volume.GetID(), foreground=None))


def hide_overlay(scene: vtkMRMLScene) -> None:
    """Show in every slice view what was there before `show_overlay`; does nothing when no overlay is shown."""
    for view in _views(scene):
        _restore_view(view)
    for display in _nodes(scene, "vtkMRMLSegmentationDisplayNode"):
        _restore_fill(display)


def shown_heatmap(scene: vtkMRMLScene) -> vtkMRMLScalarVolumeNode | None:
    """The heat map that the slice views show, whoever put it there; None where they show none."""
    for view in _views(scene):
        node: vtkMRMLScalarVolumeNode | None = scene.GetNodeByID(view.GetForegroundVolumeID() or "")
        if node is not None and node.GetAttribute(METHOD) is not None and not node.GetHideFromEditors():
            return node
    return None


def views_showing(scene: vtkMRMLScene, heatmap: vtkMRMLScalarVolumeNode) -> list[vtkMRMLSliceNode]:
    """The slice views that have a heat map over their volume, those of a comparison too."""
    views = [
        view for view in _nodes(scene, "vtkMRMLSliceCompositeNode") if view.GetForegroundVolumeID() == heatmap.GetID()
    ]
    names = [view.GetLayoutName() for view in views]
    return [node for node in _nodes(scene, "vtkMRMLSliceNode") if node.GetLayoutName() in names]


def opacity_of(scene: vtkMRMLScene, heatmap: vtkMRMLScalarVolumeNode) -> float | None:
    """How opaque a heat map is in the first slice view that shows it; None where none does."""
    shown = [view for view in _views(scene) if view.GetForegroundVolumeID() == heatmap.GetID()]
    return shown[0].GetForegroundOpacity() if shown else None


def outlined_displays(scene: vtkMRMLScene) -> list[vtkMRMLSegmentationDisplayNode]:
    """The displays of segmentations that would cover a heat map if they were filled."""
    return [display for display in _nodes(scene, "vtkMRMLSegmentationDisplayNode") if display.GetVisibility()]


def jump_slices(scene: vtkMRMLScene, ras: Array) -> None:
    """Move every slice view to a point in RAS millimetres, without panning.

    `SetSliceOffset` would take the negative of R in a sagittal view; jumping takes RAS in all of them.
    """
    for view in _nodes(scene, "vtkMRMLSliceNode"):
        view.JumpSliceByOffsetting(*map(float, ras))


def _nodes(scene: vtkMRMLScene, class_name: str) -> list[Any]:
    return [scene.GetNthNodeByClass(index, class_name) for index in range(scene.GetNumberOfNodesByClass(class_name))]


def _views(scene: vtkMRMLScene) -> list[vtkMRMLSliceCompositeNode]:
    """All but those that compare two maps, which are this module's own."""
    return [view for view in _nodes(scene, "vtkMRMLSliceCompositeNode") if view.GetLayoutName() not in VIEWS]


def _shown_in(view: vtkMRMLSliceCompositeNode) -> str | None:
    shown: str | None = view.GetNodeReferenceID(_SHOWN)
    return shown


def _save_view(view: vtkMRMLSliceCompositeNode) -> None:
    if view.GetAttribute(_SAVED + "opacity") is not None:
        return  # an overlay is shown already: what is saved is what was there before it
    before = layers_of(view)
    for layer, node_id in zip(_LAYERS, before, strict=False):
        view.SetNodeReferenceID(_SAVED + layer, node_id)
    view.SetAttribute(_SAVED + "compositing", str(before.compositing))
    view.SetAttribute(_SAVED + "opacity", repr(before.opacity))


def _restore_view(view: vtkMRMLSliceCompositeNode) -> None:
    if view.GetAttribute(_SAVED + "opacity") is None:
        return
    foreground = view.GetForegroundVolumeID()
    background, shown = (view.GetNodeReferenceID(_SAVED + layer) for layer in _LAYERS)
    before = ViewLayers(
        background,
        shown,
        float(view.GetAttribute(_SAVED + "opacity")),
        int(view.GetAttribute(_SAVED + "compositing")),
    )
    if foreground is None or foreground == _shown_in(view) or _shown_in(view) is None:
        set_layers(view, before)
    for role in (*(_SAVED + layer for layer in _LAYERS), _SHOWN):
        view.SetNodeReferenceID(role, None)
    for name in ("compositing", "opacity"):
        view.RemoveAttribute(_SAVED + name)


def _outline(display: vtkMRMLSegmentationDisplayNode) -> None:
    if display.GetAttribute(_SAVED + "fill") is None:
        display.SetAttribute(_SAVED + "fill", str(int(display.GetVisibility2DFill())))
        display.SetAttribute(_SAVED + "outline", str(int(display.GetVisibility2DOutline())))
        display.SetVisibility2DFill(False)
        display.SetVisibility2DOutline(True)


def _restore_fill(display: vtkMRMLSegmentationDisplayNode) -> None:
    if display.GetAttribute(_SAVED + "fill") is None:
        return
    if not display.GetVisibility2DFill():
        display.SetVisibility2DFill(display.GetAttribute(_SAVED + "fill") == "1")
        display.SetVisibility2DOutline(display.GetAttribute(_SAVED + "outline") == "1")
    for name in ("fill", "outline"):
        display.RemoveAttribute(_SAVED + name)
