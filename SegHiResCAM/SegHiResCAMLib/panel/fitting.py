"""How the panel fits into 3D Slicer's: as narrow as the user likes, as high as its texts need, and tables as high as their rows."""

from __future__ import annotations

from typing import Any

import qt
import slicer

ROWS = 8
"""That a table shows at once; it scrolls beyond that."""

TITLE_CHARACTERS = 46
"""That fit into the title of a section at 350 pixels, with the fonts that 3D Slicer has by itself."""


class FittedHeight(qt.QObject):  # type: ignore[misc]
    """Keeps a module's widget as high as its layout needs at the width that it has, and its tables as high as their rows in the font that it has.

    3D Slicer's panel asks a module's widget for that height until the module is left for the first time; afterwards its layout remembers the
    heights of before, and rows with wrapped texts would lie over each other. And QFormLayout keeps one list of heights for two widths, its own and the
    one it would prefer: it may place its rows with the wrong one's. So a text that wraps has the same height at any width until it is measured again.

    Args:
        module: The module's widget, which has a layout.
        contents: What is or will be in it, with texts that wrap.
    """

    def __init__(self, module: Any, contents: Any) -> None:
        qt.QObject.__init__(self)
        self._module: Any = module
        self._texts = [one for one in slicer.util.findChildren(contents, className="QLabel") if one.wordWrap]
        self._tables = slicer.util.findChildren(contents, className="QTableWidget")
        self._measured: dict[int, tuple[str, int]] = {}  # texts and widths
        self._asked = self._restyled = False
        module.installEventFilter(self)

    def eventFilter(self, _watched: Any, event: Any) -> bool:  # noqa: N802 - as Qt calls it
        """Called by Qt for every event of the widget."""
        restyled = event.type() in (qt.QEvent.FontChange, qt.QEvent.StyleChange)
        self._restyled = self._restyled or restyled
        if (restyled or event.type() in (qt.QEvent.Resize, qt.QEvent.LayoutRequest)) and not self._asked:
            self._asked = True
            qt.QTimer.singleShot(0, self._fit)  # when the layout has done with it
        return False

    def close(self) -> None:
        """Look no more."""
        self._module.removeEventFilter(self)
        self._module.setMinimumHeight(0)
        self._module = None

    def _fit(self) -> None:
        self._asked = False
        if self._module is None:
            return
        if self._restyled:
            self._restyled = False
            self._measured.clear()
            for table in self._tables:
                fit_rows(table)
        for index, one in enumerate(self._texts):
            if one.visible and self._measured.get(index) != (one.text, one.width):
                self._measured[index] = (one.text, one.width)
                one.setMinimumHeight(0)  # Qt asks for no less than this, whatever the text
                one.setFixedHeight(max(0, one.heightForWidth(one.width)))
        height = max(0, self._module.layout().heightForWidth(self._module.width))
        if height != self._module.minimumHeight:
            self._module.setMinimumHeight(height)


def allow_narrow(module: Any) -> None:
    """Let the user make the panel narrower than a module's widget would like to be, which 3D Slicer forbids each time it shows one."""
    module.setSizePolicy(qt.QSizePolicy.Preferred, module.sizePolicy.verticalPolicy())


def fit_rows(table: Any) -> None:
    """Make a table as high as its rows, up to eight."""
    table.resizeRowsToContents()
    rows = [table.rowHeight(row) for row in range(min(table.rowCount, ROWS))]
    margin = table.style().pixelMetric(qt.QStyle.PM_HeaderMargin)
    titles = qt.QFont(table.horizontalHeader().font)
    titles.setBold(True)  # as those of what is selected
    header = qt.QFontMetrics(titles).size(qt.Qt.TextSingleLine, "Mg").height() + 2 * margin
    bar = table.style().pixelMetric(qt.QStyle.PM_ScrollBarExtent)
    below = bar if table.horizontalScrollBarPolicy == qt.Qt.ScrollBarAlwaysOn else 0
    table.setFixedHeight(header + sum(rows) + 2 * table.frameWidth + below)


def set_title(section: Any, title: str, held: str = "") -> None:
    """Say in a section's title what it holds; what does not fit is in its tooltip."""
    full = f"{title}: {held}" if held else title
    metrics = section.fontMetrics()
    section.text = metrics.elidedText(full, qt.Qt.ElideRight, TITLE_CHARACTERS * metrics.averageCharWidth())
