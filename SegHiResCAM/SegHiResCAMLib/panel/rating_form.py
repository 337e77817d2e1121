"""The questions of a review as widgets: a list of choices each, or a line for words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.widgets import chosen_in, fill_combo, plain_tip
from SegHiResCAMLib.review.form import ReviewForm, ReviewQuestion


class RatingForm:
    """Asks, and gives the answers as text.

    Args:
        layout: A QFormLayout that has nothing else in it.
        changed: Called when an answer is chosen.
    """

    def __init__(self, layout: Any, changed: Callable[[], None]) -> None:
        self._layout, self._changed = layout, changed
        self._widgets: list[tuple[ReviewQuestion, Any]] = []

    def ask(self, form: ReviewForm) -> None:
        """Ask these questions in place of others."""
        while self._layout.rowCount():
            self._layout.removeRow(0)
        self._widgets = [(question, self._widget(question)) for question in form.questions]
        for question, widget in self._widgets:
            label = qt.QLabel(question.text)
            label.textFormat = qt.Qt.PlainText
            label.wordWrap = True
            widget.toolTip = plain_tip(question.text)
            self._layout.addRow(label)
            self._layout.addRow(widget)

    @property
    def answers(self) -> dict[str, str]:
        """What is chosen and written, by the questions' names; empty where nothing is."""
        return {one.name: self._said(one, widget) for one, widget in self._widgets}

    @property
    def missing(self) -> list[str]:
        """The questions that must still be answered."""
        return [one.text for one, widget in self._widgets if one.required and not self._said(one, widget)]

    def show(self, answers: dict[str, str]) -> None:
        """Show what was said before, or nothing."""
        for question, widget in self._widgets:
            said = answers.get(question.name, "")
            if question.choices:
                fill_combo(widget, {"": "", **{one: one for one in question.choices}}, said)
            else:
                widget.text = said

    def _widget(self, question: ReviewQuestion) -> Any:
        if not question.choices:
            line = qt.QLineEdit()
            line.placeholderText = "" if question.required else _("if you like")
            line.connect("textChanged(QString)", lambda _text: self._changed())
            return line
        combo = qt.QComboBox()
        combo.connect("currentIndexChanged(int)", lambda _index: self._changed())
        return combo

    def _said(self, question: ReviewQuestion, widget: Any) -> str:
        return chosen_in(widget) if question.choices else str(widget.text).strip()
