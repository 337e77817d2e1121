"""What a scene leaves behind when a heat map is removed: nodes that belonged to it alone, and views that showed it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from SegHiResCAMLib.scene.folders import remove_empty_folders
from SegHiResCAMLib.scene.heatmap import MEASUREMENTS
from SegHiResCAMLib.scene.per_slice import PER_SLICE

if TYPE_CHECKING:
    from slicer import vtkMRMLNode, vtkMRMLScalarVolumeNode, vtkMRMLScene


def belongings(scene: vtkMRMLScene, heatmap: vtkMRMLScalarVolumeNode) -> list[vtkMRMLNode]:
    """Legend, displays, cloud in 3D, table of measurements and map per slice; of a heat map in the scene, or just removed from it."""
    displays = [heatmap.GetNthDisplayNodeID(index) for index in range(heatmap.GetNumberOfDisplayNodes())]
    companion = scene.GetNodeByID(heatmap.GetNodeReferenceID(PER_SLICE) or "")
    own = [scene.GetNodeByID(identifier) for identifier in (*displays, heatmap.GetNodeReferenceID(MEASUREMENTS) or "")]
    clouds = [one for one in own if one is not None and one.IsA("vtkMRMLVolumeRenderingDisplayNode")]
    own += [cloud.GetVolumePropertyNode() for cloud in clouds]
    if companion is not None:
        own += [companion, *belongings(scene, companion)]
    return [one for one in own if one is not None]


def remove_nodes(scene: vtkMRMLScene, nodes: Iterable[vtkMRMLNode]) -> None:
    """Remove those that are still in the scene."""
    for node in nodes:
        if node.GetScene() is scene:
            scene.RemoveNode(node)
    remove_empty_folders(scene)
