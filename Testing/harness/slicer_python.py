"""Stand-ins for the Python files of 3D Slicer that slicer-core lacks, as far as the module uses them.

SEGHIRESCAM_SLICER_SOURCE, where set, names a checkout of 3D Slicer whose own files are taken in their place.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
import unittest
from pathlib import Path
from typing import Any

import slicer

from harness.parameter_node import Choice, WithinRange, parameterNodeWrapper

SOURCE = "SEGHIRESCAM_SLICER_SOURCE"
NAMES = ("i18n", "ScriptedLoadableModule", "parameterNodeWrapper")


def install() -> None:
    """Make `slicer.i18n`, `slicer.ScriptedLoadableModule` and `slicer.parameterNodeWrapper` importable."""
    source = os.environ.get(SOURCE)
    if source:
        slicer.__path__.append(str(Path(source) / "Base/Python/slicer"))
        for name in NAMES:
            importlib.import_module(f"slicer.{name}")
        return
    for name, contents in zip(NAMES, (I18N, SCRIPTED, PARAMETERS), strict=True):
        module = types.ModuleType(f"slicer.{name}")
        vars(module).update(contents)
        sys.modules[module.__name__] = module
        setattr(slicer, name, module)


def uninstall() -> None:
    """Undo `install`."""
    source = os.environ.get(SOURCE)
    if source:
        slicer.__path__.remove(str(Path(source) / "Base/Python/slicer"))
    for name in [name for name in sys.modules if name.startswith(tuple(f"slicer.{one}" for one in NAMES))]:
        del sys.modules[name]
        if name.count(".") == 1:
            delattr(slicer, name.removeprefix("slicer."))


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent


class ScriptedLoadableModuleLogic:
    def __init__(self) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node.SetAttribute("ModuleName", self.moduleName)
            node.SetName(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        self.parent = parent
        self.layout = parent.layout() if parent is not None else None

    def setup(self) -> None:
        """Nothing that a module needs."""

    def resourcePath(self, name: str) -> str:
        return str(Path(sys.modules[type(self).__module__].__file__).parent / "Resources" / name)


class ScriptedLoadableModuleTest(unittest.TestCase):
    pass


I18N = {"tr": lambda text: text, "translate": lambda _context, text: text}
SCRIPTED = {
    kind.__name__: kind
    for kind in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleTest,
    )
}
PARAMETERS = {"parameterNodeWrapper": parameterNodeWrapper, "WithinRange": WithinRange, "Choice": Choice}
