"""A heat map with every slice divided by its own maximum, as the papers draw 2D networks: slices no longer compare."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from SegHiResCAMLib.records.previous import record_of_texts
from SegHiResCAMLib.scene.heatmap import (
    INPUT_VOLUME,
    PreparedMap,
    add_heatmap,
    explanation_of,
    prepare_map,
    remove_heatmap,
)
from SegHiResCAMLib.scene.volumes import Array, volume_array

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode

PER_SLICE = "SegHiResCAM.perSlice"
"""Node reference role: from a heat map to the one made of it."""

SHARE_OF_SLICE = "share of each slice's maximum"
"""Units."""

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}


def per_slice(array: Array, affine: Array, axis: str) -> PreparedMap:
    """Divide each slice by its maximum; may run in any thread.

    Args:
        array: (i, j, k) raw values.
        affine: (4, 4) to RAS millimetres.
        axis: "axial", "coronal" or "sagittal": the voxel axis nearest to it is taken.

    Returns:
        For `add_per_slice`; values run up to 1, slices without anything above 0 stay blank.
    """
    across = int(np.argmax(np.abs(affine[AXES[axis], :3]) / np.linalg.norm(affine[:3, :3], axis=0)))
    others = tuple(one for one in range(3) if one != across)
    highest = array.max(axis=others, keepdims=True)
    return prepare_map(np.maximum(array, 0) / np.where(highest > 0, highest, 1))


def slicing_axis(heatmap: vtkMRMLScalarVolumeNode) -> str:
    """The axis that a heat map's network went along, as its facts say; "axial" for a volumetric one."""
    record = explanation_of(heatmap)
    said = "" if record is None else record.mode.rpartition(" ")[2]  # of "slice-wise, coronal"
    return said if said in AXES else "axial"


def add_per_slice(heatmap: vtkMRMLScalarVolumeNode, prepared: PreparedMap) -> vtkMRMLScalarVolumeNode:
    """Add it to the scene, hidden from lists, as a companion of its heat map; replaces an earlier one."""
    scene = heatmap.GetScene()
    remove_per_slice(heatmap)
    record = replace(
        explanation_of(heatmap) or record_of_texts({}), units=SHARE_OF_SLICE, findings=(), measurements=None
    )
    affine = volume_array(heatmap)[1]
    volume = heatmap.GetNodeReference(INPUT_VOLUME) or heatmap
    node = add_heatmap(scene, prepared, affine, record, volume)
    node.SetHideFromEditors(True)
    heatmap.SetNodeReferenceID(PER_SLICE, node.GetID())
    return node


def remove_per_slice(heatmap: vtkMRMLScalarVolumeNode) -> None:
    """Remove the companion of a heat map, where it has one."""
    node = heatmap.GetNodeReference(PER_SLICE)
    if node is not None:
        remove_heatmap(node)
