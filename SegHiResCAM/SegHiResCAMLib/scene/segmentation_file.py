"""A segmentation taken apart into what a .seg.nrrd file holds, so that a thread can write it while the application goes on.

Slicer's own writer says how a segmentation is described: it is given a copy of one voxel, which takes it a millisecond.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import slicer
import vtk

from SegHiResCAMLib.grids import SAME_PLACE, distance
from SegHiResCAMLib.scene.save import save_segmentation
from SegHiResCAMLib.scene.segments import BINARY_LABELMAP, image_affine, image_voxels, segment_ids
from SegHiResCAMLib.scene.volumes import Array
from SegHiResCAMLib.writing.temporary import temporary_folder

if TYPE_CHECKING:
    from slicer import vtkMRMLSegmentationNode, vtkOrientedImageData


class LabelLayer(NamedTuple):
    """Segments that do not overlap: (i, j, k) labels, and the index of the first voxel on the segmentation's grid."""

    labels: Array
    start: Array


class SegmentationFile(NamedTuple):
    """What is written.

    Attributes:
        layers: In the order that the header counts them in.
        shape: Of the box that holds them all.
        affine: (4, 4) from the box's voxel indices to RAS millimetres.
        header: Key-value pairs.
    """

    layers: list[LabelLayer]
    shape: tuple[int, ...]
    affine: Array
    header: dict[str, str]


class DrawnLayers(NamedTuple):
    """The label maps of a segmentation on their one grid.

    Attributes:
        layers: In the order of the segments.
        images: Of the same layers, as segments have them; None for segments that have none.
        start: Index of the box's first voxel on the segmentation's grid.
        stop: Index after its last voxel.
        affine: (4, 4) from the box's voxel indices to RAS millimetres.
    """

    layers: list[LabelLayer]
    images: list[vtkOrientedImageData]
    start: Array
    stop: Array
    affine: Array


def drawn_layers(node: vtkMRMLSegmentationNode) -> DrawnLayers | None:
    """The label maps of a segmentation; None where they lie on different grids, or where nothing is drawn."""
    images = _images(node)
    drawn = [image for image in images if _is_drawn(image)]
    if not drawn or not all(_on_one_grid(image, drawn[0]) for image in drawn):
        return None
    # As Slicer does, the whole of the volume that was segmented, even where a layer is smaller.
    grids = [*drawn, *(one for one in _reference(node) if _on_one_grid(one, drawn[0]))]
    extents = np.array([grid.GetExtent() for grid in grids]).reshape(-1, 3, 2)
    start, stop = extents[..., 0].min(axis=0), extents[..., 1].max(axis=0) + 1
    affine = image_affine(drawn[0]) @ _translation(start)
    return DrawnLayers([_layer(image, start) for image in images], images, start, stop, affine)


def segmentation_file(node: vtkMRMLSegmentationNode) -> SegmentationFile | None:
    """Take a segmentation apart; None where its layers lie on different grids, or where nothing is drawn in it."""
    found = drawn_layers(node)
    if found is None:
        return None
    shape = tuple(found.stop - found.start)
    return SegmentationFile(found.layers, shape, found.affine, _header(node, found.start, found.stop))


def layer_array(file: SegmentationFile) -> Array:
    """The voxels, copied: (i, j, k), or (layer, i, j, k) where there are several layers; it may run in any thread."""
    together = np.zeros((len(file.layers), *file.shape), np.result_type(*(layer.labels for layer in file.layers)), "F")
    for index, (labels, start) in enumerate(file.layers):
        i, j, k = (slice(first, first + size) for first, size in zip(start, labels.shape, strict=True))
        together[index, i, j, k] = labels
    return together if len(file.layers) > 1 else together[0]


def _images(node: vtkMRMLSegmentationNode) -> list[vtkOrientedImageData]:
    """The label map of each layer, in the order of the segments; None for segments that have none."""
    segments = [node.GetSegmentation().GetSegment(segment_id) for segment_id in segment_ids(node)]
    return list(dict.fromkeys(segment.GetRepresentation(BINARY_LABELMAP) for segment in segments))


def _is_drawn(image: vtkOrientedImageData) -> bool:
    return image is not None and bool(image.GetNumberOfPoints())


def _layer(image: vtkOrientedImageData, start: Array) -> LabelLayer:
    if not _is_drawn(image):
        return LabelLayer(np.zeros((1, 1, 1), np.uint8), np.zeros(3, int))
    return LabelLayer(image_voxels(image), np.array(image.GetExtent()[::2]) - start)


def _reference(node: vtkMRMLSegmentationNode) -> list[vtkOrientedImageData]:
    """The grid of the volume that was segmented, where the segmentation knows it."""
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    text, grid = node.GetSegmentation().GetConversionParameter(name), slicer.vtkOrientedImageData()
    known = bool(text) and slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, grid, False)
    return [grid] if known else []


def _on_one_grid(image: vtkOrientedImageData, other: vtkOrientedImageData) -> bool:
    farthest = np.max([image.GetExtent()[1::2], other.GetExtent()[1::2]], axis=0)
    return distance(image_affine(image), image_affine(other), farthest + 1) <= SAME_PLACE


def _header(node: vtkMRMLSegmentationNode, start: Array, stop: Array) -> dict[str, str]:
    """What Slicer writes of such a segmentation, with the true extent in place of that of one voxel."""
    with temporary_folder("header") as folder:
        path = folder / "header.seg.nrrd"
        save_segmentation(_of_one_voxel(node), path)
        head = path.read_bytes().partition(b"\n\n")[0].decode("utf-8", "replace")
    pairs = dict(line.split(":=", 1) for line in head.splitlines() if ":=" in line)
    extent = " ".join(f"0 {length - 1}" for length in stop - start)
    pairs |= {key: extent for key in pairs if key.endswith("_Extent")}
    pairs["Segmentation_ReferenceImageExtentOffset"] = " ".join(map(str, start))
    pairs["Segmentation_ConversionParameters"] = node.GetSegmentation().SerializeAllConversionParameters()
    return {key: re.sub(r"\\(.)", _unescaped, value) for key, value in pairs.items()}


def _unescaped(pair: re.Match[str]) -> str:
    """NRRD escapes line breaks and backslashes."""
    return " " if pair[1] == "n" else pair[1]


def _of_one_voxel(node: vtkMRMLSegmentationNode) -> vtkMRMLSegmentationNode:
    """The same segments in the same layers, with a single voxel each, on a grid of one voxel."""
    original, copy = node.GetSegmentation(), slicer.vtkMRMLSegmentationNode()
    segmentation = copy.GetSegmentation()
    segmentation.SetSourceRepresentationName(BINARY_LABELMAP)
    converter = slicer.vtkSegmentationConverter
    name = converter.GetReferenceImageGeometryParameterName()
    segmentation.SetConversionParameter(name, converter.SerializeImageGeometry(_one_voxel(0)))
    layers: dict[vtkOrientedImageData, vtkOrientedImageData] = {}
    for segment_id in segment_ids(node):
        segment, small = original.GetSegment(segment_id), slicer.vtkSegment()
        small.DeepCopyMetadata(segment)
        small.SetNameAutoGenerated(segment.GetNameAutoGenerated())
        small.SetColorAutoGenerated(segment.GetColorAutoGenerated())
        small.SetLabelValue(segment.GetLabelValue())
        # Every layer's voxel is taken, or layers would be merged.
        image = layers.setdefault(segment.GetRepresentation(BINARY_LABELMAP), _one_voxel(segment.GetLabelValue()))
        small.AddRepresentation(BINARY_LABELMAP, image)
        segmentation.AddSegment(small, segment_id)
    return copy


def _one_voxel(value: int) -> vtkOrientedImageData:
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(1, 1, 1)
    image.AllocateScalars(vtk.VTK_INT, 1)
    image.GetPointData().GetScalars().Fill(value)
    return image


def _translation(index: Array) -> Array:
    matrix = np.eye(4)
    matrix[:3, 3] = index
    return matrix
