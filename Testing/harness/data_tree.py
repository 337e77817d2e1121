"""The data tree's part of 3D Slicer's desktop: an item goes with its node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import slicer
import vtk

from SegHiResCAMLib.scene.headless import HeadlessApplication


@contextmanager
def data_tree(application: HeadlessApplication) -> Iterator[None]:
    """As qSlicerSubjectHierarchyPluginLogic does: without it, the hierarchy keeps items of nodes that are gone."""
    scene = application.scene

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def forget(_scene: Any, _event: Any, node: Any) -> None:
        if scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        item = hierarchy.GetItemByDataNode(node)
        if item != hierarchy.GetInvalidItemID():
            hierarchy.RemoveItem(item, False, False)

    observer = scene.AddObserver(scene.NodeAboutToBeRemovedEvent, forget)
    try:
        yield
    finally:
        scene.RemoveObserver(observer)
