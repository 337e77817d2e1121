"""What a scripted module finds when 3D Slicer loads it with --no-main-window: `slicer.mrmlScene`, `slicer.app`, `qt` and `ctk`.

Here qt and ctk are empty stand-ins: logic, parameters and tests of a module must not need more.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
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
    before = {name: sys.modules.get(name) for name in ("qt", "ctk", "SegHiResCAM")}
    sys.modules.update(qt=_Stub("qt"), ctk=_Stub("ctk"))
    slicer.mrmlScene = application.scene
    slicer.app = types.SimpleNamespace(translate=lambda _context, text: text, layoutManager=lambda: None)
    for name in _WIDGETS:
        setattr(slicer, name, type(name, (), {}))
    slicer_python.install()
    try:
        yield load_module()
    finally:
        slicer_python.uninstall()
        for name in ("mrmlScene", "app", *_WIDGETS):
            delattr(slicer, name)
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def load_module() -> Any:
    """Execute SegHiResCAM.py under its own name."""
    spec = importlib.util.spec_from_file_location("SegHiResCAM", MODULE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["SegHiResCAM"] = module
    spec.loader.exec_module(module)
    return module
