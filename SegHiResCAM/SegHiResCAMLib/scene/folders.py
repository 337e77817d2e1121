"""In the data tree, a folder an explanation, beside its volume: it holds the heat map and its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer
import vtk

if TYPE_CHECKING:
    from slicer import vtkMRMLNode, vtkMRMLScalarVolumeNode, vtkMRMLScene, vtkMRMLSubjectHierarchyNode

_FOLDER = "SegHiResCAM.explanation"
"""Attribute of the folders made here; those of the user are left alone."""


def put_into_folder(scene: vtkMRMLScene, heatmap: vtkMRMLScalarVolumeNode) -> None:
    """Put a heat map into a folder of its own where it lies in the data tree."""
    hierarchy = _hierarchy(scene)
    item = hierarchy.GetItemByDataNode(heatmap)
    folder = hierarchy.CreateFolderItem(hierarchy.GetItemParent(item), heatmap.GetName())
    hierarchy.SetItemAttribute(folder, _FOLDER, "1")
    hierarchy.SetItemParent(item, folder)


def put_with(scene: vtkMRMLScene, node: vtkMRMLNode, heatmap: vtkMRMLScalarVolumeNode) -> None:
    """Put what belongs to a heat map into its folder."""
    hierarchy = _hierarchy(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemParent(item, hierarchy.GetItemParent(hierarchy.GetItemByDataNode(heatmap)))


def follow_name(scene: vtkMRMLScene, heatmap: vtkMRMLScalarVolumeNode, table: vtkMRMLNode | None) -> None:
    """Call the folder and the table of a heat map as it is called, whoever renamed it."""
    hierarchy, name = _hierarchy(scene), heatmap.GetName()
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(heatmap))
    if hierarchy.GetItemAttribute(folder, _FOLDER) and hierarchy.GetItemName(folder) != name:
        hierarchy.SetItemName(folder, name)
    if table is not None and table.GetName() != table_name(name):
        table.SetName(table_name(name))


def table_name(heatmap: str) -> str:
    """How the table of a heat map is called."""
    return f"{heatmap}, measurements"


def remove_empty_folders(scene: vtkMRMLScene) -> None:
    """Remove the folders of explanations that are gone."""
    hierarchy = _hierarchy(scene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    for item in [items.GetId(index) for index in range(items.GetNumberOfIds())]:
        if hierarchy.GetItemAttribute(item, _FOLDER) and not hierarchy.GetNumberOfItemChildren(item):
            hierarchy.RemoveItem(item)


def _hierarchy(scene: vtkMRMLScene) -> vtkMRMLSubjectHierarchyNode:
    hierarchy: vtkMRMLSubjectHierarchyNode = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    return hierarchy
