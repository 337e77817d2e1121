"""A heat map as a volume node: raw values, Inferno from 0 to its maximum, low values hidden, and how it came to be.

Colours run over the map's own maximum over the whole volume, so that slices compare; the voxels stay raw, in the units
of the score (logits), and so do the legend's numbers. A slice view shows a value either fully or not at all (MRML's
opacity is binary), so what lies under a fraction of the maximum is hidden instead of faded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import slicer

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.placement import place_beside
from SegHiResCAMLib.scene.volumes import Array, fill_volume, to_world, volume_array

INFERNO = "vtkMRMLColorTableNodeFileInferno.txt"  # perceptually uniform: makes no edges that the map does not have
LOWER_FRACTION = 0.15
INPUT_VOLUME = "SegHiResCAM.inputVolume"  # node reference roles
SEGMENTATION = "SegHiResCAM.segmentation"
_PREFIX = "SegHiResCAM."  # of the node attributes that hold the provenance


class Peak(NamedTuple):
    """Where a heat map is highest: RAS millimetres in the scene, shape (3,), and the value there in the map's units."""

    position: Array
    value: float


def add_heatmap(
    scene: Any,
    array: Array,
    affine: Array,
    provenance: Mapping[str, str],
    input_volume: Any,
    *,
    segmentation: Any = None,
    lower_fraction: float = LOWER_FRACTION,
) -> Any:
    """Add a heat map to the scene, beside the volume it explains, with its colours and legend.

    Args:
        scene: The vtkMRMLScene.
        array: (i, j, k) raw values, in logit units.
        affine: (4, 4) from (i, j, k) to RAS millimetres.
        provenance: How the map was made, kept as node attributes and read back by `heatmap_provenance`. "method",
            "segment" and "model" make the node's name. "maximum" is added: the map's own.
        input_volume: The vtkMRMLScalarVolumeNode that was explained.
        segmentation: The vtkMRMLSegmentationNode of the explained segment.
        lower_fraction: What lies under this fraction of the maximum is hidden.

    Returns:
        The vtkMRMLScalarVolumeNode. A map that is nowhere above 0 has the range 0 to 1 and shows nothing.

    Raises:
        SceneError: The map has values that are no numbers.
    """
    if not np.isfinite(array).all():
        sentence = "The heat map has values that are not numbers: compute it again in full precision (float32)."
        raise SceneError(sentence)
    maximum = max(float(np.float32(array.max())), 0.0)
    name = ", ".join(provenance[key] for key in ("method", "segment", "model") if provenance.get(key))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name or "Heat map")
    fill_volume(node, np.asarray(array, dtype=np.float32), affine)
    node.SetNodeReferenceID(INPUT_VOLUME, input_volume.GetID())
    if segmentation is not None:
        node.SetNodeReferenceID(SEGMENTATION, segmentation.GetID())
    for key, value in {**provenance, "maximum": repr(maximum)}.items():
        node.SetAttribute(_PREFIX + key, value)
    place_beside(scene, node, input_volume)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAndObserveColorNodeID(INFERNO)
    set_display_range(node, maximum or 1.0, lower_fraction)
    _add_legend(node, provenance)
    return node


def set_display_range(node: Any, upper: float, lower_fraction: float = LOWER_FRACTION) -> None:
    """Show a heat map's colours from 0 to `upper`, hiding what lies under that fraction of it.

    Two maps that shall be compared in absolute terms get the same `upper`.
    """
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()  # first, or it sets the range back to the data's percentiles
    display.SetWindowLevelMinMax(0.0, upper)
    # The upper bound is explicit (the default would hide large values) and far off, so that rounding hides no peak.
    display.SetThreshold(lower_fraction * upper, max(upper, peak_position(node).value) * 2)
    display.ApplyThresholdOn()


def heatmap_provenance(node: Any) -> dict[str, str]:
    """How a heat map was made, as `add_heatmap` was told, with its "maximum"; empty for any other node."""
    names = [name for name in node.GetAttributeNames() if name.startswith(_PREFIX)]
    return {name.removeprefix(_PREFIX): node.GetAttribute(name) for name in names}


def peak_position(node: Any) -> Peak:
    """Where the map is highest, its parent transforms included; for a map that is nowhere above 0, the volume's centre."""
    array, affine = volume_array(node)
    index = np.array(np.unravel_index(np.argmax(array), array.shape), dtype=float)
    value = float(array.max())
    if value <= 0:
        index, value = (np.array(array.shape) - 1) / 2, 0.0
    return Peak(to_world(node, (affine @ [*index, 1.0])[:3]), value)


def _add_legend(node: Any, provenance: Mapping[str, str]) -> None:
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    legend.SetTitleText("\n".join(provenance[key] for key in ("method", "segment") if provenance.get(key)))
    legend.SetLabelFormat("%.3g")  # raw maps range from 1e-6 to 1e6
    legend.SetVisibility(True)
