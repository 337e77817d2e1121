"""Heat maps that were opened as files: Slicer's reader keeps voxels and place, and here the header gives the rest back.

A file is hostile until read: of its header no more is read than a record can need, and what is not a record is no heat map.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SegHiResCAMLib.nrrd import read_pairs
from SegHiResCAMLib.provenance import EXPLANATION, METHOD
from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.files import read_explanation
from SegHiResCAMLib.scene.heatmap import INPUT_VOLUME, dress_heatmap
from SegHiResCAMLib.scene.volumes import volume_array

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScene

_ENDINGS = (".nrrd", ".nhdr")


def adopt_opened_files(scene: vtkMRMLScene, known: set[str]) -> list[vtkMRMLScalarVolumeNode]:
    """Make heat maps of those volumes whose files say that they are some.

    Args:
        scene: The vtkMRMLScene.
        known: Identifiers of nodes that were looked at before; those that are looked at now are added.

    Returns:
        The new heat maps, with colours, range, legend and record, and with the volume on the same grid as what they explain.
    """
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = [scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in range(count)]
    adopted = []
    for node in nodes:
        if node.GetID() in known or node.GetImageData() is None or node.GetStorageNode() is None:
            continue
        known.add(node.GetID())
        record = None if node.GetAttribute(EXPLANATION) else _record_of(node)
        highest = float(volume_array(node)[0].max()) if record is not None else 0.0
        if record is not None and np.isfinite(highest):
            volume = _explained(node, nodes)
            if volume is not None:
                node.SetNodeReferenceID(INPUT_VOLUME, volume.GetID())
            dress_heatmap(node, record, max(highest, 0.0))
            adopted.append(node)
    return adopted


def _record_of(node: vtkMRMLScalarVolumeNode) -> ExplanationRecord | None:
    file = Path(node.GetStorageNode().GetFullNameFromFileName() or "")
    if node.GetClassName() != "vtkMRMLScalarVolumeNode" or file.suffix.lower() not in _ENDINGS or not file.is_file():
        return None
    line = read_pairs(file).get(EXPLANATION)
    try:
        record = None if line is None else read_explanation(line)
    except ValueError:
        return None
    return record if record is not None and record.method else None


def _explained(
    heatmap: vtkMRMLScalarVolumeNode, nodes: list[vtkMRMLScalarVolumeNode]
) -> vtkMRMLScalarVolumeNode | None:
    """The image on a heat map's grid; None where there is none, or several."""
    array, affine = volume_array(heatmap)
    found = []
    for node in nodes:
        image = node.GetImageData()
        if node is heatmap or node.GetAttribute(METHOD) or image is None or image.GetNumberOfScalarComponents() != 1:
            continue
        other, place = volume_array(node)
        if (
            node.GetClassName() == "vtkMRMLScalarVolumeNode"
            and other.shape == array.shape
            and np.allclose(place, affine)
        ):
            found.append(node)
    return found[0] if len(found) == 1 else None
