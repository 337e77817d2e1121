"""A form of the options that the worker tells of the chosen methods, and what is set in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import qt
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import silent
from SegHiResCAMLib.records.models import MethodOption, MethodSummary

LARGEST = 1000
DECIMALS = 3


class _Field(NamedTuple):
    """One row of the form."""

    method: str
    name: str
    default: Any
    widget: Any
    read: Callable[[], Any]
    write: Callable[[Any], None]


class MethodOptions:
    """Rows for the options of the method, and of the one to compare with; none where they have none."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._methods: list[MethodSummary] = []
        self._fields: list[_Field] = []
        self._form = state.ui.advancedSection.layout()
        self._rows_above = self._form.rowCount()

    def refresh(self) -> None:
        """Show the options of the chosen methods, and how they are set."""
        state, parameters = self._state, self._state.parameters
        chosen = dict.fromkeys([parameters.method, parameters.compareWith])
        methods = [one for one in map(state.method, chosen) if one is not None and one.options]
        if methods != self._methods:
            self._methods = methods
            self._fill()
        for field in self._fields:
            with silent(field.widget):
                field.write(values_of(parameters.methodOptions, field.method).get(field.name, field.default))

    def _fill(self) -> None:
        form = self._form
        while form.rowCount() > self._rows_above:
            form.removeRow(self._rows_above)
        self._fields = []
        for method in self._methods:
            form.addRow(qt.QLabel(_("Options of {method}").format(method=method.title)))
            for option in method.options:
                field = self._field(method.identifier, option)
                field.widget.toolTip = _("{summary}; {default} if nothing else is set").format(
                    summary=option.summary or option.name, default=option.default
                )
                form.addRow(f"{option.name.capitalize()}:", field.widget)
                self._fields.append(field)

    def _field(self, method: str, option: MethodOption) -> _Field:
        made = _choice(option) if option.choices else _number(option)
        signal, *parts = made
        field = _Field(method, option.name, option.default, *parts)
        field.widget.connect(signal, lambda _value: self._set(field))
        return field

    def _set(self, field: _Field) -> None:
        parameters = self._state.parameters
        if parameters is None:
            return
        options = values_of(parameters.methodOptions, field.method) | {field.name: field.read()}
        if options[field.name] == field.default:
            del options[field.name]
        content = _read(parameters.methodOptions) | {field.method: options}
        kept = {method: options for method, options in content.items() if options}
        parameters.methodOptions = json.dumps(kept, sort_keys=True) if kept else ""


def values_of(text: str, method: str) -> dict[str, Any]:
    """What the parameter `methodOptions` sets of a method."""
    options = _read(text).get(method)
    return options if isinstance(options, dict) else {}


def _choice(option: MethodOption) -> tuple[Any, ...]:
    box, choices = qt.QComboBox(), option.choices
    for choice in choices:
        box.addItem(str(choice))

    def write(value: Any) -> None:
        box.setCurrentIndex(choices.index(value) if value in choices else -1)

    return "currentIndexChanged(int)", box, lambda: choices[box.currentIndex], write


def _number(option: MethodOption) -> tuple[Any, ...]:
    if option.whole:
        box = qt.QSpinBox()
        box.setRange(1, LARGEST)
    else:
        box = qt.QDoubleSpinBox()
        box.setDecimals(DECIMALS)
        box.setRange(10**-DECIMALS, LARGEST)
        box.setSingleStep(0.05)
    signal, kind = ("valueChanged(int)", int) if option.whole else ("valueChanged(double)", float)

    def write(value: Any) -> None:
        box.setValue(kind(value if isinstance(value, int | float) else option.default))

    return signal, box, lambda: box.value, write


def _read(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
