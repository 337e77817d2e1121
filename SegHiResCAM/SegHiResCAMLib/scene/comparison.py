"""Two heat maps side by side, in linked views of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import slicer

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import peak_position
from SegHiResCAMLib.scene.view_layers import ViewLayers, set_layers
from SegHiResCAMLib.scene.volumes import Array

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLLayoutNode,
        vtkMRMLScalarVolumeNode,
        vtkMRMLScene,
        vtkMRMLSliceCompositeNode,
        vtkMRMLSliceNode,
    )

LAYOUT = 5391  # MRML's own layouts are numbered below 500
VIEWS = {"SegHiResCAM-A": "Axial", "SegHiResCAM-B": "Axial", "SegHiResCAM-C": "Coronal", "SegHiResCAM-D": "Coronal"}
"""Slice views, row by row, and how they cut; the left column shows the first map, the right one the second."""

LEGEND_VIEWS = tuple(VIEWS)[:2]
"""Of each column, the one view that shows its map's legend."""

_GREY = (140 / 255, 140 / 255, 140 / 255)
_GROUP = 61  # views are linked within a group
_BEFORE = "SegHiResCAM.layoutBefore"
_PLACED = "SegHiResCAM.placedFor"  # attribute of a view: the volume that it was last moved to


def offer_layout(scene: vtkMRMLScene) -> None:
    """Tell a scene's views of the arrangement; called once 3D Slicer has started.

    3D Slicer keeps an arrangement's number in scenes and in its settings, but not what it means: without this, a scene that was saved side
    by side would open without any view, and so would 3D Slicer itself.
    """
    layout = _layout(scene)
    if layout is None or layout.IsLayoutDescription(LAYOUT):
        return
    layout.AddLayoutDescription(LAYOUT, _description())
    if layout.GetViewArrangement() == LAYOUT:  # that of the last session, whose maps are gone
        layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)


def show_comparison(
    scene: vtkMRMLScene, volume: vtkMRMLScalarVolumeNode, heatmaps: Sequence[vtkMRMLScalarVolumeNode], opacity: float
) -> None:
    """Arrange the views, and show a map in each column over the volume.

    3D Slicer makes the views when the layout asks for them; call this again when it has laid them out. Afterwards the views are the user's.

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
        message = "There are no views to arrange. Open 3D Slicer's main window."
        raise SceneError(message)
    arranged = is_side_by_side(scene)
    if not arranged:
        layout.SetAttribute(_BEFORE, str(layout.GetViewArrangement()))
        offer_layout(scene)
        layout.SetViewArrangement(LAYOUT)
    elif (
        layout.GetAttribute(_BEFORE) is None
    ):  # the user has chosen it in the menu of layouts, which keeps no former one
        layout.SetAttribute(_BEFORE, str(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView))
    for index, name in enumerate(VIEWS):
        view = composite_of(scene, name)
        if view is None:
            continue
        if view.GetAttribute(_PLACED) != volume.GetID():
            _place(scene.GetSingletonNode(name, "vtkMRMLSliceNode"), volume, peak_position(heatmaps[0]).position)
            if arranged:  # 3D Slicer itself moves a view once more when it is first laid out
                view.SetAttribute(_PLACED, volume.GetID())
        view.SetLinkedControl(True)
        view.SetHotLinkedControl(True)
        set_layers(view, ViewLayers(volume.GetID(), heatmaps[index % 2].GetID(), opacity))


def prepare_comparison(scene: vtkMRMLScene) -> bool:
    """Add one of the views that are not there yet, so that the first comparison need not wait for all of them.

    Returns:
        Whether there was one to add: 3D Slicer takes about a third of a second to make it.
    """
    missing = [name for name in VIEWS if scene.GetSingletonNode(name, "vtkMRMLSliceNode") is None]
    if not missing or _layout(scene) is None:
        return False
    node: vtkMRMLSliceNode = scene.CreateNodeByClass("vtkMRMLSliceNode")
    node.UnRegister(None)
    node.SetLayoutName(missing[0])
    node.SetName(missing[0])
    node.SetOrientation(VIEWS[missing[0]])
    node.SetLayoutLabel(missing[0][-1])
    node.SetLayoutColor(*_GREY)
    node.SetViewGroup(_GROUP)
    scene.AddNode(node)
    return True


def is_side_by_side(scene: vtkMRMLScene) -> bool:
    """Whether the views are arranged for a comparison now."""
    layout = _layout(scene)
    return layout is not None and layout.GetViewArrangement() == LAYOUT


def comparison_views(scene: vtkMRMLScene, names: Iterable[str] = VIEWS) -> list[vtkMRMLSliceNode]:
    """The slice nodes of some of the views, as far as they are there."""
    nodes = [scene.GetSingletonNode(name, "vtkMRMLSliceNode") for name in names]
    return [node for node in nodes if node is not None]


def hide_comparison(scene: vtkMRMLScene) -> None:
    """Arrange the views as they were; does nothing when they are not side by side."""
    layout = _layout(scene)
    if layout is None or layout.GetAttribute(_BEFORE) is None:
        return
    before = layout.GetAttribute(_BEFORE)
    modified = layout.StartModify()  # whoever follows the layout would take it for the user's choice in between
    layout.RemoveAttribute(_BEFORE)
    if layout.GetViewArrangement() == LAYOUT:
        layout.SetViewArrangement(int(before))
    layout.EndModify(modified)


def composite_of(scene: vtkMRMLScene, view: str) -> vtkMRMLSliceCompositeNode | None:
    """The vtkMRMLSliceCompositeNode of a slice view, None while there is none."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        node: vtkMRMLSliceCompositeNode = scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
        if node.GetLayoutName() == view:
            return node
    return None


def _place(view: vtkMRMLSliceNode, volume: vtkMRMLScalarVolumeNode, ras: Array) -> None:
    """Show all of a volume, cut at a point. By itself a new view looks at the scene's origin, where the patient need not be."""
    bounds = np.zeros(6)
    volume.GetRASBounds(bounds)
    lower, upper = bounds[::2], bounds[1::2]
    for axis, middle in enumerate((lower + upper) / 2):
        view.GetSliceToRAS().SetElement(axis, 3, middle)
    across, up = np.abs(slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, :2]).T @ (upper - lower)
    columns, rows, _thickness = view.GetDimensions()
    mm_per_pixel = max(across / columns, up / rows)
    view.SetFieldOfView(columns * mm_per_pixel, rows * mm_per_pixel, view.GetFieldOfView()[2])
    view.UpdateMatrices()
    view.JumpSliceByOffsetting(*map(float, ras))


def _layout(scene: vtkMRMLScene) -> vtkMRMLLayoutNode | None:
    layout: vtkMRMLLayoutNode | None = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    return layout


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
