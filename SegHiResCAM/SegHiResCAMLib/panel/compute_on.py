"""Which computer computes: this one, or another that is reached over ssh. It is a setting of the user's, not of a scene, which others may open."""

from __future__ import annotations

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import silent
from SegHiResCAMLib.user_error import UserError

CHOSEN, KNOWN = "SegHiResCAM/ComputeOn", "SegHiResCAM/Computers"
"""Keys of the application's settings."""

KEPT = 5


class ComputeOn:
    """A list that can be typed into.

    Args:
        state: Of the panel.
        changed: Called when another computer was chosen.
    """

    def __init__(self, state: State, changed: Callable[[], None]) -> None:
        self._state, self._changed = state, changed
        selector = state.ui.computeOnSelector
        selector.addItem(_("this computer"))
        for one in _known():
            selector.addItem(one)
        selector.connect("activated(int)", lambda _index: self._choose())
        selector.lineEdit().connect("editingFinished()", self._choose)
        chosen = qt.QSettings().value(CHOSEN)
        if chosen:
            self._use(str(chosen))
        self._show()

    def refresh(self) -> None:
        """Let another be chosen while nothing runs."""
        self._state.ui.computeOnSelector.enabled = not self._state.work.name

    def _choose(self) -> None:
        text = self._state.ui.computeOnSelector.currentText.strip()
        on = "" if text == _("this computer") else text
        explainer = self._state.logic.explainer
        if on != self._state.logic.computesOn and not explainer.is_busy and self._use(on):
            qt.QSettings().setValue(CHOSEN, on)
            if on:
                qt.QSettings().setValue(KNOWN, [on, *[one for one in _known() if one != on]][:KEPT])
            self._changed()
        self._show()

    def _use(self, on: str) -> bool:
        """Whether it is the address of a computer; it computes from now on then."""
        try:
            self._state.logic.computeOn(on)
        except UserError as problem:
            self._state.work.say(problem.message)
            return False
        return True

    def _show(self) -> None:
        selector, on = self._state.ui.computeOnSelector, self._state.logic.computesOn
        with silent(selector):
            if on and selector.findText(on) < 0:
                selector.addItem(on)
            selector.setCurrentIndex(selector.findText(on) if on else 0)
            selector.setEditText(on or _("this computer"))


def _known() -> list[str]:
    kept = qt.QSettings().value(KNOWN)
    return [kept] if isinstance(kept, str) else list(kept or [])
