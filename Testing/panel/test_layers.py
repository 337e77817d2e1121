"""The table of layers: the suggested one first, what speaks against a layer in words, sorted as asked, chosen by mouse or keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness.desktop import Desktop
from harness.pythonqt import QtCore
from PySide6.QtTest import QTest

from panel.steps import choose_model, idle, segment


@pytest.fixture
def table(desktop: Desktop, a_volume: Any, a_model: Path) -> Any:
    choose_model(desktop, a_model)
    desktop.widget.panel.state.parameters.layer = ""
    return desktop.ui.layerTable


def column(table: Any, number: int) -> list[str]:
    return [table.item(row, number).text() for row in range(table.rowCount)]


def test_the_suggested_layer_comes_first_and_it_is_said_why(desktop: Desktop, table: Any) -> None:
    suggested = desktop.widget.panel.state.layers.suggested
    assert (table.item(0, 0).text(), table.item(0, 3).text()) == (suggested, "suggested")
    assert desktop.ui.layerLabel.text.endswith(" grid (suggested)")
    assert suggested in desktop.ui.layerLabel.toolTip
    assert desktop.ui.layerFacts.text.startswith("Suggested: the deepest block whose grid (8 x 8 x 8)")
    assert table.currentRow() == 0


def test_marks_are_words_and_their_messages_are_told(desktop: Desktop, table: Any) -> None:
    layers = desktop.widget.panel.state.layers.layers
    codes = {one.code for layer in layers for one in layer.caveats}
    assert "tail-trivial" in codes
    told = [table.item(row, 3).toolTip() for row in range(table.rowCount)]
    assert not any(code in " ".join([*told, *column(table, 3)]) for code in codes)
    row = next(row for row, text in enumerate(told) if "the map is the explained region" in text)
    message = "Only 1x1x1 operations follow, so the map can only reproduce the explained region."
    assert message in table.item(row, 3).toolTip()
    table.selectRow(row)
    assert message in desktop.ui.layerFacts.text


@pytest.mark.parametrize("number", range(4))
def test_a_click_on_a_head_sorts_by_it(desktop: Desktop, table: Any, number: int) -> None:
    before, chosen = column(table, 0), desktop.ui.layerLabel.text
    sizes = {layer.name: layer for layer in desktop.widget.panel.state.layers.layers}

    def keys() -> list[Any]:
        by = (
            lambda layer: layer.name,
            lambda layer: layer.grid,
            lambda layer: max(layer.mm, default=0),
            lambda layer: [one.title for one in layer.caveats],
        )[number]
        return [by(sizes[name]) for name in column(table, 0)]

    header = table.horizontalHeader()
    header.sectionClicked.emit(number)
    assert keys() == sorted(keys())
    assert header.isSortIndicatorShown()
    header.sectionClicked.emit(number)
    assert keys() == sorted(keys(), reverse=True)
    assert desktop.ui.layerLabel.text == chosen
    assert desktop.ui.layerLabel.toolTip.startswith(table.item(table.currentRow(), 0).text())
    header.sectionClicked.emit(number)
    assert column(table, 0) == before
    assert not header.isSortIndicatorShown()


def test_the_keyboard_chooses(desktop: Desktop, table: Any) -> None:
    QTest.keyClick(table, QtCore.Qt.Key.Key_Down)
    assert desktop.widget.panel.state.parameters.layer == table.item(1, 0).text()
    assert desktop.ui.layerLabel.toolTip.startswith(table.item(1, 0).text())
    QTest.keyClick(table, QtCore.Qt.Key.Key_Home, QtCore.Qt.KeyboardModifier.ControlModifier)
    assert desktop.widget.panel.state.parameters.layer == ""
    idle(desktop)


def test_layers_are_listed_for_a_volume_that_cannot_be_asked_about(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path
) -> None:
    choose_model(desktop, a_model)
    segment(desktop)
    desktop.widget.panel.state.parameters.inputVolume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    idle(desktop)
    assert desktop.ui.layerTable.rowCount > 1
    assert "no voxels" in desktop.ui.reasonLabel.text
    desktop.widget.panel.state.parameters.inputVolume = a_volume
    idle(desktop)
    assert "(8 x 8 x 8)" in desktop.ui.layerFacts.text
