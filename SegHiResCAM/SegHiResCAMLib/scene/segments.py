"""Segmentations from label arrays: one shared layer, names, colours and the field's vocabulary, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.placement import place_beside
from SegHiResCAMLib.scene.volumes import Array, image_of, volume_array
from SegHiResCAMLib.terminology import Code, Terminology

_MODEL, _SHA256 = "SegHiResCAM.model", "SegHiResCAM.modelSha256"
_BINARY_LABELMAP = "Binary labelmap"  # vtkSegmentationConverter's name of the representation
_CATEGORIES = "Segmentation category and type - DICOM master list"
_REGIONS = "Anatomic codes - DICOM master list"


@dataclass(frozen=True)
class Segment:
    """One segment of a segmentation.

    Attributes:
        name: What the user reads.
        value: Its value in the label array, at least 1.
        color: Red, green, blue, 0 to 1.
        terminology: What it is in coded terms; None if unknown.
        id: Stable identifier in the segmentation node; made from the name if left empty.
    """

    name: str
    value: int
    color: tuple[float, float, float]
    terminology: Terminology | None = None
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", re.sub(r"\W+", "-", self.name.lower()).strip("-") or f"segment-{self.value}")


def prepare_labels(labels: Array, affine: Array, segments: Sequence[Segment]) -> Any:
    """Make the image that all segments share, which takes time; may run in any thread.

    Args:
        labels: (i, j, k) integers. Values that no segment names become background.
        affine: (4, 4) from (i, j, k) to RAS millimetres.
        segments: What the values mean.

    Returns:
        A vtkOrientedImageData, for `add_segmentation`.

    Raises:
        SceneError: The labels are no integers in three axes, or two segments share an id or a value.
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
    scene: Any,
    labels: Array | Any,
    affine: Array,
    segments: Sequence[Segment],
    reference_volume: Any,
    *,
    name: str = "Segmentation",
) -> Any:
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
        SceneError: The labels are no integers in three axes, or two segments share an id or a value.
    """
    layer = prepare_labels(labels, affine, segments) if isinstance(labels, np.ndarray) else labels
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference_volume)
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(_BINARY_LABELMAP)
    for description in segments:
        segmentation.AddSegment(_vtk_segment(description, layer), description.id)
    place_beside(scene, node, reference_volume)
    return node


def add_segment(node: Any, mask: Array, affine: Array, segment: Segment) -> None:
    """Add one more segment to a segmentation; it may overlap the others.

    Args:
        node: The vtkMRMLSegmentationNode.
        mask: (i, j, k), true inside.
        affine: (4, 4) from (i, j, k) to RAS millimetres.
        segment: Its value is that of the mask, 1.
    """
    layer = prepare_labels(mask.astype(np.uint8), affine, [segment])
    node.GetSegmentation().AddSegment(_vtk_segment(segment, layer), segment.id)


def segment_array(node: Any, segment_id: str, reference_volume: Any) -> Array:
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
    if node.GetSegmentation().GetSegment(segment_id) is None:
        sentence = f"The segmentation {node.GetName()} has no segment {segment_id}: choose one of {segment_ids(node)}."
        raise SceneError(sentence)
    array, affine = volume_array(reference_volume)
    same = _on_the_same_grid(node, segment_id, reference_volume, array.shape, affine)
    if same is not None:
        return same
    grid = _geometry(array.shape, affine)
    between = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        node.GetParentTransformNode(), reference_volume.GetParentTransformNode(), between
    )
    segment, on_grid = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segment_id, segment)
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    resample(segment, grid, on_grid, False, False, between)
    voxels = vtk_to_numpy(on_grid.GetPointData().GetScalars())
    return voxels.reshape(array.shape, order="F") > 0


def segment_ids(node: Any) -> list[str]:
    """List the identifiers of a segmentation's segments, in its order."""
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]


def set_model_of(node: Any, name: str, sha256: str) -> None:
    """Note in a segmentation which model made it."""
    node.SetAttribute(_MODEL, name)
    node.SetAttribute(_SHA256, sha256)


def model_sha256_of(node: Any) -> str:
    """SHA-256 of the model that made a segmentation; empty for one of other origin."""
    return node.GetAttribute(_SHA256) or ""


class SegmentVoxels(NamedTuple):
    """Where a segment's voxels are to be counted: an image that segments share, the segment's value, and ml of one voxel."""

    image: Array
    value: int
    voxel_ml: float


def segment_voxels(node: Any) -> dict[str, SegmentVoxels]:
    """What `volumes_ml` counts, by segment id; those without voxels are left out."""
    found = {}
    for segment_id in segment_ids(node):
        segment = node.GetSegmentation().GetSegment(segment_id)
        image = segment.GetRepresentation(_BINARY_LABELMAP)
        if image is not None and image.GetNumberOfPoints():
            to_world = vtk.vtkMatrix4x4()
            image.GetImageToWorldMatrix(to_world)
            voxel = abs(np.linalg.det(slicer.util.arrayFromVTKMatrix(to_world)[:3, :3])) / 1000
            found[segment_id] = SegmentVoxels(_voxels(image), segment.GetLabelValue(), float(voxel))
    return found


def volumes_ml(voxels: Mapping[str, SegmentVoxels]) -> dict[str, float]:
    """Volume of each segment in millilitres, by id; it may run in any thread."""
    return {name: float(np.count_nonzero(one.image == one.value)) * one.voxel_ml for name, one in voxels.items()}


def terminology_entry(terminology: Terminology) -> str:
    """Write a terminology as Slicer does: context~category~type~modifier~region context~region~region modifier."""
    codes = [terminology.category, terminology.type, terminology.modifier]
    regions = [terminology.region, None]
    return "~".join([_CATEGORIES, *map(_code, codes), _REGIONS, *map(_code, regions)])


def _code(code: Code | None) -> str:
    return f"{code.scheme}^{code.value}^{code.meaning}" if code else "^^"


def _check(labels: Array, segments: Sequence[Segment]) -> None:
    if labels.ndim != 3 or labels.dtype.kind not in "iu":
        sentence = (
            f"A label map holds integers in three axes, but this array is {labels.dtype} of shape {labels.shape}."
        )
        raise SceneError(sentence)
    for what in ("id", "value"):
        values = [getattr(segment, what) for segment in segments]
        if len(set(values)) < len(values):
            sentence = f"Two segments share the same {what} ({values}): give each its own."
            raise SceneError(sentence)
    if any(segment.value < 1 for segment in segments):
        sentence = "A segment has the value 0 or less, which is the background's: number segments from 1."
        raise SceneError(sentence)


def _on_the_same_grid(node: Any, segment_id: str, volume: Any, shape: tuple[int, ...], affine: Array) -> Array | None:
    """The segment's voxels as they are, if they are stored on the volume's own grid; then nothing need be resampled."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation(_BINARY_LABELMAP)
    if image is None or node.GetTransformNodeID() != volume.GetTransformNodeID() or image.GetDimensions() != shape:
        return None
    to_world = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(to_world)
    if not np.allclose(slicer.util.arrayFromVTKMatrix(to_world), affine, rtol=0, atol=1e-6):
        return None
    return _voxels(image).reshape(shape, order="F") == segment.GetLabelValue()


def _voxels(image: Any) -> Array:
    return np.asarray(vtk_to_numpy(image.GetPointData().GetScalars()))


def _geometry(shape: tuple[int, ...], affine: Array) -> Any:
    """Make an image of the grid, without voxels."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*shape)
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(np.asarray(affine, dtype=np.float64)))
    return image


def _vtk_segment(description: Segment, layer: Any) -> Any:
    segment = slicer.vtkSegment()
    segment.SetName(description.name)
    segment.SetNameAutoGenerated(False)
    segment.SetColor(*description.color)
    segment.SetColorAutoGenerated(False)
    segment.SetLabelValue(description.value)
    segment.AddRepresentation(_BINARY_LABELMAP, layer)
    if description.terminology:
        segment.SetTag(segment.GetTerminologyEntryTagName(), terminology_entry(description.terminology))
    return segment
