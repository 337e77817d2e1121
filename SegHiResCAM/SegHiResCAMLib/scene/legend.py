"""A heat map's legend in the slice views: small, with plain numbers and their unit, in a corner where it covers no anatomy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk

from SegHiResCAMLib.records.explanation import LOGIT_UNITS, ExplanationRecord
from SegHiResCAMLib.records.wording import WRITTEN_OUT
from SegHiResCAMLib.scene.volumes import Array, volume_array

if TYPE_CHECKING:
    from slicer import vtkMRMLColorLegendDisplayNode, vtkMRMLScalarVolumeNode, vtkMRMLSliceNode

SIZE = (0.07, 0.25)
"""Of the legend, as shares of a view's width and height."""

CORNERS = ((0.98, 0.9), (0.02, 0.9), (0.98, 0.03))
"""Where it may be, the preferred one first; in the fourth corner, 3D Slicer writes what the view shows."""

_COVERED = (0.2, 0.34)  # of a view, with title and numbers
_SAMPLES = 12  # along each side of the corner
_TITLE_POINTS, _LABEL_POINTS = 9, 9
_LABELS = 3


def add_legend(node: vtkMRMLScalarVolumeNode, record: ExplanationRecord) -> None:
    """Give a heat map its legend, with a title that says what is explained, how, and in which unit the numbers are."""
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    modified = legend.StartModify()
    unit = "logits" if record.units == LOGIT_UNITS else record.units
    legend.SetTitleText("\n".join(filter(None, [record.question.segment, unit])))
    legend.SetNumberOfLabels(_LABELS)
    legend.SetSize(*SIZE)
    legend.SetPosition(*CORNERS[0])
    legend.GetTitleTextProperty().SetFontSize(_TITLE_POINTS)
    legend.GetLabelTextProperty().SetFontSize(_LABEL_POINTS)
    legend.EndModify(modified)
    set_legend(node)


def legend_of(node: vtkMRMLScalarVolumeNode) -> vtkMRMLColorLegendDisplayNode | None:
    """The legend's node; None where somebody has removed it."""
    legend: vtkMRMLColorLegendDisplayNode | None = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    return legend


def set_legend(
    node: vtkMRMLScalarVolumeNode, *, visible: bool = True, views: Iterable[vtkMRMLSliceNode] | None = None
) -> None:
    """Show or hide a heat map's legend, with numbers as its range asks for.

    Args:
        node: The heat map; does nothing where its legend was removed.
        visible: Whether it is shown.
        views: Those that show it; None for all that show the map.
    """
    legend = legend_of(node)
    if legend is None:
        return
    modified = legend.StartModify()
    legend.SetLabelFormat(_number_format(node.GetDisplayNode().GetWindowLevelMax()))
    legend.SetVisibility(visible)
    wanted = [] if views is None else [view.GetID() for view in views]
    if list(legend.GetViewNodeIDs() or ()) != wanted:
        legend.RemoveAllViewNodeIDs()
        for view_id in wanted:
            legend.AddViewNodeID(view_id)
    legend.EndModify(modified)


def place_legend(
    node: vtkMRMLScalarVolumeNode, volume: vtkMRMLScalarVolumeNode, views: Iterable[vtkMRMLSliceNode]
) -> None:
    """Put a heat map's legend into the corner of the views in which it covers the least of a volume's anatomy."""
    legend = legend_of(node)
    if legend is None or volume.GetDisplayNode() is None:  # it may have been deleted meanwhile
        return
    covered = [sum(_covered(view, volume, corner) for view in views) for corner in CORNERS]
    legend.SetPosition(*CORNERS[int(np.argmin(covered))])


def _number_format(upper: float) -> str:
    """Three digits where they say all (0.0364, 57.3), whole numbers above (8180)."""
    return "%.0f" if 1e3 <= upper < WRITTEN_OUT else "%.3g"


def _covered(view: vtkMRMLSliceNode, volume: vtkMRMLScalarVolumeNode, corner: tuple[float, float]) -> float:
    """How much of a corner of a view shows anatomy: what is brighter than the dark end of the volume's window."""
    columns, rows, _ = view.GetDimensions()
    across, up = (
        (np.linspace(0, share, _SAMPLES) if at < 0.5 else np.linspace(1 - share, 1, _SAMPLES))
        for at, share in zip(corner, _COVERED, strict=True)
    )
    x, y = np.meshgrid(across * columns, up * rows)
    xy = np.stack([x.ravel(), y.ravel(), np.zeros(x.size), np.ones(x.size)])
    array, affine = volume_array(volume)
    to_voxels = np.linalg.inv(_world_from(volume) @ affine) @ slicer.util.arrayFromVTKMatrix(view.GetXYToRAS())
    indices = np.rint((to_voxels @ xy)[:3].T).astype(int)
    inside = ((indices >= 0) & (indices < array.shape)).all(axis=1)
    display = volume.GetDisplayNode()
    dark = display.GetWindowLevelMin() + 0.05 * display.GetWindow()
    return float((array[tuple(indices[inside].T)] > dark).sum()) / len(indices)


def _world_from(volume: vtkMRMLScalarVolumeNode) -> Array:
    """(4, 4) of a volume's parent transforms; of what is not linear in them, nothing: a corner need not be exact."""
    matrix = vtk.vtkMatrix4x4()
    parent = volume.GetParentTransformNode()
    if parent is not None and parent.IsTransformToWorldLinear():
        parent.GetMatrixTransformToWorld(matrix)
    moved: Array = slicer.util.arrayFromVTKMatrix(matrix)
    return moved
