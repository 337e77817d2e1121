"""Where a computed node belongs: under the same transform and in the same folder as the volume it was computed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer

if TYPE_CHECKING:
    from slicer import vtkMRMLNode, vtkMRMLScene, vtkMRMLSubjectHierarchyNode, vtkMRMLTransformableNode


def place_beside(scene: vtkMRMLScene, node: vtkMRMLTransformableNode, reference: vtkMRMLTransformableNode) -> None:
    """Give a node the parent transform of a reference node, and a place beside it in the subject hierarchy.

    Slicer's desktop makes hierarchy items by itself; without it they are made here.

    Args:
        scene: The vtkMRMLScene that has both.
        node: A vtkMRMLTransformableNode.
        reference: The vtkMRMLTransformableNode it belongs to.
    """
    node.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    beside = _item(hierarchy, reference)
    hierarchy.SetItemParent(_item(hierarchy, node), hierarchy.GetItemParent(beside))


def add_to_hierarchy(scene: vtkMRMLScene, node: vtkMRMLNode) -> None:
    """Give a node a place at the top of the subject hierarchy, where it has none yet."""
    _item(slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene), node)


def _item(hierarchy: vtkMRMLSubjectHierarchyNode, node: vtkMRMLNode) -> int:
    item: int = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    return item
