"""Widgets for the options of the question that none was drawn for, and what all of them say of themselves: from the record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import qt
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.parameters import camel_case
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import silent
from SegHiResCAMLib.records.question import Question, options_of


class _Row(NamedTuple):
    """One row of the form."""

    parameter: str
    widget: Any
    write: Callable[[Any], None]


class QuestionForm:
    """Rows at the end of the group Advanced; they follow the parameter node."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._rows: list[_Row] = []
        drawn = {str(widget.property("SlicerParameterName")): widget for widget in vars(state.ui).values()}
        hints = get_type_hints(Question)
        for name, one in options_of(Question).items():
            widget = drawn.get(camel_case(name))
            if widget is None:
                self._add(one, hints[name])
            else:
                widget.toolTip = _(one.metadata["summary"])
                if one.metadata["limits"] is not None:
                    widget.setRange(*one.metadata["limits"])

    def refresh(self) -> None:
        """Show what is chosen."""
        for row in self._rows:
            with silent(row.widget):
                row.write(getattr(self._state.parameters, row.parameter))

    def _add(self, one: Field[Any], hint: Any) -> None:
        made = _widget(one, hint)
        if made is None:  # a layer or a region: the panel has more than a field for it
            return
        signal, widget, read, write = made
        parameter = camel_case(one.name)
        widget.toolTip = _(one.metadata["summary"])
        widget.connect(signal, lambda _value: self._set(parameter, read()))
        self._state.ui.advancedSection.layout().addRow(f"{one.name.replace('_', ' ').capitalize()}:", widget)
        self._rows.append(_Row(parameter, widget, write))

    def _set(self, parameter: str, value: Any) -> None:
        if self._state.parameters is not None:
            setattr(self._state.parameters, parameter, value)


def _widget(one: Field[Any], hint: Any) -> tuple[str, Any, Callable[[], Any], Callable[[Any], None]] | None:
    """The signal of a change, the widget, and how its value is read and written."""
    if get_origin(hint) is Literal:
        choices = list(get_args(hint))
        combo = qt.QComboBox()
        for choice in choices:
            combo.addItem(choice)
        return (
            "currentIndexChanged(int)",
            combo,
            lambda: choices[combo.currentIndex],
            lambda value: combo.setCurrentIndex(choices.index(value)),
        )
    if hint is bool:
        check = qt.QCheckBox()
        return "toggled(bool)", check, lambda: check.checked, check.setChecked
    if hint is int and one.metadata["limits"] is not None:
        whole = qt.QSpinBox()
        whole.setRange(*one.metadata["limits"])
        return "valueChanged(int)", whole, lambda: whole.value, whole.setValue
    if hint is float and one.metadata["limits"] is not None:
        box = qt.QDoubleSpinBox()
        box.setDecimals(3)
        box.setRange(*one.metadata["limits"])
        return "valueChanged(double)", box, lambda: box.value, box.setValue
    return None
