"""An exported heat map that is opened in 3D Slicer is one again, and no other file ever is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from a_record import a_record
from harness.desktop import load_volume

from SegHiResCAMLib.nrrd import read_pairs, write_nrrd
from SegHiResCAMLib.provenance import EXPLANATION, METHOD, header_of
from SegHiResCAMLib.scene.heatmap import INFERNO, INPUT_VOLUME, explanation_of, peak_position
from SegHiResCAMLib.scene.legend import legend_of
from SegHiResCAMLib.scene.opened_file import adopt_opened_files
from SegHiResCAMLib.scene.volumes import add_volume, volume_array

RECORD = a_record("Seg-HiRes-Grad CAM", 'left "kidney" \\ 腎', "net", units="logit units", score=3.0)
VALUES = np.zeros((6, 5, 4), np.float32)
VALUES[4, 1, 2] = 7.5


def test_it_has_its_colours_range_legend_and_record_again(scene: Any, affine: np.ndarray, tmp_path: Path) -> None:
    write_nrrd(tmp_path / "heatmap.nrrd", VALUES, affine, header_of(RECORD))
    node = load_volume(scene, tmp_path / "heatmap.nrrd")
    assert node.GetAttribute(METHOD) is None
    array, place = volume_array(node)  # a left-handed grid comes back with an axis reversed
    volume = add_volume(scene, np.zeros(array.shape, np.int16), place, "CT")
    add_volume(scene, np.zeros((3, 3, 3), np.int16), place, "Another")
    known: set[str] = set()
    assert adopt_opened_files(scene, known) == [node]
    found = explanation_of(node)
    assert (found.method, found.question.segment, found.maximum) == (RECORD.method, RECORD.question.segment, 7.5)
    display = node.GetDisplayNode()
    assert (display.GetColorNodeID(), display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (INFERNO, 0, 7.5)
    assert legend_of(node).GetTitleText() == f"{RECORD.question.segment}\nlogits"
    assert node.GetNodeReference(INPUT_VOLUME) is volume
    np.testing.assert_allclose(peak_position(node).position, (affine @ [4, 1, 2, 1])[:3], atol=1e-9)
    assert adopt_opened_files(scene, known) == []


@pytest.mark.parametrize(
    "header",
    [
        {},
        {METHOD: "Seg-Grad CAM"},
        {EXPLANATION: "{}"},
        {EXPLANATION: "[" * 10_000},
        {EXPLANATION: '{"schemaVersion": 99}'},
        {EXPLANATION: "x" * 3_000_000},
    ],
    ids=["none", "a method only", "an empty record", "nested", "of the future", "endless"],
)
def test_a_file_that_says_something_else_is_no_heat_map(scene: Any, tmp_path: Path, header: dict[str, str]) -> None:
    write_nrrd(tmp_path / "a.nrrd", VALUES, np.eye(4), header)
    node = load_volume(scene, tmp_path / "a.nrrd")
    assert adopt_opened_files(scene, set()) == []
    assert node.GetAttribute(METHOD) is None


def test_two_images_on_its_grid_leave_open_which_one_it_explains(scene: Any, tmp_path: Path) -> None:
    write_nrrd(tmp_path / "heatmap.nrrd", VALUES, np.eye(4), header_of(RECORD))
    for name in ("arterial", "venous"):
        add_volume(scene, np.zeros(VALUES.shape, np.int16), np.eye(4), name)
    node = load_volume(scene, tmp_path / "heatmap.nrrd")
    adopt_opened_files(scene, set())
    assert node.GetNodeReference(INPUT_VOLUME) is None
    assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node) is not None


def test_of_a_header_that_does_not_end_no_more_is_read_than_a_record_needs(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + b"a:=" + b"x" * 5_000_000)
    assert read_pairs(tmp_path / "a.nrrd") == {}
    (tmp_path / "b.nrrd").write_bytes(b"GIF89a\nSegHiResCAM.method:=CAM\n\n")
    assert read_pairs(tmp_path / "b.nrrd") == {}
