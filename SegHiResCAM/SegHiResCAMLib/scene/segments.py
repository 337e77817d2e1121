"""Segmentations from label arrays: one shared layer, names, colours and the field's vocabulary, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from SegHiResCAMLib.grids import SAME_PLACE, distance
from SegHiResCAMLib.naming import identifier, unique
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.placement import place_beside
from SegHiResCAMLib.scene.volumes import Array, image_of, volume_array
from SegHiResCAMLib.terminology import Terminology, terminology_entry

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLScalarVolumeNode,
        vtkMRMLScene,
        vtkMRMLSegmentationNode,
        vtkMRMLTransformableNode,
        vtkOrientedImageData,
        vtkSegment,
    )
    from vtk import vtkAbstractTransform, vtkImageData

_MODEL, _SHA256 = "SegHiResCAM.model", "SegHiResCAM.modelSha256"
BINARY_LABELMAP = "Binary labelmap"  # vtkSegmentationConverter's name of the representation


@dataclass(frozen=True)
class Segment:
    """One segment of a segmentation.

    Attributes:
        name: What the user reads.
        value: Its value in the label array, at least 1.
        color: Red, green, blue, 0 to 1.
        terminology: What it is in coded terms; None if unknown.
        id: Stable identifier in the segmentation node; made from the name if left empty. A second one of the same id gets a number.
    """

    name: str
    value: int
    color: tuple[float, float, float]
    terminology: Terminology | None = None
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", identifier(self.name, self.value))


def prepare_labels(labels: Array, affine: Array, segments: Sequence[Segment]) -> vtkOrientedImageData:
    """Make the image that all segments share, which takes time; may run in any thread.

    Args:
        labels: (i, j, k) integers. Values that no segment names become background.
        affine: (4, 4) from (i, j, k) to RAS millimetres.
        segments: What the values mean.

    Returns:
        A vtkOrientedImageData, for `add_segmentation`.

    Raises:
        SceneError: The labels are no integers in three axes, or two segments share a value.
    """
    _check(labels, segments)
    named = [segment.value for segment in segments]
    kept = labels if np.isin(np.unique(labels), [0, *named]).all() else np.where(np.isin(labels, named), labels, 0)
    image = _geometry(labels.shape, affine)
    image.GetPointData().SetScalars(
        image_of(kept.astype(np.uint8 if kept.max(initial=0) <= 255 else np.int32)).GetPointData().GetScalars()
    )
    return image


def add_segmentation(
    scene: vtkMRMLScene,
    labels: Array | vtkOrientedImageData,
    affine: Array,
    segments: Sequence[Segment],
    reference_volume: vtkMRMLScalarVolumeNode,
    *,
    name: str = "Segmentation",
) -> vtkMRMLSegmentationNode:
    """Add a segmentation to the scene, beside the volume it belongs to.

    A segment without any voxel is there all the same, so that one sees that nothing was found. Values that no segment
    names become background.

    Args:
        scene: The vtkMRMLScene.
        labels: (i, j, k) integers; or what `prepare_labels` has made of them.
        affine: (4, 4) from (i, j, k) to RAS millimetres.
        segments: What the values mean.
        reference_volume: The vtkMRMLScalarVolumeNode that was segmented: gives geometry, parent transform and folder.
        name: What the node is called.

    Returns:
        The vtkMRMLSegmentationNode.

    Raises:
        SceneError: The labels are no integers in three axes, or two segments share a value.
    """
    layer = prepare_labels(labels, affine, segments) if isinstance(labels, np.ndarray) else labels
    node: vtkMRMLSegmentationNode = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference_volume)
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(BINARY_LABELMAP)
    for description, segment_id in zip(segments, unique(segment.id for segment in segments), strict=True):
        segmentation.AddSegment(_vtk_segment(description, layer), segment_id)
    place_beside(scene, node, reference_volume)
    return node


def add_segment(node: vtkMRMLSegmentationNode, mask: Array, affine: Array, segment: Segment) -> None:
    """Add one more segment to a segmentation; it may overlap the others.

    Args:
        node: The vtkMRMLSegmentationNode.
        mask: (i, j, k), true inside.
        affine: (4, 4) from (i, j, k) to RAS millimetres.
        segment: Its value is that of the mask, 1.
    """
    layer = prepare_labels(mask.astype(np.uint8), affine, [segment])
    (segment_id,) = unique([segment.id], segment_ids(node))
    node.GetSegmentation().AddSegment(_vtk_segment(segment, layer), segment_id)


def segment_array(node: vtkMRMLSegmentationNode, segment_id: str, reference_volume: vtkMRMLScalarVolumeNode) -> Array:
    """One segment on a volume's grid.

    Args:
        node: The vtkMRMLSegmentationNode.
        segment_id: Which of its segments.
        reference_volume: The volume node whose grid is wanted; parent transforms of both are heeded.

    Returns:
        (i, j, k) booleans of the volume's shape.

    Raises:
        SceneError: The segmentation has no such segment.
    """
    return segment_reader(node, segment_id, reference_volume)()


def segment_reader(
    node: vtkMRMLSegmentationNode, segment_id: str, reference_volume: vtkMRMLScalarVolumeNode
) -> Callable[[], Array]:
    """What gives a `segment_array`, which takes time; it may be called in any thread, and touches no scene."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        message = f"The segmentation {node.GetName()} has no segment {segment_id}. Choose one of {segment_ids(node)}."
        raise SceneError(message)
    array, affine = volume_array(reference_volume)
    stored, value, shape = segment.GetRepresentation(BINARY_LABELMAP), segment.GetLabelValue(), array.shape
    if stored is None or not stored.GetNumberOfPoints():
        return lambda: np.zeros(shape, bool, order="F")
    moved = node.GetTransformNodeID() != reference_volume.GetTransformNodeID()
    same_place = stored.GetExtent() == (0, shape[0] - 1, 0, shape[1] - 1, 0, shape[2] - 1)
    if not moved and same_place and distance(image_affine(stored), affine, shape) <= SAME_PLACE:
        voxels = image_voxels(stored)
        return lambda: np.asarray(voxels == value)
    image = vtk.vtkImageData()  # the voxels alone: the reslicing below counts in indices
    image.SetExtent(stored.GetExtent())
    image.GetPointData().SetScalars(stored.GetPointData().GetScalars())
    to_segment = _between(reference_volume, node)
    to_segment.PreMultiply()
    to_segment.Concatenate(slicer.util.vtkMatrixFromArray(affine))
    to_segment.PostMultiply()
    to_segment.Concatenate(slicer.util.vtkMatrixFromArray(np.linalg.inv(image_affine(stored))))
    return lambda: _resliced(image, to_segment, shape) == value


def segment_ids(node: vtkMRMLSegmentationNode) -> list[str]:
    """List the identifiers of a segmentation's segments, in its order."""
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]


def set_model_of(node: vtkMRMLSegmentationNode, name: str, sha256: str) -> None:
    """Note in a segmentation which model made it."""
    node.SetAttribute(_MODEL, name)
    node.SetAttribute(_SHA256, sha256)


def model_sha256_of(node: vtkMRMLSegmentationNode) -> str:
    """SHA-256 of the model that made a segmentation; empty for one of other origin."""
    return node.GetAttribute(_SHA256) or ""


class SegmentVoxels(NamedTuple):
    """Where a segment's voxels are to be counted: an image that segments share, the segment's value, and ml of one voxel."""

    image: Array
    value: int
    voxel_ml: float


def segment_voxels(node: vtkMRMLSegmentationNode) -> dict[str, SegmentVoxels]:
    """What `volumes_ml` counts, by segment id; those without voxels are left out."""
    found = {}
    for segment_id in segment_ids(node):
        segment = node.GetSegmentation().GetSegment(segment_id)
        image = segment.GetRepresentation(BINARY_LABELMAP)
        if image is not None and image.GetNumberOfPoints():
            voxel = abs(np.linalg.det(image_affine(image)[:3, :3])) / 1000
            found[segment_id] = SegmentVoxels(image_voxels(image), segment.GetLabelValue(), float(voxel))
    return found


def volumes_ml(voxels: Mapping[str, SegmentVoxels]) -> dict[str, float]:
    """Volume of each segment in millilitres, by id; it may run in any thread."""
    return {name: float(np.count_nonzero(one.image == one.value)) * one.voxel_ml for name, one in voxels.items()}


def image_voxels(image: vtkImageData) -> Array:
    """Voxels of a vtkOrientedImageData, (i, j, k) from the start of its extent, not copied."""
    return np.asarray(vtk_to_numpy(image.GetPointData().GetScalars())).reshape(image.GetDimensions(), order="F")


def image_affine(image: vtkOrientedImageData) -> Array:
    """(4, 4) from indices of a vtkOrientedImageData, which start where its extent does, to RAS millimetres."""
    to_world = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(to_world)
    return np.asarray(slicer.util.arrayFromVTKMatrix(to_world))


def _check(labels: Array, segments: Sequence[Segment]) -> None:
    if labels.ndim != 3 or labels.dtype.kind not in "iu":
        message = f"A label map holds integers in three axes, but this array is {labels.dtype} of shape {labels.shape}."
        raise SceneError(message)
    values = [segment.value for segment in segments]
    if len(set(values)) < len(values):
        message = f"Two segments have the same value ({values}). Give each its own."
        raise SceneError(message)
    if any(segment.value < 1 for segment in segments):
        message = "A segment has a value of 0 or less, which means background. Number segments from 1."
        raise SceneError(message)


def _between(source: vtkMRMLTransformableNode, target: vtkMRMLTransformableNode) -> vtkAbstractTransform:
    """A transform of its own from a node's RAS millimetres to another's; linear where it can be, since that is much faster."""
    nodes = source.GetParentTransformNode(), target.GetParentTransformNode()
    matrix = vtk.vtkMatrix4x4()
    if slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(*nodes, matrix):
        linear = vtk.vtkTransform()
        linear.SetMatrix(matrix)
        return linear
    found, own = vtk.vtkGeneralTransform(), vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(*nodes, found)
    own.DeepCopy(found)
    return own


def _resliced(image: vtkImageData, transform: vtkAbstractTransform, shape: tuple[int, ...]) -> Array:
    """The nearest voxels of an image, at indices that the transform takes to its own."""
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(transform)
    reslice.SetInterpolationModeToNearestNeighbor()
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputExtent(0, shape[0] - 1, 0, shape[1] - 1, 0, shape[2] - 1)
    reslice.Update()
    return np.asarray(vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars())).reshape(shape, order="F")


def _geometry(shape: tuple[int, ...], affine: Array) -> vtkOrientedImageData:
    """Make an image of the grid, without voxels."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*shape)
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(np.asarray(affine, dtype=np.float64)))
    return image


def _vtk_segment(description: Segment, layer: vtkOrientedImageData) -> vtkSegment:
    segment = slicer.vtkSegment()
    segment.SetName(description.name)
    segment.SetNameAutoGenerated(False)
    segment.SetColor(*description.color)
    segment.SetColorAutoGenerated(False)
    segment.SetLabelValue(description.value)
    segment.AddRepresentation(BINARY_LABELMAP, layer)
    if description.terminology:
        segment.SetTag(segment.GetTerminologyEntryTagName(), terminology_entry(description.terminology))
    return segment
