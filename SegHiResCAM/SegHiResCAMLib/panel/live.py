"""Live: a key explains the voxel under the cursor, wherever the focus is, and another key ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from SegHiResCAMLib.panel.state import State

KEY, END = "E", "Esc"


class LiveKeys(qt.QObject):  # type: ignore[misc]
    """The two keys; other modules have them for themselves.

    Args:
        state: Of the panel.
        widget: The panel.
        explain: Explains the voxel under the cursor.

    Attributes:
        ask: The shortcut that explains.
        end: The shortcut that ends it.
    """

    def __init__(self, state: State, widget: Any, explain: Callable[[], None]) -> None:
        qt.QObject.__init__(self)
        self._state, self._widget, self._explain = state, widget, explain
        self._on = False
        window = slicer.util.mainWindow() or widget
        self.ask = self._shortcut(window, KEY, explain)
        self.end = self._shortcut(window, END, self._stop)
        self.turn(False)

    def turn(self, on: bool) -> None:
        """Listen, or do not."""
        self.ask.enabled = self.end.enabled = on
        if on and not self._on:
            for box in slicer.util.findChildren(self._widget, className="*SpinBox"):
                box.installEventFilter(self)
        self._on = on

    def close(self) -> None:
        """Give the keys back."""
        self.turn(False)
        self.ask.deleteLater()
        self.end.deleteLater()

    def eventFilter(self, _box: Any, event: Any) -> bool:  # noqa: N802 - as Qt calls it
        """Called by Qt for every event of a field for numbers, which keeps letters from shortcuts and has no use for them."""
        if self._on and event.type() == qt.QEvent.KeyPress and event.key() == qt.Qt.Key_E:
            self._explain()
            return True
        return False

    def _stop(self) -> None:
        if self._state.parameters is not None:
            self._state.parameters.live = False

    def _shortcut(self, window: Any, key: str, react: Callable[[], None]) -> Any:
        shortcut = qt.QShortcut(window)
        shortcut.setKey(qt.QKeySequence(key))
        shortcut.connect("activated()", react)
        return shortcut
