"""The tests that 3D Slicer runs pass here, too, with its widgets stood in for; what they say of the desktop, only the desktop can say."""

from __future__ import annotations

import importlib.util
import sys
import types
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import slicer
from harness.desktop import panel_desktop

from SegHiResCAMLib.scene.headless import headless_application

FILE = Path(__file__).parents[1] / "Python/SegHiResCAMSlicerTest.py"
LOGICS = {"volumes": "vtkSlicerVolumesLogic", "segmentations": "vtkSlicerSegmentationsModuleLogic"}
"""Of 3D Slicer's own modules, those that `slicer.util` calls."""


@pytest.fixture(scope="module")
def a_test_case() -> Iterator[type[unittest.TestCase]]:
    """The class, with `slicer.util` that finds the module and its panel."""
    before = {name: getattr(slicer.util, name) for name in ("getModuleWidget", "getModuleLogic")}
    with headless_application() as application, panel_desktop(application) as desktop:
        slicer.util.getModuleWidget = lambda _name: desktop.widget
        slicer.util.getModuleLogic = lambda _name: desktop.widget.logic
        for name, kind in LOGICS.items():
            setattr(slicer.modules, name, _module(kind, application.scene))
        spec = importlib.util.spec_from_file_location("SegHiResCAMSlicerTest", FILE)
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module.SegHiResCAMSlicerTest
        for name, function in before.items():
            setattr(slicer.util, name, function)


def _module(kind: str, scene: Any) -> types.SimpleNamespace:
    logic = getattr(slicer, kind)()
    logic.SetMRMLScene(scene)
    return types.SimpleNamespace(logic=lambda: logic)


TESTS = [
    line.split("(")[0].split()[-1] for line in FILE.read_text(encoding="utf-8").splitlines() if "def test_" in line
]
ELSEWHERE = {
    "test_opening_the_module_does_not_load_torch",  # below: here other tests have loaded it
    "test_the_check_of_the_installation_runs_in_a_process_of_its_own",  # in Testing/installation
}


@pytest.mark.parametrize("name", [name for name in TESTS if name not in ELSEWHERE])
def test_a_test_of_3d_slicer_passes(a_test_case: type[unittest.TestCase], name: str) -> None:
    result = unittest.TestResult()
    a_test_case(name).run(result)
    if result.skipped:
        pytest.skip(result.skipped[0][1])
    assert [text for _, text in result.failures + result.errors] == []


def test_the_panel_is_made_without_torch() -> None:
    import subprocess

    code = (
        "import sys, slicer\n"
        "from harness.desktop import panel_desktop\n"
        "from SegHiResCAMLib.scene.headless import headless_application\n"
        "with headless_application() as application, panel_desktop(application) as desktop:\n"
        "    desktop.widget.enter()\n"
        "    assert not {'torch', 'monai'} & set(sys.modules), 'torch is loaded'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FILE.parents[1], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
