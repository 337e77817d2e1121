"""Two heat maps side by side, in linked views of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer

from SegHiResCAMLib.scene.errors import SceneError

LAYOUT = 5391  # MRML's own layouts are numbered below 500
VIEWS = {"SegHiResCAM-A": "Axial", "SegHiResCAM-B": "Axial", "SegHiResCAM-C": "Coronal", "SegHiResCAM-D": "Coronal"}
"""Slice views, row by row, and how they cut; the left column shows the first map, the right one the second."""

_GROUP = 61  # views are linked within a group
_BEFORE = "SegHiResCAM.layoutBefore"


def show_comparison(scene: Any, volume: Any, heatmaps: Sequence[Any], opacity: float) -> None:
    """Arrange the views, and show a map in each column over the volume.

    3D Slicer makes the views when the layout asks for them; call this again when it has, which changes nothing else.

    Args:
        scene: The vtkMRMLScene.
        volume: What lies under both.
        heatmaps: Two volume nodes.
        opacity: Of the maps, 0 to 1.

    Raises:
        SceneError: There are no views to arrange.
    """
    layout = _layout(scene)
    if layout is None:
        sentence = "There are no views to arrange: open 3D Slicer's main window."
        raise SceneError(sentence)
    if layout.GetViewArrangement() != LAYOUT:
        layout.SetAttribute(_BEFORE, str(layout.GetViewArrangement()))
        if not layout.IsLayoutDescription(LAYOUT):
            layout.AddLayoutDescription(LAYOUT, _description())
        layout.SetViewArrangement(LAYOUT)
    for index, name in enumerate(VIEWS):
        view = composite_of(scene, name)
        if view is None:
            continue
        view.SetLinkedControl(True)
        view.SetHotLinkedControl(True)
        view.SetBackgroundVolumeID(volume.GetID())
        view.SetForegroundVolumeID(heatmaps[index % 2].GetID())
        view.SetForegroundOpacity(opacity)
        view.SetCompositing(slicer.vtkMRMLSliceCompositeNode.Alpha)


def hide_comparison(scene: Any) -> None:
    """Arrange the views as they were; does nothing when they are not side by side."""
    layout = _layout(scene)
    before = layout.GetAttribute(_BEFORE) if layout is not None else None
    if before is None:
        return
    layout.RemoveAttribute(_BEFORE)
    if layout.GetViewArrangement() == LAYOUT:
        layout.SetViewArrangement(int(before))


def composite_of(scene: Any, view: str) -> Any:
    """The vtkMRMLSliceCompositeNode of a slice view, None while there is none."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
        if node.GetLayoutName() == view:
            return node
    return None


def _layout(scene: Any) -> Any:
    return scene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _description() -> str:
    items = []
    for name, orientation in VIEWS.items():
        items.append(
            f'<item><view class="vtkMRMLSliceNode" singletontag="{name}">'
            f'<property name="orientation" action="default">{orientation}</property>'
            f'<property name="viewlabel" action="default">{name[-1]}</property>'
            '<property name="viewcolor" action="default">#8C8C8C</property>'
            f'<property name="viewgroup" action="default">{_GROUP}</property></view></item>'
        )
    rows = ["".join(items[:2]), "".join(items[2:])]
    columns = "".join(f'<item><layout type="horizontal">{row}</layout></item>' for row in rows)
    return f'<layout type="vertical">{columns}</layout>'
