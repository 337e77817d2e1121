"""PySide6 with PythonQt's manners: what a panel meets inside 3D Slicer. Importing this changes PySide6's classes in this process.

PythonQt, the bridge that the desktop uses, differs from PySide6 in what catches people out:

- properties are attributes that hide the getter of the same name: `button.text`, `box.checked = True`;
- signals are connected by their C++ signature: `button.connect("clicked(bool)", slot)`; a slot may take fewer arguments;
- a C++ object takes no new attribute: `button.tex = ""` is an error, which PySide6 would swallow;
- dynamic properties and named children are attributes, `name` is the object's name, and `qt` is one flat module.

Qt drops what a slot raises, so every call of a slot is kept in `CALLS`, with its error and the time it kept the application.
"""

from __future__ import annotations

import gc
import inspect
import os
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

APPLICATION = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["seghirescam-tests"])
APPLICATION.setOrganizationName("SegHiResCAM")
QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
_SETTINGS = tempfile.TemporaryDirectory()  # the user's own settings are none of a test's business
QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, _SETTINGS.name)
_LIBRARIES = (QtCore, QtGui, QtWidgets, QtUiTools)


@dataclass
class Call:
    """One call of a slot.

    Attributes:
        signal: That it was connected to.
        seconds: How long the application stood still.
        cpu: How much of it this thread computed, the garbage collector aside.
        collected: How much of it Python's garbage collector computed: it walks through all that the tests and the engine hold, which lies in other
            processes beside 3D Slicer.
        queued: How much of it other programs had the processor, where the system tells. The rest it waited, for a lock or a disk.
        error: What the slot raised.
    """

    signal: str
    seconds: float = 0.0
    cpu: float = 0.0
    collected: float = 0.0
    queued: float = 0.0
    error: Exception | None = None

    @property
    def own(self) -> float:
        """Seconds that the application stood still for what was called: not for other programs, nor for the garbage collector."""
        return self.seconds - self.queued - self.collected


@contextmanager
def timed(call: Call) -> Iterator[None]:
    """Note how long the block takes."""
    start, cpu, collected, queued = time.perf_counter(), time.thread_time(), _collector.seconds, _queued()
    try:
        yield
    finally:
        call.collected = _collector.seconds - collected
        call.seconds, call.cpu = time.perf_counter() - start, time.thread_time() - cpu - call.collected
        call.queued = _queued() - queued


class _Collector(threading.local):
    """Processor time that garbage collections took in this thread."""

    began = seconds = 0.0

    def __call__(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self.began = time.thread_time()
        else:
            self.seconds += time.thread_time() - self.began


_collector = _Collector()
gc.callbacks.append(_collector)


def _queued() -> float:
    """Seconds that this thread could have computed while others did; Linux tells."""
    with suppress(OSError):
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    return 0.0


CALLS: list[Call] = []
DIALOGS: list[tuple[str, list[str]]] = []
"""Dialogs that would have waited for somebody to close them: kind and texts."""


class DialogOpened(Exception):
    """Raised in place of a dialog that would wait for ever."""


class Property:
    """One Qt property as an attribute."""

    def __init__(self, name: str, writable: bool, kind: str, static: Any = None) -> None:
        self.name, self.writable, self.kind, self.static = name, writable, kind, static

    def __get__(self, owner: Any, _class: Any = None) -> Any:
        if owner is None:
            return self if self.static is None else self.static  # QTimer.singleShot is a property and a static method
        value = owner.property(self.name)
        return tuple(value) if isinstance(value, list) else value

    def __set__(self, owner: Any, value: Any) -> None:
        if not self.writable:
            raise AttributeError(f"Property '{self.name}' of {type(owner).__name__} object is not writable")
        if self.kind == "QString":
            value = "" if value is None else str(value)
        elif self.kind == "bool":
            value = bool(value)
        if not owner.setProperty(self.name, value):
            raise ValueError(f"Property '{self.name}' of type '{self.kind}' does not accept {value!r}")


def connect(self: Any, signal: Any, slot: Any, *more: Any) -> Any:
    """`obj.connect("signal(args)", slot)`, or `obj.connect("signal(args)", receiver, "slot(args)")`."""
    if not isinstance(signal, str) or signal[:1] == "2" or (more and not isinstance(more[0], str)):
        if isinstance(signal, QtCore.QObject):  # PySide6's own static form
            return _raw_connect(signal, slot, *more)
        return _raw_connect(self, signal, slot, *more)
    if more:
        slot = getattr(slot, more[0].partition("(")[0])
    name = signal.partition("(")[0]
    bound = getattr(type(self), name, None)
    if not isinstance(bound, QtCore.Signal) or not _has_signal(self, signal):
        raise AttributeError(f"{self.className()} has no signal '{signal}'")
    watched = _watched(signal, slot)
    self.__dict__.setdefault("_connections", []).append((signal, slot, watched))
    if is_stand_in(self):
        return bool(getattr(self, name).connect(watched))
    return bool(_raw_connect(self, QtCore.SIGNAL(signal), watched))


def disconnect(self: Any, signal: str, slot: Any = None) -> bool:
    """Undo `connect`."""
    connections = self.__dict__.get("_connections", [])
    for connection in [one for one in connections if one[0] == signal and slot in (None, one[1])]:
        connections.remove(connection)
        if is_stand_in(self):
            getattr(self, signal.partition("(")[0]).disconnect(connection[2])
        else:
            _raw_disconnect(self, QtCore.SIGNAL(signal), connection[2])
    return True


def is_stand_in(widget: Any) -> bool:
    """Whether a widget is written in Python in place of one that only 3D Slicer has."""
    return bool(getattr(type(widget), "_stand_in_properties", None) is not None)


def qt_module() -> types.ModuleType:
    """The flat module `qt`."""

    class QtModule(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            for library in _LIBRARIES:
                if hasattr(library, name):
                    return getattr(library, name)
            raise AttributeError(f"module 'qt' has no attribute '{name}'")

    return QtModule("qt")


def _watched(signal: str, slot: Callable[..., Any]) -> Callable[..., Any]:
    count = _argument_count(slot)

    def call(*arguments: Any) -> Any:
        made = Call(signal)
        CALLS.append(made)
        with timed(made):
            try:
                return slot(*(arguments if count is None else arguments[:count]))
            except Exception as error:
                made.error = error
                raise

    return call


def _argument_count(slot: Callable[..., Any]) -> int | None:
    """How many arguments PythonQt passes to a slot; None for all."""
    function, bound = (slot.__func__, 1) if inspect.ismethod(slot) else (slot, 0)
    if not inspect.isfunction(function) or function.__code__.co_flags & inspect.CO_VARARGS:
        return None
    return function.__code__.co_argcount - bound


def _has_signal(widget: Any, signal: str) -> bool:
    normalized = bytes(QtCore.QMetaObject.normalizedSignature(signal)).decode()
    return is_stand_in(widget) or widget.metaObject().indexOfSignal(normalized) >= 0


def _get_attribute(self: Any, name: str) -> Any:
    """What is no attribute in PySide6: dynamic properties, named children, and `exec_` for `exec`."""
    if name.startswith("__"):
        raise AttributeError(name)
    if name.encode() in [bytes(one) for one in self.dynamicPropertyNames()]:
        return self.property(name)
    if name.endswith("_") and hasattr(type(self), name[:-1]):
        return getattr(self, name[:-1])
    if not name.startswith("_"):
        if hasattr(type(self), name):  # enumerators are reachable through instances
            return getattr(type(self), name)
        for child in self.children():
            if child.property("objectName") == name:
                return child
    raise AttributeError(f"{self.className()} has no attribute named '{name}'")


def _set_attribute(self: Any, name: str, value: Any) -> None:
    """As C++ objects do: properties only."""
    declared = inspect.getattr_static(type(self), name, None)
    if isinstance(declared, QtCore.Property):
        type(self)._stand_in_properties[name].set(self, value)
    elif declared is not None and hasattr(type(declared), "__set__"):
        declared.__set__(self, value)
    elif name.startswith("_") or isinstance(value, QtCore.SignalInstance):  # the latter is PySide6's own cache
        self.__dict__[name] = value
    elif isinstance(value, QtCore.QObject) and value.property("objectName") == name:
        pass  # PySide6's loader sets children as attributes; they are found by name
    elif name.encode() in [bytes(one) for one in self.dynamicPropertyNames()]:
        self.setProperty(name, value)
    elif not is_stand_in(self) and not type(self).__module__.startswith("PySide6"):
        self.__dict__[name] = value  # a Python subclass
    else:
        raise AttributeError(
            f"'{name}' does not exist on {self.className()} and creating new attributes on C++ objects is not allowed"
        )


def _reading(original: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    def get(self: Any, name: str) -> Any:
        # connect and disconnect are static and instance methods at once, which PySide6 resolves before any class attribute.
        if name in ("connect", "disconnect"):
            return types.MethodType(connect if name == "connect" else disconnect, self)
        value = original(self, name)
        if isinstance(value, QtCore.Property):
            return type(self)._stand_in_properties[name].get(self)
        return value

    return get


def _give_manners(kind: type) -> None:
    meta = kind.staticMetaObject
    for index in range(meta.propertyCount()):
        described = meta.property(index)
        name = described.name()
        inherited = index < meta.propertyOffset()
        # These getters are virtual: as attributes they would call themselves. A redeclared getter would hide the property.
        if name in ("sizeHint", "minimumSizeHint", "spacing") or (inherited and name not in vars(kind)):
            continue
        static = None if inherited else getattr(kind, name, None)
        setattr(kind, name, Property(name, described.isWritable(), described.typeName(), static))
    kind.__setattr__ = _set_attribute
    kind.__getattribute__ = _ORIGINALS[kind]


def _refuse(kind: str) -> Any:
    def open_dialog(*arguments: Any, **_options: Any) -> None:
        texts = [one for one in arguments if isinstance(one, str)]
        DIALOGS.append((kind, texts))
        raise DialogOpened(f"{kind}: {texts}")

    return staticmethod(open_dialog)


_raw_connect, _raw_disconnect = QtCore.QObject.connect, QtCore.QObject.disconnect
# dir() and not vars(): PySide6 makes its classes when they are first named.
_KINDS = dict.fromkeys(
    one
    for library in _LIBRARIES
    for one in (getattr(library, name) for name in dir(library))
    if isinstance(one, type) and issubclass(one, QtCore.QObject)
)
_ORIGINALS = {kind: _reading(kind.__getattribute__) for kind in _KINDS}
for _kind in _KINDS:
    _give_manners(_kind)
_object: Any = QtCore.QObject
_object.name = Property("objectName", True, "QString")
_object.connect, _object.disconnect, _object.__getattr__ = connect, disconnect, _get_attribute
_object.className = lambda self: type(self).__name__ if is_stand_in(self) else self.metaObject().className()
_object.delete = lambda self: self.deleteLater()
for _name in ("question", "warning", "information", "critical", "about", "exec"):
    setattr(QtWidgets.QMessageBox, _name, _refuse(f"QMessageBox.{_name}"))
for _name in ("getOpenFileName", "getOpenFileNames", "getSaveFileName", "getExistingDirectory"):
    setattr(QtWidgets.QFileDialog, _name, _refuse(f"QFileDialog.{_name}"))
