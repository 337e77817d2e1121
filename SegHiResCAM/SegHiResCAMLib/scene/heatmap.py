"""A heat map as a volume node: raw values, Inferno from 0 to its maximum, low values hidden, and how it came to be.

Colours run over the map's own maximum over the whole volume, so that slices compare; the voxels stay raw, in the units
of the score (logits), and so do the legend's numbers. A slice view shows a value either fully or not at all (MRML's
opacity is binary), so what lies under a fraction of the maximum is hidden instead of faded.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import chain, count
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import slicer

from SegHiResCAMLib.provenance import EXPLANATION, METHOD, PREFIX
from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.files import explanation_line, read_explanation
from SegHiResCAMLib.records.previous import record_of_texts
from SegHiResCAMLib.records.wording import map_name
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.folders import put_into_folder, remove_empty_folders
from SegHiResCAMLib.scene.legend import add_legend
from SegHiResCAMLib.scene.placement import place_beside
from SegHiResCAMLib.scene.volumes import Array, image_of, set_image, to_world, volume_array

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScene, vtkMRMLSegmentationNode
    from vtk import vtkImageData

INFERNO = "vtkMRMLColorTableNodeFileInferno.txt"  # perceptually uniform: makes no edges that the map does not have
LOWER_FRACTION = 0.15
INPUT_VOLUME = "SegHiResCAM.inputVolume"  # node reference roles
SEGMENTATION = "SegHiResCAM.segmentation"
MEASUREMENTS = "SegHiResCAM.measurements"
DEVIATION = "SegHiResCAM.deviation"


class Peak(NamedTuple):
    """Where a heat map is highest: RAS millimetres in the scene, shape (3,), and the value there in the map's units."""

    position: Array
    value: float


class PreparedMap(NamedTuple):
    """A heat map on its way into the scene: its vtkImageData and its maximum, 0 where it is nowhere above."""

    image: vtkImageData
    maximum: float


def prepare_map(array: Array) -> PreparedMap:
    """Do everything that takes time; may run in any thread.

    Args:
        array: (i, j, k) raw values, in the units that the record names.

    Raises:
        SceneError: The map has values that are NaN or infinite.
    """
    values = np.asarray(array, dtype=np.float32)
    highest, lowest = float(values.max()), float(values.min())
    if not np.isfinite([highest, lowest]).all():  # no number, and no infinity, gets past both
        message = "The heat map has NaN or infinite values. Compute it again in full precision (float32)."
        raise SceneError(message)
    return PreparedMap(image_of(values), max(highest, 0.0))


def add_heatmap(
    scene: vtkMRMLScene,
    array: Array | PreparedMap,
    affine: Array,
    record: ExplanationRecord,
    input_volume: vtkMRMLScalarVolumeNode,
    *,
    segmentation: vtkMRMLSegmentationNode | None = None,
    lower_fraction: float = LOWER_FRACTION,
) -> vtkMRMLScalarVolumeNode:
    """Add a heat map to the scene, beside the volume it explains, with its colours and legend.

    Args:
        scene: The vtkMRMLScene.
        array: (i, j, k) raw values, in the units that the record names; or what `prepare_map` has made of them.
        affine: (4, 4) from (i, j, k) to RAS millimetres.
        record: How the map was made, kept as an attribute and read back by `explanation_of`; its maximum becomes the map's own.
        input_volume: The vtkMRMLScalarVolumeNode that was explained.
        segmentation: The vtkMRMLSegmentationNode of the explained segment.
        lower_fraction: What lies under this fraction of the maximum is hidden.

    Returns:
        The vtkMRMLScalarVolumeNode. A map that is nowhere above 0 has the range 0 to 1 and shows nothing.

    Raises:
        SceneError: The map has values that are NaN or infinite.
    """
    prepared = array if isinstance(array, PreparedMap) else prepare_map(array)
    name = _unused_name(scene, record)
    node: vtkMRMLScalarVolumeNode = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().AutoWindowLevelOff()  # before there are voxels, or it looks at every one of them
    set_image(node, prepared.image, affine)
    node.SetNodeReferenceID(INPUT_VOLUME, input_volume.GetID())
    if segmentation is not None:
        node.SetNodeReferenceID(SEGMENTATION, segmentation.GetID())
    place_beside(scene, node, input_volume)
    put_into_folder(scene, node)
    dress_heatmap(node, record, prepared.maximum, lower_fraction)
    return node


def dress_heatmap(
    node: vtkMRMLScalarVolumeNode, record: ExplanationRecord, maximum: float, lower_fraction: float = LOWER_FRACTION
) -> None:
    """Make a volume node the heat map of a record: attributes, colours up to its own maximum, legend."""
    node.SetAttribute(METHOD, record.method)
    node.SetAttribute(EXPLANATION, explanation_line(replace(record, maximum=maximum)))
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAndObserveColorNodeID(INFERNO)
    set_display_range(node, maximum or 1.0, lower_fraction)
    add_legend(node, record)


def change_record(node: vtkMRMLScalarVolumeNode, **fields: Any) -> ExplanationRecord:
    """Change what is kept of a heat map: more was found about it since it was made. Returns its record.

    Raises:
        SceneError: It was deleted.
    """
    record = explanation_of(node)
    if record is None or node.GetScene() is None:
        message = f"'{node.GetName()}' was deleted meanwhile, so what was found about it was discarded."
        raise SceneError(message)
    changed = replace(record, **fields)
    node.SetAttribute(EXPLANATION, explanation_line(changed))
    return changed


def add_deviation(heatmap: vtkMRMLScalarVolumeNode, image: vtkImageData) -> vtkMRMLScalarVolumeNode:
    """Add the standard deviation of a smooth heat map beside it, in its units and on its grid; it goes when the heat map goes.

    Args:
        heatmap: Of `add_heatmap`.
        image: Of `image_of`.
    """
    scene = heatmap.GetScene()
    node: vtkMRMLScalarVolumeNode = scene.AddNewNodeByClass(
        "vtkMRMLScalarVolumeNode", f"{heatmap.GetName()}, standard deviation"
    )
    node.CreateDefaultDisplayNodes()
    set_image(node, image, volume_array(heatmap)[1])
    node.GetDisplayNode().SetAndObserveColorNodeID(INFERNO)
    place_beside(scene, node, heatmap)
    heatmap.SetNodeReferenceID(DEVIATION, node.GetID())
    return node


def remove_heatmap(node: vtkMRMLScalarVolumeNode) -> None:
    """Remove a heat map from its scene with all that belongs to it alone: display, legend, standard deviation, table of measurements."""
    scene, deviation = node.GetScene(), node.GetNodeReference(DEVIATION)
    own = [
        one.GetNthDisplayNode(index)
        for one in (node, deviation)
        if one
        for index in range(one.GetNumberOfDisplayNodes())
    ]
    # The volume first: a view that shows one without its display would make it another, which looks at every voxel.
    for one in [node, deviation, *own, node.GetNodeReference(MEASUREMENTS)]:
        if one is not None and one.GetScene() is scene:  # in the desktop, some go with the volume
            scene.RemoveNode(one)
    remove_empty_folders(scene)


def restore_display(node: vtkMRMLScalarVolumeNode) -> None:
    """Give a heat map whose display somebody has removed another one, and its legend; does nothing where it has its own."""
    if isinstance(node.GetDisplayNode(), slicer.vtkMRMLScalarVolumeDisplayNode):
        return
    displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    node.RemoveAllDisplayNodeIDs()
    node.CreateDefaultDisplayNodes()  # the first one is the one that views take
    for one in displays:
        if one is not None and one.IsA("vtkMRMLColorLegendDisplayNode"):
            node.GetScene().RemoveNode(one)  # it was that of the display that is gone
        elif one is not None:
            node.AddAndObserveDisplayNodeID(one.GetID())
    record = explanation_of(node)
    if record is not None:
        add_legend(node, record)


def set_display_range(node: vtkMRMLScalarVolumeNode, upper: float, lower_fraction: float = LOWER_FRACTION) -> None:
    """Show a heat map's colours from 0 to `upper`, hiding what lies under that fraction of it.

    Two maps that shall be compared in absolute terms get the same `upper`.
    """
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()  # first, or it sets the range back to the data's percentiles
    upper = range_end(upper)
    display.SetWindowLevelMinMax(0.0, upper)
    # The upper bound is explicit (the default would hide large values) and far off, so that rounding hides no peak.
    display.SetThreshold(lower_fraction * upper, max(upper, heatmap_maximum(node)) * 2)
    display.ApplyThresholdOn()


def range_end(upper: float) -> float:
    """The end of a range to five digits: scenes keep six of its middle, so that it comes back as it was, from exactly 0."""
    return float(f"{upper:.5g}")


def explanation_of(node: vtkMRMLScalarVolumeNode) -> ExplanationRecord | None:
    """How a heat map was made; None for any other node. Maps of earlier versions, whose attributes are texts, have theirs as well."""
    if node.GetAttribute(METHOD) is None:
        return None
    line = node.GetAttribute(EXPLANATION)
    found = None if line is None else _read(line)
    if found is None:
        names = [name for name in node.GetAttributeNames() if name.startswith(PREFIX)]
        found = record_of_texts({name.removeprefix(PREFIX): node.GetAttribute(name) for name in names})
    return found


@lru_cache(64)
def _read(line: str) -> ExplanationRecord | None:
    try:
        return read_explanation(line)
    except ValueError:
        return None


def heatmaps_of(scene: vtkMRMLScene) -> list[vtkMRMLScalarVolumeNode]:
    """Every heat map of the scene; companions are none."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = [scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in range(count)]
    return [node for node in nodes if node.GetAttribute(METHOD) and not node.GetHideFromEditors()]


def heatmap_maximum(node: vtkMRMLScalarVolumeNode) -> float:
    """The highest value of a heat map, 0 for a map that is nowhere above."""
    record = explanation_of(node)
    return record.maximum if record is not None and record.maximum else max(float(volume_array(node)[0].max()), 0.0)


def peak_position(node: vtkMRMLScalarVolumeNode) -> Peak:
    """Where the map is highest, its parent transforms included; for a map that is nowhere above 0, the volume's centre."""
    array, affine = volume_array(node)
    index = _recorded_peak(node, array, affine)
    if index is None:
        # In the order of the memory, or numpy would copy the whole map first.
        index = np.array(np.unravel_index(np.argmax(array.T), array.T.shape)[::-1], dtype=float)
    value = float(array[tuple(index.astype(int))])
    if value <= 0:
        index, value = (np.array(array.shape) - 1) / 2, 0.0
    return Peak(to_world(node, (affine @ [*index, 1.0])[:3]), value)


def _unused_name(scene: vtkMRMLScene, record: ExplanationRecord) -> str:
    """A name that no other node has: with the layer, or numbered, where the same was explained before."""
    names = [map_name(record) or "Heat map", map_name(record, layer=True) or "Heat map"]
    numbered = (f"{names[0]} ({number})" for number in count(2))
    return next(name for name in chain(names, numbered) if scene.GetFirstNodeByName(name) is None)


def _recorded_peak(node: vtkMRMLScalarVolumeNode, array: Array, affine: Array) -> Array | None:
    """The voxel that the map's record names, if the maximum is there: large maps need not be searched."""
    record = explanation_of(node)
    if record is None or not record.maximum:
        return None
    index = np.rint(np.linalg.solve(affine, [*record.peak_ras_mm, 1.0])[:3])
    inside = bool(((index >= 0) & (index < array.shape)).all())
    return index if inside and array[tuple(index.astype(int))] == np.float32(record.maximum) else None
