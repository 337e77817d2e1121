"""What a heat map was asked, as nodes of the scene have it: kept with the heat map, and found again by whoever asks more about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.logic.images import voxels_of
from SegHiResCAMLib.provenance import PREFIX
from SegHiResCAMLib.records.explanation import ExplanationRecord, ModelReference
from SegHiResCAMLib.records.regions import FalseNegative, FalsePositive, Mask, TruePositive
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import INPUT_VOLUME, SEGMENTATION, explanation_of
from SegHiResCAMLib.scene.region_labels import region_labels
from SegHiResCAMLib.scene.segments import segment_ids, segment_reader
from SegHiResCAMLib.worker.protocol import Voxels

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

DRAWN_SEGMENT = f"{PREFIX}drawnSegment"
"""Attribute of a heat map of a drawn segment: its id."""

REFERENCE = f"{PREFIX}reference"
"""Role of the reference segmentation of a heat map of a mistake."""

EXPLAINED_SEGMENT = "explained"
"""Id of the explained voxels in a scene that the command has written."""


@dataclass(frozen=True)
class AskedAgain:
    """What is sent to a worker to ask about a heat map's question once more.

    Attributes:
        record: Of the heat map.
        volume: That was explained, its first channel.
        voxels: Of all channels.
        mask: The drawn voxels that were explained; None where others were.
        reference: Label map of what should have been segmented, where mistakes were explained.
        reference_names: Of its values 1, 2 and so on.
    """

    record: ExplanationRecord
    volume: vtkMRMLScalarVolumeNode
    voxels: Voxels
    mask: Voxels | None
    reference: Voxels | None = None
    reference_names: tuple[str, ...] = ()


def keep_asked(
    heatmap: vtkMRMLScalarVolumeNode,
    further: Sequence[vtkMRMLScalarVolumeNode],
    drawn_segment: str | None,
    reference: vtkMRMLSegmentationNode | None,
) -> None:
    """Keep with a new heat map what `asked_again` needs beside its record, its first volume and its segmentation."""
    for volume in further:
        heatmap.AddNodeReferenceID(INPUT_VOLUME, volume.GetID())
    if drawn_segment is not None:
        heatmap.SetAttribute(DRAWN_SEGMENT, drawn_segment)
    if reference is not None and reference.GetScene() is heatmap.GetScene():
        heatmap.SetNodeReferenceID(REFERENCE, reference.GetID())


def asked_again(heatmap: vtkMRMLScalarVolumeNode) -> AskedAgain:
    """What a heat map was asked.

    Raises:
        SceneError: It is not a heat map, or its volumes or the voxels that it explains are not in the scene.
    """
    record = explanation_of(heatmap)
    if record is None:
        message = f"'{heatmap.GetName()}' is not a heat map of SegHiResCAM. Choose one that Explain has made."
        raise SceneError(message)
    volumes = volumes_of(heatmap)
    if not volumes or None in volumes:
        message = f"The volume that '{heatmap.GetName()}' explains is not in the scene. Load it, then explain again."
        raise SceneError(message)
    first, *rest = volumes
    voxels = voxels_of(first, rest)
    mask = _mask(heatmap, record, first, voxels)
    if not isinstance(record.question.region, FalsePositive | FalseNegative | TruePositive):
        return AskedAgain(record, first, voxels, mask)
    reference = heatmap.GetNodeReference(REFERENCE)
    if reference is None:
        message = f"The reference of '{heatmap.GetName()}' is not in the scene. Load it, then explain again."
        raise SceneError(message)
    return AskedAgain(record, first, voxels, mask, *reference_of(reference, first))


def reference_of(
    segmentation: vtkMRMLSegmentationNode, volume: vtkMRMLScalarVolumeNode
) -> tuple[Voxels, tuple[str, ...]]:
    """A segmentation as a label map beside a volume, and the names of its values 1, 2 and so on.

    Raises:
        SceneError: It has no segments, or too many.
    """
    labels = region_labels(segmentation, volume)
    return Voxels.of(labels.read, labels.affine), labels.names


def volumes_of(heatmap: vtkMRMLScalarVolumeNode) -> list[Any]:
    """The volumes that were explained, one for each of the model's inputs; None for one that is deleted."""
    count = heatmap.GetNumberOfNodeReferences(INPUT_VOLUME)
    return [heatmap.GetNthNodeReference(INPUT_VOLUME, number) for number in range(count)]


def _mask(
    heatmap: vtkMRMLScalarVolumeNode, record: ExplanationRecord, volume: vtkMRMLScalarVolumeNode, voxels: Voxels
) -> Voxels | None:
    if not isinstance(record.question.region, Mask):
        return None
    drawn, segmentation = (
        heatmap.GetAttribute(DRAWN_SEGMENT) or EXPLAINED_SEGMENT,
        heatmap.GetNodeReference(SEGMENTATION),
    )
    if segmentation is None or drawn not in segment_ids(segmentation):
        message = f"The drawn segment that '{heatmap.GetName()}' explains is not in the scene. Explain again."
        raise SceneError(message)
    return Voxels(voxels.affine, segment_reader(segmentation, drawn, volume))


def check_model(heatmap: vtkMRMLScalarVolumeNode, record: ExplanationRecord, model: ModelReference) -> None:
    """Refuse what another model was asked.

    Raises:
        SceneError: The heat map explains another one.
    """
    if record.model.sha256 != model.sha256:
        message = f"'{heatmap.GetName()}' explains the model '{record.model.name}', and '{model.name}' was asked. Choose the model that it explains."
        raise SceneError(message)
