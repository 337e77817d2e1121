"""The segments of a segmentation as one label map with names: anatomical regions, or a reference.

As the command reads a segmentation file: a voxel in several segments belongs to the smallest of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import slicer
import vtk

from SegHiResCAMLib.naming import unique
from SegHiResCAMLib.plain_text import plain
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.segmentation_file import DrawnLayers, drawn_layers
from SegHiResCAMLib.scene.segments import BINARY_LABELMAP, segment_ids, segment_reader
from SegHiResCAMLib.scene.volumes import Array, volume_array

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

MOST, LONGEST = 1000, 100
"""Segments, and letters of a name."""

Part = tuple[Array, tuple[slice, ...]]
"""Where a segment is (booleans), and which box of the label map that is."""


class RegionLabels(NamedTuple):
    """A label map on its way out of the scene.

    Attributes:
        read: Gives the labels (i, j, k), int16, which takes time; it may be called in any thread.
        affine: (4, 4) from (i, j, k) to the RAS millimetres that the volume has by itself, without its transforms.
        names: Of the values 1, 2 and so on.
    """

    read: Callable[[], Array]
    affine: Array
    names: tuple[str, ...]


def region_labels(node: vtkMRMLSegmentationNode, volume: vtkMRMLScalarVolumeNode) -> RegionLabels:
    """A segmentation beside a volume: on its own grid, or where its segments lie on several grids or are warped, on that of the volume.

    Raises:
        SceneError: It has no segments, or too many.
    """
    ids = segment_ids(node)
    if not 0 < len(ids) <= MOST:
        message = f"'{node.GetName()}' has {len(ids)} segments. Choose a segmentation that has 1 to {MOST}."
        raise SceneError(message)
    segments = [node.GetSegmentation().GetSegment(one) for one in ids]
    names = tuple(unique(plain(one.GetName() or "")[:LONGEST] for one in segments))
    layers, moved = drawn_layers(node), _linear(node, volume)
    if layers is not None and moved is not None:
        index = [layers.images.index(one.GetRepresentation(BINARY_LABELMAP)) for one in segments]
        values = [one.GetLabelValue() for one in segments]
        parts = [_of_layer(layers, number, value) for number, value in zip(index, values, strict=True)]
        shape = tuple(int(length) for length in layers.stop - layers.start)
        return RegionLabels(lambda: _together(parts, shape), moved @ layers.affine, names)
    array, affine = volume_array(volume)
    whole = tuple(slice(0, length) for length in array.shape)
    readers = [segment_reader(node, one, volume) for one in ids]
    parts = [partial(_on_grid, read, whole) for read in readers]
    return RegionLabels(lambda: _together(parts, array.shape), affine, names)


def _on_grid(read: Callable[[], Array], box: tuple[slice, ...]) -> Part:
    return read(), box


def _of_layer(layers: DrawnLayers, number: int, value: int) -> Callable[[], Part]:
    labels, start = layers.layers[number]
    box = tuple(slice(int(one), int(one) + length) for one, length in zip(start, labels.shape, strict=True))
    return lambda: (np.asarray(labels == value), box)


def _together(parts: list[Callable[[], Part]], shape: tuple[int, ...]) -> Array:
    """The largest is put down first. Each is read twice: all of them together would need too much memory."""
    sizes = [int(np.count_nonzero(read()[0])) for read in parts]
    labels = np.zeros(shape, np.int16, "F")
    for number in sorted(range(len(parts)), key=lambda one: -sizes[one]):
        if sizes[number]:
            where, box = parts[number]()
            labels[box][where] = number + 1
    return labels


def _linear(node: vtkMRMLSegmentationNode, volume: vtkMRMLScalarVolumeNode) -> Array | None:
    """(4, 4) from a segmentation's own RAS millimetres to a volume's; None where there is a warp between them."""
    matrix = vtk.vtkMatrix4x4()
    nodes = node.GetParentTransformNode(), volume.GetParentTransformNode()
    if not slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(*nodes, matrix):
        return None
    return np.asarray(slicer.util.arrayFromVTKMatrix(matrix))
