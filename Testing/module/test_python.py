"""Which Python computes, inside 3D Slicer and elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from SegHiResCAMLib.child_process import python_executable


@pytest.fixture
def python_slicer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """PythonSlicer, on the PATH as in 3D Slicer, and nothing else there."""
    file = tmp_path / ("PythonSlicer.exe" if sys.platform == "win32" else "PythonSlicer")
    file.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return str(file)


def within_slicer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slicer", SimpleNamespace(app=SimpleNamespace(slicerHome="/Slicer")))


def test_elsewhere_it_is_this_one(python_slicer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slicer", SimpleNamespace())  # the slicer-core wheels
    assert python_executable() == sys.executable


@pytest.mark.parametrize("executable", ["/Slicer/bin/SlicerApp-real", "/Slicer/bin/python-real", ""])
def test_in_3d_slicer_it_is_python_slicer(executable: str, python_slicer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    within_slicer(monkeypatch)
    monkeypatch.setattr(sys, "executable", executable)
    assert python_executable() == python_slicer


def test_3d_slicer_itself_is_never_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    within_slicer(monkeypatch)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", "/Slicer/bin/SlicerApp-real")
    assert python_executable() == ""


def test_a_program_in_one_file_has_none(python_slicer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert python_executable() == ""
