from __future__ import annotations

import csv
from dataclasses import fields
from typing import Any

import slicer

from SegHiResCAMLib.records.explanation import Measurements, ScoreExplained
from SegHiResCAMLib.scene.table import ROWS, SCORE_EXPLAINED, add_measurements_table

MEASURED = Measurements(0.5, 0.625, 1.0, 12.3456789, (-31.25, 12.5, 845.125), 7.25, 0.001)
BLANK = Measurements(None, None, None, 0.0, None, None, 0.0)


def _rows(table: Any) -> list[tuple[str, ...]]:
    columns = range(table.GetNumberOfColumns())
    return [tuple(table.GetCellText(row, column) for column in columns) for row in range(table.GetNumberOfRows())]


def test_every_measurement_has_its_title() -> None:
    assert list(ROWS) == [field.name for field in fields(Measurements)]


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


def test_what_does_not_exist_is_left_out(scene: Any) -> None:
    assert _rows(add_measurements_table(scene, BLANK, "Blank")) == [("Peak", "0", "logit units")]


def test_the_peak_has_the_units_of_its_map(scene: Any) -> None:
    table = add_measurements_table(scene, MEASURED, "Refined", units="share of the maximum")
    assert ("Peak", "12.3457", "share of the maximum") in _rows(table)


def test_the_share_of_the_score_is_a_row_where_it_was_asked_for(scene: Any) -> None:
    def last(found: ScoreExplained) -> tuple[str, ...]:
        return _rows(add_measurements_table(scene, MEASURED, "Tumour", score_explained=found))[-1]

    assert last(ScoreExplained(0.114, 11.4, 100.0)) == (SCORE_EXPLAINED, "11.4", "%")
    assert last(ScoreExplained(None, reason="the maps were combined")) == (SCORE_EXPLAINED, "not applicable", "")


def test_a_table_is_found_in_the_data_tree_and_saved_as_csv(scene: Any, tmp_path: Any) -> None:
    table = add_measurements_table(scene, MEASURED, "Tumour")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert hierarchy.GetItemByDataNode(table) != hierarchy.GetInvalidItemID()
    storage = slicer.vtkMRMLTableStorageNode()
    storage.SetFileName(str(tmp_path / "table.csv"))
    assert storage.WriteData(table)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [("Measurement", "Value", "Unit"), *_rows(table)]
