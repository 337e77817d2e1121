"""A stand-in for `slicer.parameterNodeWrapper`: typed parameters of a scripted module node, and widgets that follow them."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import vtk


class WithinRange:
    def __init__(self, lower: float, upper: float) -> None:
        self.lower, self.upper = lower, upper

    def validate(self, value: Any) -> None:
        if not self.lower <= value <= self.upper:
            raise ValueError(f"{value} is not within {self.lower} and {self.upper}")


class Choice:
    def __init__(self, choices: list[Any]) -> None:
        self.choices = choices

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"{value} is none of {self.choices}")


class Parameter(NamedTuple):
    """A class attribute of a wrapper: its type, the validators in its annotation, and its default."""

    kind: type
    validators: list[Any]
    default: Any


def parameterNodeWrapper(declared: type) -> type:
    """Attributes of the class become parameters and node references of a vtkMRMLScriptedModuleNode."""
    members: dict[str, Any] = {"__init__": _init, "__doc__": declared.__doc__, "allParameters": {}}
    for name, hint in typing.get_type_hints(declared, include_extras=True).items():
        kind, *validators = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
        parameter = Parameter(kind, validators, getattr(declared, name, None))
        members["allParameters"][name] = parameter
        members[name] = _attribute(name, parameter)
    members.update(connectGui=connect_gui, disconnectGui=disconnect_gui, AddObserver=add_observer)
    return type(declared.__name__, (), members)


def connect_gui(self: Any, gui: Any) -> int:
    """Let the widgets whose property SlicerParameterName names a parameter follow it, and it them; returns a tag.

    As in 3D Slicer before 5.12, the node's observer stays.
    """
    connectors = []
    for widget in vars(gui).values():
        name = widget.property("SlicerParameterName")
        if name:
            connectors.append((name, _connector(widget, self.allParameters[name])))

    updating = False

    def update(*_: Any) -> None:
        nonlocal updating
        if updating:
            return
        updating = True
        try:
            for name, connector in connectors:
                connector.write(getattr(self, name))
        finally:
            updating = False

    def changed(name: str, connector: Connector) -> Callable[[], None]:
        return lambda: None if updating else setattr(self, name, connector.read())

    update()
    undo = [
        _disconnecting(connector, changed(name, connector)) for name, connector in connectors
    ]  # after the first update
    undo.append(connectors.clear)
    self.AddObserver(vtk.vtkCommand.ModifiedEvent, update)
    self._connected.append(undo)
    return len(self._connected) - 1


def add_observer(self: Any, event: Any, callback: Callable[..., None], priority: float = 0.0) -> int:
    """Observe the node."""
    tag: int = self.parameterNode.AddObserver(event, callback, priority)
    return tag


def disconnect_gui(self: Any, tag: int) -> None:
    """Undo `connect_gui`."""
    for undo in self._connected[tag]:
        undo()
    self._connected[tag] = []


class Connector(NamedTuple):
    """How a kind of widget is read, written and listened to."""

    widget: Any
    signal: str
    read: Callable[[], Any]
    write: Callable[[Any], None]


def _disconnecting(connector: Connector, slot: Callable[[], None]) -> Callable[[], None]:
    connector.widget.connect(connector.signal, slot)
    return lambda: connector.widget.disconnect(connector.signal, slot)


def _connector(widget: Any, parameter: Parameter) -> Connector:
    kind = widget.className()

    def setter(name: str, convert: Callable[[Any], Any]) -> Callable[[Any], None]:
        return lambda value: setattr(widget, name, convert(value))

    if kind == "qMRMLNodeComboBox":
        return Connector(widget, "currentNodeChanged(vtkMRMLNode*)", widget.currentNode, widget.setCurrentNode)
    if kind == "QCheckBox":
        return Connector(widget, "stateChanged(int)", lambda: widget.checked, setter("checked", bool))
    if kind == "QComboBox":
        (choices,) = [one.choices for one in parameter.validators if isinstance(one, Choice)]
        widget.clear()
        for choice in choices:
            widget.addItem(str(choice))
        return Connector(
            widget,
            "currentIndexChanged(int)",
            lambda: choices[widget.currentIndex],
            lambda value: setattr(widget, "currentIndex", choices.index(value)),
        )
    if kind in ("ctkSliderWidget", "QDoubleSpinBox"):
        return Connector(widget, "valueChanged(double)", lambda: widget.value, setter("value", float))
    if kind == "ctkPathLineEdit":
        return Connector(
            widget, "currentPathChanged(QString)", lambda: Path(widget.currentPath), setter("currentPath", str)
        )
    if kind == "ctkDirectoryButton":
        return Connector(widget, "directoryChanged(QString)", lambda: Path(widget.directory), setter("directory", str))
    raise NotImplementedError(f"No connector for {kind} '{widget.name}' yet: write one here.")


def _init(self: Any, node: Any) -> None:
    self.parameterNode = node
    self._connected: list[list[Callable[[], None]]] = []


def _attribute(name: str, parameter: Parameter) -> property:
    kind, validators, default = parameter
    if kind.__name__.startswith("vtkMRML"):
        return property(
            lambda self: self.parameterNode.GetNodeReference(name),
            lambda self, node: self.parameterNode.SetNodeReferenceID(name, node.GetID() if node else None),
        )
    default = kind() if default is None else default
    read, write = ((lambda text: text == "True") if kind is bool else kind), str
    if typing.get_origin(kind) is list:
        read, write = json.loads, lambda values: json.dumps(list(values))

    def get(self: Any) -> Any:
        node = self.parameterNode
        return read(node.GetParameter(name)) if name in node.GetParameterNames() else default

    def set(self: Any, value: Any) -> None:
        for validator in validators:
            validator.validate(value)
        self.parameterNode.SetParameter(name, write(value))

    return property(get, set)
