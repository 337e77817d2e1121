"""In the data tree every explanation is a folder beside its volume, with a name that tells it from others; what belongs together goes together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import slicer
import vtk
from harness.desktop import Desktop

from panel.steps import choose, choose_model, choose_segment, explain, segment
from SegHiResCAMLib.scene.heatmap import MEASUREMENTS, heatmap_maximum
from SegHiResCAMLib.scene.table import table_rows


@pytest.fixture
def tree(desktop: Desktop, scene: Any, a_volume: Any, a_model: Path) -> Any:
    """The data tree of a patient in a folder, with everything chosen for an explanation."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Patient")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(a_volume), patient)
    choose_model(desktop, a_model)
    segment(desktop)
    choose_segment(desktop, "tumour")
    return hierarchy


def folder_of(hierarchy: Any, node: Any) -> int:
    return hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))


def in_folder(hierarchy: Any, folder: int) -> set[str]:
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(folder, items)
    return {hierarchy.GetItemName(items.GetId(index)) for index in range(items.GetNumberOfIds())}


def test_a_folder_has_the_map_and_its_table_and_lies_beside_the_volume(
    desktop: Desktop, tree: Any, a_volume: Any
) -> None:
    heatmap = explain(desktop)
    folder = folder_of(tree, heatmap)
    name = "tumour (whole segment), Seg-HiRes-Grad CAM, 3×3×4 mm grid, Tiny network"
    assert tree.GetItemName(folder) == heatmap.GetName()
    assert heatmap.GetName() == name
    assert in_folder(tree, folder) == {heatmap.GetName(), f"{heatmap.GetName()}, measurements"}
    assert tree.GetItemParent(folder) == folder_of(tree, a_volume)


def test_names_say_what_was_explained_and_no_two_are_the_same(desktop: Desktop, tree: Any, scene: Any) -> None:
    names = [explain(desktop).GetName(), explain(desktop).GetName()]
    desktop.ui.layerTable.selectRow(1)
    names.append(explain(desktop).GetName())
    choose(desktop.ui.pixelSetSelector, "segment as drawn")
    names.append(explain(desktop).GetName())
    choose(desktop.ui.pixelSetSelector, "points")
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Points")
    points.AddControlPointWorld([15.0, 15.0, 18.0])
    desktop.ui.pointsSelector.setCurrentNode(points)
    point = explain(desktop)
    names.append(point.GetName())
    assert len(set(names)) == 5
    assert [name.partition(")")[0] for name in names] == [
        *["tumour (whole segment"] * 3, "tumour (as drawn", "tumour (point at R 15, A 15, S 18",
    ]  # fmt: skip
    # Nothing is said that a point does not have.
    rows = table_rows(point.GetNodeReference(MEASUREMENTS))
    assert all(value for _title, value, _unit in rows)
    assert heatmap_maximum(point) > 0


def test_what_is_renamed_is_renamed_everywhere(desktop: Desktop, tree: Any) -> None:
    heatmap = explain(desktop)
    heatmap.SetName("Before surgery")
    desktop.widget.panel._refresh()
    folder = folder_of(tree, heatmap)
    assert tree.GetItemName(folder) == "Before surgery"
    assert in_folder(tree, folder) == {"Before surgery", "Before surgery, measurements"}


@pytest.mark.parametrize("removed", ["map", "folder"])
def test_what_is_deleted_goes_with_everything_that_belongs_to_it(
    desktop: Desktop, tree: Any, scene: Any, removed: str
) -> None:
    nodes, items = scene.GetNumberOfNodes(), tree.GetNumberOfItems()
    heatmap = explain(desktop)
    if removed == "map":
        scene.RemoveNode(heatmap)
    else:
        tree.RemoveItem(folder_of(tree, heatmap))
    desktop.qt.APPLICATION.processEvents()
    assert tree.GetNumberOfItems() == items
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0
    assert scene.GetNumberOfNodes() <= nodes + 2  # the views' own nodes may have come
    assert desktop.widget.panel.state.parameters.heatmap is None


def test_all_maps_are_removed_once_the_user_agrees(
    desktop: Desktop, tree: Any, scene: Any, a_volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = tree.GetNumberOfItems()
    assert not desktop.ui.removeAllButton.enabled
    explain(desktop)
    explain(desktop)
    asked: list[str] = []

    def answer(text: str, **_options: Any) -> bool:
        asked.append(text)
        return len(asked) > 1

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", answer)
    desktop.ui.removeAllButton.click()
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 3
    desktop.ui.removeAllButton.click()
    desktop.qt.APPLICATION.processEvents()
    assert asked[0].startswith("Remove 2 heat maps")
    assert [node.GetName() for node in scene.GetNodesByClass("vtkMRMLScalarVolumeNode")] == ["CT"]
    assert tree.GetNumberOfItems() == items
    assert not desktop.ui.removeAllButton.enabled
