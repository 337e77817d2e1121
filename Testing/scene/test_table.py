from __future__ import annotations

import csv
from dataclasses import fields
from typing import Any

import pytest
import slicer

from SegHiResCAMLib.scene.table import ROWS, add_measurements_table

MEASURED = {
    "share_inside": 0.5,
    "share_within_5_mm": 0.625,
    "share_within_10_mm": 1.0,
    "peak": 12.3456789,
    "peak_ras_mm": [-31.25, 12.5, 845.125],
    "effective_volume_ml": 7.25,
    "segment_volume_ml": 0.001,
}
BLANK = {name: 0.0 if name in ("peak", "segment_volume_ml") else None for name in MEASURED}


def _rows(table: Any) -> list[tuple[str, ...]]:
    columns = range(table.GetNumberOfColumns())
    return [tuple(table.GetCellText(row, column) for column in columns) for row in range(table.GetNumberOfRows())]


@pytest.mark.engine
def test_every_measurement_has_its_title() -> None:
    from SegHiResCAMLib.engine.answer.measurements import Measurements

    assert list(ROWS) == list(MEASURED) == [field.name for field in fields(Measurements)]


def test_a_table_tells_each_measurement_with_its_unit(scene: Any) -> None:
    table = add_measurements_table(scene, MEASURED, "Tumour")
    assert table.GetName() == "Tumour"
    assert [table.GetColumnName(column) for column in range(3)] == ["Measurement", "Value", "Unit"]
    assert _rows(table) == [
        ("Map inside the explained region", "50", "%"),
        ("Map within 5 mm of the explained region", "62.5", "%"),
        ("Map within 10 mm of the explained region", "100", "%"),
        ("Peak", "12.3457", "logit units"),
        ("Peak position", "L 31, A 12, S 845", "mm"),
        ("Effective volume of the map", "7.25", "ml"),
        ("Explained volume", "0.001", "ml"),
    ]


def test_what_does_not_exist_is_empty(scene: Any) -> None:
    values = {title: value for title, value, _ in _rows(add_measurements_table(scene, BLANK, "Blank"))}
    assert [title for title, value in values.items() if value] == ["Peak", "Explained volume"]


def test_other_measurements_keep_their_own_name(scene: Any) -> None:
    assert _rows(add_measurements_table(scene, {"dice": 0.5}, "Other")) == [("dice", "0.5", "")]


def test_the_peak_has_the_units_of_its_map(scene: Any) -> None:
    table = add_measurements_table(scene, {"peak": 1.0}, "Refined", units="share of the maximum")
    assert _rows(table) == [("Peak", "1", "share of the maximum")]


def test_a_table_is_found_in_the_data_tree_and_saved_as_csv(scene: Any, tmp_path: Any) -> None:
    table = add_measurements_table(scene, MEASURED, "Tumour")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert hierarchy.GetItemByDataNode(table) != hierarchy.GetInvalidItemID()
    storage = slicer.vtkMRMLTableStorageNode()
    storage.SetFileName(str(tmp_path / "table.csv"))
    assert storage.WriteData(table)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [("Measurement", "Value", "Unit"), *_rows(table)]
