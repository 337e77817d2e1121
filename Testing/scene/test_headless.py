from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps

from SegHiResCAMLib.scene.headless import COLOR_TABLES, headless_application


@pytest.mark.parametrize("name", COLOR_TABLES)
def test_a_color_table_has_the_desktops_id_and_matplotlibs_colors(scene, name):
    node = scene.GetNodeByID(f"vtkMRMLColorTableNodeFile{name}.txt")
    table = node.GetLookupTable()
    colors = [table.GetTableValue(index) for index in range(table.GetNumberOfTableValues())]
    np.testing.assert_allclose(colors, colormaps[name.lower()](range(256)), atol=0.51 / 255)


def test_the_scene_has_the_desktops_three_slice_views(scene):
    views = [
        scene.GetNthNodeByClass(n, "vtkMRMLSliceNode") for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode"))
    ]
    # Views that a comparison has added outlive a scene that is cleared, as they do in the desktop.
    own = {view.GetName(): view.GetOrientation() for view in views if not view.GetName().startswith("SegHiResCAM-")}
    assert own == {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


def test_no_temporary_folder_is_left_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with headless_application():
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_folder_goes_and_the_error_stays_when_the_block_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError), headless_application():
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def _message_with(first_on_path: Path, before: str = "") -> str:
    """Start an application in a fresh interpreter that finds other packages first, and return what it says."""
    code = (
        f"import sys; sys.path.insert(0, {str(first_on_path)!r}); {before}\n"
        "from SegHiResCAMLib.scene.errors import SceneError\n"
        "from SegHiResCAMLib.scene.headless import headless_application\n"
        "try:\n    headless_application().__enter__()\nexcept SceneError as error:\n    print(error.message)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_another_package_named_slicer_is_told_in_a_message(tmp_path):
    (tmp_path / "slicer.py").write_text("class Slicer: pass\n")
    assert "not slicer-core but another of the same name" in _message_with(tmp_path)


def test_a_missing_slicer_core_is_told_in_a_message(tmp_path):
    assert "need the package slicer-core" in _message_with(tmp_path, "sys.modules['slicer'] = None")
