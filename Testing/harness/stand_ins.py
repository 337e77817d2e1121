"""How widgets that only 3D Slicer has are written in Python, and the loader that puts them into a panel's .ui file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from harness.pythonqt import QtCore, QtUiTools, _set_attribute

STAND_INS: dict[str, type] = {}


@dataclass(frozen=True)
class Accessors:
    """How a property is read and written."""

    get: Callable[[Any], Any]
    set: Callable[[Any, Any], None]


def stand_in(**properties: Any) -> Callable[[type], type]:
    """Declare Qt properties by their defaults: `@stand_in(text="", collapsed=False)`.

    Each has a setter method, `setText`, and calls `_on_text(new, old)` where the class has it.
    """

    def declare(kind: type) -> type:
        # Made anew, since PySide6 knows only those properties that a class has when it is made.
        members = {name: one for name, one in vars(kind).items() if name not in ("__dict__", "__weakref__")}
        members.pop("staticMetaObject", None)
        known = dict(getattr(kind, "_stand_in_properties", None) or {})
        for name, default in properties.items():
            accessors = known[name] = _accessors(name, default)
            qt_type = "QStringList" if isinstance(default, list) else type(default)
            read = (lambda self, get=accessors.get: list(get(self))) if isinstance(default, list) else accessors.get
            members[name] = QtCore.Property(qt_type, read, accessors.set)
            members.setdefault(f"set{name[0].upper()}{name[1:]}", accessors.set)
        members.update(_stand_in_properties=known, __setattr__=_set_attribute)
        made = type(kind)(kind.__name__, kind.__bases__, members)
        STAND_INS[made.__name__] = made
        return made

    return declare


def _accessors(name: str, default: Any) -> Accessors:
    def get(self: Any) -> Any:
        value = self.__dict__.get("_values", {}).get(name, default)
        return tuple(value) if isinstance(value, list) else value

    def set(self: Any, value: Any) -> None:
        if isinstance(default, list):
            value = [str(one) for one in value]
        elif isinstance(default, bool | int | float | str):
            value = type(default)(value)
        old = get(self)
        self.__dict__.setdefault("_values", {})[name] = value
        changed = getattr(type(self), f"_on_{name}", None)
        if changed:
            changed(self, value, old)

    return Accessors(get, set)


class UiLoader(QtUiTools.QUiLoader):
    """Reads a .ui file: knows the stand-ins, and makes the connections between them, whose types PySide6 does not know."""

    def load(self, file: Any, parent: Any = None) -> Any:
        """The widget of an open QFile."""
        tree = ElementTree.parse(Path(file.fileName()))
        root = tree.getroot()
        connections = root.find("connections")
        if connections is not None:
            root.remove(connections)
        self._made: list[Any] = []
        buffer = QtCore.QBuffer()
        buffer.setData(QtCore.QByteArray(ElementTree.tostring(root)))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        widget = super().load(buffer, parent)
        widget.__dict__["_keeps"] = self._made
        named = {one.objectName: one for one in [widget, *widget.findChildren(QtCore.QObject)]}
        for connection in connections if connections is not None else []:
            sender, signal, receiver, slot = (
                connection.findtext(part) for part in ("sender", "signal", "receiver", "slot")
            )
            named[sender].connect(signal, named[receiver], slot)
        return widget

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        """Called for every widget of the file."""
        if class_name not in STAND_INS:
            if class_name.startswith(("ctk", "qMRML", "qSlicer")):
                raise NotImplementedError(f"There is no stand-in for {class_name} yet: write one in Testing/harness.")
            return super().createWidget(class_name, parent, name)
        widget = STAND_INS[class_name](parent)
        widget.setObjectName(name)
        self._made.append(widget)
        return widget
