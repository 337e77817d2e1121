"""Measurements are read to three digits and kept to six."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness.desktop import Desktop

from panel.steps import choose_model, choose_segment, explain
from SegHiResCAMLib.scene.heatmap import MEASUREMENTS


def test_the_panel_shows_three_digits_of_what_the_table_node_has(
    desktop: Desktop, a_volume: Any, a_model: Path
) -> None:
    choose_model(desktop, a_model)
    choose_segment(desktop, "tumour")
    table = explain(desktop).GetNodeReference(MEASUREMENTS).GetTable()
    node, units = table.GetColumnByName("Value"), table.GetColumnByName("Unit")
    shown = desktop.ui.measurementTable
    assert (shown.rowCount, shown.columnCount) == (node.GetNumberOfValues(), 2)
    digits = 0
    for row in range(shown.rowCount):
        exact, unit = node.GetValue(row), units.GetValue(row)
        assert f"{exact} {unit}" in shown.item(row, 1).toolTip()
        text, unit_shown, rest = shown.item(row, 1).text().partition(f" {unit}")
        assert (unit_shown.strip(), rest) == (unit, "")
        if exact.startswith(("R ", "L ")):  # a place in the patient
            assert text == exact
            continue
        assert float(text) == pytest.approx(float(exact), rel=5e-3)
        assert len(text.lstrip("-0.").replace(".", "")) <= max(3, len(exact.lstrip("-").partition(".")[0]))
        digits = max(digits, len(exact.lstrip("-0.").replace(".", "")))
    assert digits == 6


@pytest.mark.parametrize(
    ("exact", "read"),
    [
        ("470.996", "471"), ("59.8569", "59.9"), ("-83.8597", "-83.9"), ("0.00857612", "0.00858"), ("12345.6", "12346"),
        ("0", "0"), ("9.999", "10.0"), ("4.2e-07", "4.2×10⁻⁷"), ("1.23456e+08", "1.23×10⁸"), ("", ""), ("mm", "mm"),
    ],
)  # fmt: skip
def test_a_number_is_rounded_to_what_can_be_read(desktop: Desktop, exact: str, read: str) -> None:
    from SegHiResCAMLib.panel.findings import rounded

    assert rounded(exact) == read


@pytest.mark.parametrize("name", ["statusLabel", "diagnosesLabel"])
def test_what_comes_from_files_is_text_and_never_markup(desktop: Desktop, name: str) -> None:
    from PySide6.QtCore import Qt

    text_format = getattr(desktop.ui, name).textFormat
    assert (text_format() if callable(text_format) else text_format) == Qt.TextFormat.PlainText
