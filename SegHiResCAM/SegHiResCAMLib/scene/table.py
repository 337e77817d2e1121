"""A heat map's measurements as a table node, which Slicer shows and saves as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import vtk

from SegHiResCAMLib.patient_places import coordinates
from SegHiResCAMLib.records.explanation import Measurements, ScoreExplained
from SegHiResCAMLib.scene.placement import add_to_hierarchy

if TYPE_CHECKING:
    from slicer import vtkMRMLScene, vtkMRMLTableNode

COLUMNS = ("Measurement", "Value", "Unit")

MAP_UNITS = "units of the map"

ROWS = {
    "share_inside": ("Map inside the explained region", "%", 100),
    "share_within_5_mm": ("Map within 5 mm of the explained region", "%", 100),
    "share_within_10_mm": ("Map within 10 mm of the explained region", "%", 100),
    "peak": ("Peak", MAP_UNITS, 1),
    "peak_ras_mm": ("Peak position", "mm", 1),
    "effective_volume_ml": ("Effective volume of the map", "ml", 1),
    "segment_volume_ml": ("Explained volume", "ml", 1),
}
"""Of each measurement: what it is called, its unit, and the factor to that. Others keep their own name."""

SCORE_EXPLAINED = "Score explained by the sum of the map"


def add_measurements_table(
    scene: vtkMRMLScene,
    measurements: Measurements,
    name: str,
    *,
    units: str = "logit units",
    score_explained: ScoreExplained | None = None,
) -> vtkMRMLTableNode:
    """Add a table with one row a measurement that there is.

    Args:
        scene: The vtkMRMLScene.
        measurements: Of a heat map; a point in RAS millimetres is written as a place in the patient.
        name: Of the node.
        units: Of the heat map.
        score_explained: Where it was measured, which share of the score the map's sum explains; a further row.

    Returns:
        The vtkMRMLTableNode. Values are text, rounded to six digits.
    """
    rows = [COLUMNS, *_rows(measurements, units)]
    if score_explained is not None:
        rows.append(_explained(score_explained))
    table: vtkMRMLTableNode = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    for title, *texts in zip(*rows, strict=True):
        column = vtk.vtkStringArray()
        column.SetName(title)
        for text in texts:
            column.InsertNextValue(text)
        table.AddColumn(column)
    table.SetUseColumnTitleAsColumnHeader(True)
    add_to_hierarchy(scene, table)
    return table


def table_rows(table: vtkMRMLTableNode) -> list[list[str]]:
    """What stands in a table node: the titles, then row by row."""
    data = table.GetTable()
    columns = [data.GetColumn(index) for index in range(data.GetNumberOfColumns())]
    rows = [[column.GetVariantValue(row).ToString() for column in columns] for row in range(data.GetNumberOfRows())]
    return [[column.GetName() for column in columns], *rows]


def _rows(measurements: Measurements, units: str) -> Iterator[tuple[str, str, str]]:
    for one in fields(measurements):
        title, unit, factor = ROWS[one.name]
        measured = getattr(measurements, one.name)
        if measured is None or (one.name == "segment_volume_ml" and not measured):
            continue  # there is no such thing, as the volume of a point
        yield title, _text(measured, factor), units if unit == MAP_UNITS else unit


def _explained(found: ScoreExplained) -> tuple[str, str, str]:
    return (SCORE_EXPLAINED, "not applicable", "") if found.reason else (SCORE_EXPLAINED, _text(found.share, 100), "%")


def _text(measured: float | Sequence[float] | None, factor: float) -> str:
    if measured is None:
        return ""
    return coordinates(measured) if isinstance(measured, Sequence) else f"{measured * factor:.6g}"
