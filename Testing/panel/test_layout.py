"""The panel reads from top to bottom at 350 pixels: nothing lies over another, nothing is cut, and nothing makes it wider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.desktop import Desktop
from harness.module_panel import ModulePanel
from harness.pythonqt import QtCore, QtGui, QtWidgets

from panel.steps import choose, choose_model, choose_segment, explain, segment

USUAL = 350
"""Pixels that 3D Slicer's module panel has at first, its scroll bar included."""


@pytest.fixture
def shown(desktop: Desktop) -> Iterator[ModulePanel]:
    """The module in 3D Slicer's panel."""
    panel = ModulePanel(desktop.parent, USUAL)
    enter(desktop, panel)
    yield panel
    panel.close()
    desktop.widget.panel.enter()


def enter(desktop: Desktop, panel: ModulePanel) -> None:
    panel.add()
    desktop.widget.enter()
    panel.settle()


def leave(desktop: Desktop, panel: ModulePanel) -> None:
    panel.remove()
    desktop.widget.exit()
    panel.settle()


def inside(widget: Any) -> list[Any]:
    """Widgets that stand beside each other in a layout, of any depth."""
    found = []
    for one in widget.children():
        if isinstance(one, QtWidgets.QWidget) and one.isVisible() and not one.isWindow():
            found.append(one)
            if type(one).__name__ == "ctkCollapsibleButton":
                found += inside(one)
    return found


def where(widget: Any, panel: Any) -> Any:
    return QtCore.QRect(widget.mapTo(panel, QtCore.QPoint(0, 0)), widget.size)


def overlaps(panel: Any) -> list[str]:
    """Pairs of rows that lie over each other."""
    widgets = inside(panel)
    return [
        f"{one.objectName} over {other.objectName}"
        for index, one in enumerate(widgets)
        for other in widgets[index + 1 :]
        if not one.isAncestorOf(other) and where(one, panel).intersects(where(other, panel))
    ]


def too_small(panel: Any) -> list[str]:
    """Texts that have less room than they need."""
    cut = []
    for one in inside(panel):
        if isinstance(one, QtWidgets.QLabel) and one.wordWrap:
            needed = QtCore.QSize(0, one.heightForWidth(one.width))
        elif isinstance(one, QtWidgets.QLabel | QtWidgets.QAbstractButton):
            needed = one.sizeHint()
        elif isinstance(one, QtWidgets.QAbstractScrollArea):
            continue  # it scrolls
        else:
            needed = one.minimumSizeHint()
        if one.sizePolicy.horizontalPolicy() == QtWidgets.QSizePolicy.Policy.Ignored:
            needed.setWidth(0)  # its text is elided
        if one.width < needed.width() or one.height < needed.height():
            cut.append(f"{one.objectName} has {one.width}x{one.height} of {needed.width()}x{needed.height()}")
    return cut


@pytest.fixture
def explained(desktop: Desktop, shown: ModulePanel, a_volume: Any, a_model: Path) -> Any:
    choose_model(desktop, a_model)
    segment(desktop)
    choose_segment(desktop, "tumour")
    return explain(desktop)


def test_rows_do_not_lie_over_each_other_after_another_module_was_open(
    desktop: Desktop, shown: ModulePanel, a_volume: Any, a_model: Path
) -> None:
    for _ in range(2):
        leave(desktop, shown)
        enter(desktop, shown)
        choose_model(desktop, a_model)
        desktop.ui.statusLabel.text = "A message of several lines. " * 20
        desktop.ui.reasonLabel.text = "A reason of several lines. " * 20
        shown.settle()
        assert (overlaps(desktop.widget.panel.widget), too_small(desktop.widget.panel.widget)) == ([], [])


def test_a_short_text_takes_no_more_room_than_it_needs(desktop: Desktop, shown: ModulePanel) -> None:
    label, whole = desktop.ui.statusLabel, desktop.parent.minimumHeight
    label.text = "Short."
    shown.settle()
    before = label.height, desktop.parent.minimumHeight
    label.text = "A message of several lines. " * 20
    shown.settle()
    assert label.height > 3 * before[0]
    label.text = "Short."
    shown.settle()
    assert (label.height, desktop.parent.minimumHeight) == before
    assert before[1] >= whole


@pytest.mark.parametrize("width", range(330, 500, 10))
def test_no_row_lies_over_another_when_a_text_becomes_shorter(
    desktop: Desktop, shown: ModulePanel, a_volume: Any, a_model: Path, width: int
) -> None:
    """QFormLayout places its rows with heights for its preferred width where it was asked for those last."""
    choose_model(desktop, a_model)
    shown.area.resize(width, 900)
    panel, label = desktop.widget.panel.widget, desktop.ui.layerLabel
    for text in ("suggested when the model is open", "decoder, 12 mm grid (suggested)", "encoder", "A layer. " * 12):
        label.text = text
        shown.settle()
        assert (overlaps(panel), too_small(panel)) == ([], []), text


def sections(desktop: Desktop) -> list[Any]:
    return [one for one in vars(desktop.ui).values() if one.className() == "ctkCollapsibleButton"]


def test_the_panel_fits_into_350_pixels_with_every_section_open(
    desktop: Desktop, shown: ModulePanel, explained: Any
) -> None:
    for section in sections(desktop):
        section.collapsed = False
    choose(desktop.ui.pixelSetSelector, "sphere")
    choose(desktop.ui.contrastSelector, "kidney")
    desktop.ui.folderButton.directory = "/data/a/very/long/path/to/a/folder/that/nobody/would/ever/want/to/type"
    shown.settle()
    panel = desktop.widget.panel.widget
    room = shown.area.viewport().width
    wide = [
        (one.objectName, one.minimumSizeHint().width())
        for one in inside(panel)
        if one.minimumSizeHint().width() > room - 60
    ]
    assert shown.area.widget().minimumSizeHint().width() <= room, wide
    assert (overlaps(panel), too_small(panel)) == ([], [])


@pytest.mark.parametrize("points", [9, 14, 18])
def test_nothing_is_cut_with_large_fonts(desktop: Desktop, shown: ModulePanel, explained: Any, points: int) -> None:
    for section in sections(desktop):
        section.collapsed = False
    before = desktop.parent.font
    try:
        desktop.parent.setFont(QtGui.QFont(before.family(), points))
        shown.area.resize(shown.area.widget().minimumSizeHint().width() + 20, 900)
        shown.settle()
        assert (overlaps(desktop.widget.panel.widget), too_small(desktop.widget.panel.widget)) == ([], [])
    finally:
        desktop.parent.setFont(before)


def test_a_table_is_as_high_as_its_rows_up_to_eight(desktop: Desktop, shown: ModulePanel, explained: Any) -> None:
    desktop.ui.layersSection.collapsed = False
    shown.settle()
    for table in (desktop.ui.segmentTable, desktop.ui.layerTable, desktop.ui.measurementTable):
        rows = [table.rowHeight(row) for row in range(min(table.rowCount, 8))]
        assert table.viewport().height in range(sum(rows), sum(rows) + rows[0] // 2), table.objectName
    assert desktop.ui.layerTable.rowCount > 8


def rows_are_cut(table: Any) -> list[str]:
    """Rows lower than their font, and a table lower than the rows that it should show."""
    needed = table.fontMetrics().height()
    shown = [table.rowHeight(row) for row in range(min(table.rowCount, 8))]
    low = [f"row {row} has {height} of {needed}" for row, height in enumerate(shown) if height < needed]
    if table.isVisible() and table.viewport().height < sum(shown):
        low.append(f"{table.viewport().height} of {sum(shown)}")
    return low


def tables(desktop: Desktop) -> list[Any]:
    return desktop.widget.panel.widget.findChildren(QtWidgets.QTableWidget)


@pytest.mark.parametrize("points", [18, 6])
def test_tables_follow_a_font_that_is_set_when_they_are_filled(
    desktop: Desktop, shown: ModulePanel, explained: Any, points: int
) -> None:
    for section in sections(desktop):
        section.collapsed = False
    shown.settle()
    before, heights = desktop.parent.font, [table.height for table in tables(desktop)]
    filled = [index for index, table in enumerate(tables(desktop)) if table.rowCount]
    assert len(filled) == 3
    try:
        desktop.parent.setFont(QtGui.QFont(before.family(), points))
        shown.settle()
        assert {table.objectName: rows_are_cut(table) for table in tables(desktop) if rows_are_cut(table)} == {}
        for index in filled:  # higher in a larger font, lower in a smaller
            assert (tables(desktop)[index].height > heights[index]) == (points > before.pointSize())
    finally:
        desktop.parent.setFont(before)
    shown.settle()
    assert [table.height for table in tables(desktop)] == heights


def test_the_whole_text_of_every_cell_is_in_its_tooltip(
    desktop: Desktop, shown: ModulePanel, explained: Any, scene: Any
) -> None:
    desktop.ui.layersSection.collapsed = False
    listed = desktop.widget.panel.state.layers
    shown.settle()
    for table in tables(desktop):
        for row in range(table.rowCount):
            for column in range(table.columnCount):
                cell = table.item(row, column)
                said, tip = cell.text(), cell.toolTip()
                assert said.rstrip("…") in tip, (table.objectName, said, tip)
                if said.endswith("…"):
                    assert len(tip) > len(said)
    table, suggested = desktop.ui.layerTable, next(one for one in listed.layers if one.name == listed.suggested)
    rows = {table.item(row, 0).text(): row for row in range(table.rowCount)}
    caveats = table.item(rows[suggested.name], 3)
    assert caveats.text().startswith("suggested")
    assert all(one.message in caveats.toolTip() for one in suggested.caveats)


@pytest.mark.parametrize("before", ["explain", "segment"])
def test_explain_is_in_sight_when_its_turn_comes(
    desktop: Desktop, shown: ModulePanel, a_volume: Any, a_model: Path, before: str
) -> None:
    for section in sections(desktop):  # as at first
        section.collapsed = section is not desktop.ui.inputSection
    choose_model(desktop, a_model)
    if before == "explain":
        segment(desktop)
    shown.settle()
    button, panel = desktop.ui.explainButton, shown.area.widget()
    assert not desktop.ui.explainSection.collapsed
    assert button.isVisible()
    assert shown.area.verticalScrollBar().value == 0
    assert where(button, panel).bottom() < shown.area.viewport().height


def test_at_350_pixels_measurements_are_whole_and_heat_maps_are_distinguished(
    desktop: Desktop, shown: ModulePanel, a_volume: Any, a_model: Path
) -> None:
    choose_model(desktop, a_model)
    segment(desktop)
    choose_segment(desktop, "tumour")
    choose(desktop.ui.compareSelector, "Seg-Grad CAM")
    explain(desktop)
    shown.settle()
    table = desktop.ui.measurementTable
    padding = 2 * (table.style().pixelMetric(QtWidgets.QStyle.PixelMetric.PM_FocusFrameHMargin) + 1)
    for row in range(table.rowCount):
        for column in (0, 1):
            said = table.item(row, column).text()
            assert table.fontMetrics().horizontalAdvance(said) + padding <= table.columnWidth(column), said
    boxes = desktop.ui.heatmapSelector, desktop.ui.secondSelector
    seen = [visible(box, box.currentNode().GetName()) for box in boxes]
    assert all(seen)
    assert seen[0] != seen[1]


def visible(box: Any, name: str) -> str:
    """What a list that shows a name has room for."""
    room = box.width - box.style().pixelMetric(QtWidgets.QStyle.PixelMetric.PM_ScrollBarExtent) - 10
    fits = [end for end in range(len(name) + 1) if box.fontMetrics().horizontalAdvance(name[:end]) <= room]
    return name[: fits[-1]]


def test_names_of_layers_are_in_one_line_and_have_the_room_that_is_left(
    desktop: Desktop, shown: ModulePanel, explained: Any
) -> None:
    desktop.ui.layersSection.collapsed = False
    shown.settle()
    table = desktop.ui.layerTable
    assert not table.wordWrap
    assert len({table.rowHeight(row) for row in range(table.rowCount)}) == 1
    header = table.horizontalHeader()
    assert sum(header.sectionSize(column) for column in (1, 2, 3)) < table.viewport().width
    assert header.sectionResizeMode(0) == QtWidgets.QHeaderView.ResizeMode.Stretch
