"""What a scripted module finds when 3D Slicer loads it with --no-main-window: `slicer.mrmlScene`, `slicer.app`, `qt` and `ctk`.

`module_without_qt` gives it empty qt and ctk: logic, parameters and tests of a module must not need more. `panel_desktop` gives it
widgets that work, offscreen.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer

from harness import slicer_python
from SegHiResCAMLib.scene.headless import HeadlessApplication

MODULE = Path(__file__).parents[2] / "SegHiResCAM/SegHiResCAM.py"

# Widgets that Slicer's own files name in annotations.
_WIDGETS = [
    "qMRMLNodeComboBox",
    "qMRMLSliderWidget",
    "qMRMLSpinBox",
    "qMRMLRangeWidget",
    "qSlicerWidget",
    "qMRMLSubjectHierarchyComboBox",
    "qMRMLSubjectHierarchyTreeView",
    "qMRMLWidget",
]
NOTICEABLE_S = 0.005
"""Turns of the event loop that took longer are kept."""

PAUSE_S = 0.002

_DIALOGS = (
    "errorDisplay",
    "warningDisplay",
    "infoDisplay",
    "messageBox",
    "confirmOkCancelDisplay",
    "confirmYesNoDisplay",
)


class _Stub(types.ModuleType):
    """Has a class of every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, type(name, (), {"__init__": lambda *_arguments: None}))
        return getattr(self, name)


@contextmanager
def module_without_qt(application: HeadlessApplication) -> Iterator[Any]:
    """The module's Python file, loaded as 3D Slicer loads it."""
    widgets = {name: type(name, (), {}) for name in _WIDGETS}
    app = types.SimpleNamespace(
        translate=lambda _context, text: text, layoutManager=lambda: None, connect=lambda *_: True
    )
    with _surroundings(application, app, _Stub("qt"), _Stub("ctk"), widgets):
        yield load_module()


class Desktop:
    """The module with its panel, and somebody who uses it.

    Attributes:
        module: SegHiResCAM.py.
        widget: Its SegHiResCAMWidget.
        ui: The panel's widgets by name.
        pause: Waits some seconds between two turns of the event loop.
    """

    def __init__(self, module: Any) -> None:
        from harness import pythonqt

        self.qt = pythonqt
        self.calls, self.dialogs = pythonqt.CALLS, pythonqt.DIALOGS
        self.calls.clear()
        self.dialogs.clear()
        self.pause: Callable[[float], None] = time.sleep
        self.module = module
        parent = slicer.qMRMLWidget()
        parent.setLayout(pythonqt.QtWidgets.QVBoxLayout())
        parent.setMRMLScene(slicer.mrmlScene)
        parent.__dict__["isEntered"] = True
        self.widget = module.SegHiResCAMWidget(parent)
        self.widget.setup()
        self.parent = parent

    @property
    def ui(self) -> Any:
        return self.widget.panel.ui

    @property
    def errors(self) -> list[Exception]:
        """What slots have raised."""
        return [call.error for call in self.calls if call.error is not None]

    def wait(self, until: Callable[[], Any], seconds: float = 60) -> None:
        """Let the application run until something is true."""
        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds} s: {self.ui.statusLabel.text}")
            self.turn()
            self.pause(PAUSE_S)

    def turn(self) -> None:
        """One turn of the event loop; a long one is kept among the calls, whatever made it so."""
        turned = self.qt.Call("event loop")
        with self.qt.timed(turned):
            self.qt.APPLICATION.processEvents()
        if turned.seconds > NOTICEABLE_S:
            self.calls.append(turned)

    def picture(self, path: Path, width: int = 460) -> None:
        """Draw the panel as it is."""
        self.parent.resize(width, 10)
        self.parent.show()
        self.qt.APPLICATION.processEvents()
        for _ in range(2):  # texts that were wrapped anew change how high everything is
            self.parent.resize(width, self.parent.sizeHint().height())
            self.qt.APPLICATION.processEvents()
        self.parent.grab().save(str(path))

    def close(self) -> None:
        """As when Slicer ends."""
        self.widget.cleanup()
        self.parent.deleteLater()
        self.qt.APPLICATION.sendPostedEvents(None, self.qt.QtCore.QEvent.Type.DeferredDelete)


def keep_lock(seconds: float) -> None:
    """Wait without letting Python's other threads run, as 3D Slicer's event loop does."""
    ctypes.PyDLL(None).usleep(ctypes.c_uint(round(seconds * 1e6)))


@contextmanager
def panel_desktop(application: HeadlessApplication) -> Iterator[Desktop]:
    """The module with a panel that works."""
    from harness import ctk_widgets, pythonqt, stand_ins

    widgets = panel_widgets()
    qt = pythonqt.qt_module()
    qt.QUiLoader = stand_ins.UiLoader
    with _surroundings(application, _App(application), qt, ctk_widgets.ctk_module(), widgets):
        desktop = Desktop(load_module())
        try:
            yield desktop
        finally:
            desktop.close()


def panel_widgets() -> dict[str, type]:
    """By name, 3D Slicer's widgets that the panel or 3D Slicer's own files name."""
    from harness import mrml_widgets, stand_ins  # noqa: F401 - the widgets register themselves

    return {name: stand_ins.STAND_INS.get(name, type(name, (), {})) for name in _WIDGETS}


class _App:
    """`slicer.app` without a main window; what it does not have, the QApplication has."""

    def __init__(self, application: HeadlessApplication) -> None:
        from harness import pythonqt

        self._application, self._qt = application, pythonqt

    def translate(self, _context: str, text: str) -> str:
        return text

    def layoutManager(self) -> None:
        return None

    def testingEnabled(self) -> bool:
        return True

    def moduleManager(self) -> Any:
        return types.SimpleNamespace(connect=lambda *_: True, disconnect=lambda *_: True)

    def applicationLogic(self) -> Any:
        return self._application.core

    def settings(self) -> Any:
        return self._qt.QtCore.QSettings()

    userSettings = settings

    def pauseRender(self) -> None:
        pass

    resumeRender = pauseRender

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._qt.APPLICATION, name)


@contextmanager
def _surroundings(
    application: HeadlessApplication, app: Any, qt: Any, ctk: Any, widgets: dict[str, Any]
) -> Iterator[None]:
    """Everything that 3D Slicer adds to slicer-core, and away again."""
    before = {name: sys.modules.get(name) for name in ("qt", "ctk", "SegHiResCAM")}
    dialogs = {name: getattr(slicer.util, name) for name in (*_DIALOGS, "loadVolume")}
    sys.modules.update(qt=qt, ctk=ctk)
    slicer.mrmlScene, slicer.app = application.scene, app
    slicer.modules = types.SimpleNamespace(seghirescam=types.SimpleNamespace(path=str(MODULE), name="SegHiResCAM"))
    for name, kind in widgets.items():
        setattr(slicer, name, kind)
    for name in _DIALOGS:
        setattr(slicer.util, name, _recorder(name))
    slicer.util.loadVolume = _load_volume
    slicer_python.install()
    # What has seen another qt must not be met again.
    for name in [name for name in sys.modules if name.startswith("SegHiResCAMLib.panel")]:
        del sys.modules[name]
    try:
        yield
    finally:
        slicer_python.uninstall()
        for name in ("mrmlScene", "app", "modules", *widgets):
            delattr(slicer, name)
        for name, function in dialogs.items():
            setattr(slicer.util, name, function)
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def _recorder(name: str) -> Callable[..., bool]:
    def display(text: str = "", *_arguments: Any, **_options: Any) -> bool:
        from harness import pythonqt

        pythonqt.DIALOGS.append((name, [text]))
        return False

    return display


def load_volume(scene: Any, path: Path) -> Any:
    """As Slicer loads a volume that somebody drops onto it."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", path.name.partition(".")[0])
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise OSError(f"{path} cannot be read")
    node.SetAndObserveStorageNodeID(storage.GetID())
    node.CreateDefaultDisplayNodes()
    return node


def _load_volume(file: str, properties: dict[str, Any]) -> Any:
    """slicer.util.loadVolume, which asks the desktop's input manager."""
    node = load_volume(slicer.mrmlScene, Path(file))
    node.SetName(properties["name"])
    return node


def load_module() -> Any:
    """Execute SegHiResCAM.py under its own name."""
    spec = importlib.util.spec_from_file_location("SegHiResCAM", MODULE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["SegHiResCAM"] = module
    spec.loader.exec_module(module)
    return module
