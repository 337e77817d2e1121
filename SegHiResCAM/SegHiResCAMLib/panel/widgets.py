"""Filling lists and tables without telling anybody of the steps between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import qt

from SegHiResCAMLib.panel.fitting import fit_rows


@contextmanager
def silent(widget: Any) -> Iterator[None]:
    """Keep a widget from sending signals."""
    blocked = widget.blockSignals(True)
    try:
        yield
    finally:
        widget.blockSignals(blocked)


def fill_combo(combo: Any, items: Mapping[str, str], chosen: str) -> None:
    """Values and their texts; the chosen value is shown, or none where it is not among them."""
    with silent(combo):
        combo.clear()
        for value, text in items.items():
            combo.addItem(text, value)
        combo.setCurrentIndex(combo.findData(chosen))


def chosen_in(combo: Any) -> str:
    """The chosen value; empty where there is none."""
    return str(combo.itemData(combo.currentIndex)) if combo.currentIndex >= 0 else ""


def plain_tip(text: str) -> str:
    """A tooltip that shows a text as it is. Qt takes what has a tag for markup, and a tag out of a file may name an image on somebody's server."""
    return f"<qt>{escape(text).replace(chr(10), '<br>')}</qt>" if "<" in text else text


def fill_table(
    table: Any,
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    wide: int = 0,
    longest: Mapping[int, int] | None = None,
    tips: Sequence[Sequence[str]] = (),
) -> None:
    """Texts, each with its whole in its tooltip.

    Args:
        table: The widget.
        titles: Of the columns.
        rows: Of each row, a text a column.
        wide: The column that takes the room that is left; the others are as wide as their texts.
        longest: Of some columns, the most characters that are shown of a text.
        tips: Of each row, a text a column: what its tooltip says beside the whole text.
    """
    longest = longest or {}
    with silent(table):
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(list(titles))
        table.setRowCount(len(rows))
        for column, title in enumerate(titles):
            table.horizontalHeaderItem(column).setToolTip(plain_tip(title))
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                table.setItem(row, column, qt.QTableWidgetItem(_shortened(text, longest.get(column, len(text)))))
                tip = tips[row][column] if tips else ""
                table.item(row, column).setToolTip(plain_tip(_lines(text, tip)))
        table.verticalHeader().setVisible(False)
        table.wordWrap = False
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(wide, qt.QHeaderView.Stretch)
        fit_rows(table)


def set_cell(table: Any, row: int, column: int, text: str, tip: str = "") -> None:
    """Change the text of a cell, and its tooltip with it."""
    table.item(row, column).setText(text)
    table.item(row, column).setToolTip(plain_tip(_lines(text, tip)))


def _lines(*texts: str) -> str:
    return "\n".join(dict.fromkeys(filter(None, texts)))


def _shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1].rstrip()}…"


def show_row(field: Any, label: Any, visible: bool) -> None:
    """Show or hide a row of a form: its field and its label."""
    field.visible = visible
    label.visible = visible


def place_above(panel: Any, part: Any, name: str) -> None:
    """Put a part of the panel that has a file of its own above the section of that name."""
    layout = panel.layout()
    names = [layout.itemAt(index).widget() for index in range(layout.count())]
    (index,) = [index for index, one in enumerate(names) if one is not None and one.name == name]
    layout.insertWidget(index, part)


def tip_rows(table: Any, tips: Sequence[str]) -> None:
    """A tooltip for each row of a table."""
    for row, tip in enumerate(tips):
        for column in range(table.columnCount):
            table.item(row, column).setToolTip(plain_tip(tip))
