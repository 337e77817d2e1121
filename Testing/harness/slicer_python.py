"""Stand-ins for the Python files of 3D Slicer that slicer-core lacks, as far as the module uses them.

SEGHIRESCAM_SLICER_SOURCE, where set, names a checkout of 3D Slicer whose own files are taken in their place.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
import typing
import unittest
from pathlib import Path
from typing import Annotated, Any

import slicer

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


def parameterNodeWrapper(declared: type) -> type:
    """Attributes of the class become parameters and node references of a vtkMRMLScriptedModuleNode."""
    wrapper = type(declared.__name__, (), {"__init__": _init, "__doc__": declared.__doc__})
    for name, hint in typing.get_type_hints(declared, include_extras=True).items():
        kind, *validators = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
        setattr(wrapper, name, _attribute(name, kind, validators, getattr(declared, name, None)))
    return wrapper


def _init(self: Any, node: Any) -> None:
    self.parameterNode = node


def _attribute(name: str, kind: type, validators: list[Any], default: Any) -> property:
    if kind.__name__.startswith("vtkMRML"):
        return property(
            lambda self: self.parameterNode.GetNodeReference(name),
            lambda self, node: self.parameterNode.SetNodeReferenceID(name, node.GetID() if node else None),
        )
    default = kind() if default is None else default
    read = (lambda text: text == "True") if kind is bool else kind

    def get(self: Any) -> Any:
        text = self.parameterNode.GetParameter(name)
        return read(text) if text else default

    def set(self: Any, value: Any) -> None:
        for validator in validators:
            validator.validate(value)
        self.parameterNode.SetParameter(name, str(value))

    return property(get, set)


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
