"""Which regions the evidence lies in, by clicks: the shares are those of the command, for any segmentation of the scene on any grid."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import slicer
from harness.desktop import Desktop
from tiny_bundle import noise
from typer.testing import CliRunner

from panel.steps import choose_model, choose_segment, explain, idle, segment
from SegHiResCAMLib.cli import app
from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.scene.heatmap import explanation_of
from SegHiResCAMLib.scene.save import save_segmentation
from SegHiResCAMLib.scene.segments import Segment, add_segment, add_segmentation
from SegHiResCAMLib.scene.volumes import add_volume, volume_array

pytestmark = pytest.mark.engine

SHEARED = np.array([[0, -2.0, 0, 10], [1.5, 0, 0.4, -5], [0, 0, 3, 7], [0, 0, 0, 1]])
OBLIQUE = np.array([[1.1, 0.2, 0, -36.137], [-0.2, 1.2, 0.1, 0.2718], [0, -0.1, 1.6, 8.3141], [0, 0, 0, 1]])
"""No part of a voxel has its centre on the border of one of these, where rounding would decide."""


@pytest.fixture
def parameters(desktop: Desktop) -> Any:
    return desktop.widget.panel.state.parameters


@pytest.fixture
def volume(scene: Any) -> Any:
    """On a sheared grid."""
    return add_volume(scene, noise(), SHEARED, "CT")


@pytest.fixture
def heatmap(desktop: Desktop, volume: Any, a_model: Path) -> Any:
    desktop.ui.volumeSelector.setCurrentNode(volume)
    choose_model(desktop, a_model)
    segment(desktop)
    choose_segment(desktop, "tumour")
    return explain(desktop)


@pytest.fixture
def organs(scene: Any, volume: Any) -> Any:
    """On another, oblique grid; the small one lies within the large one, and the last is empty."""
    labels = np.zeros((30, 40, 50), np.uint8)
    labels[3:20, 5:30, 4:40] = 1
    segments = [Segment("liver", 1, (1, 0, 0)), Segment("nothing", 2, (0, 0, 1))]
    node = add_segmentation(scene, labels, OBLIQUE, segments, volume, name="Organs")
    inner = np.zeros_like(labels)
    inner[8:14, 10:22, 10:25] = 1
    add_segment(node, inner, OBLIQUE, Segment("lesion", 1, (0, 1, 0)))
    return node


def measure(desktop: Desktop) -> None:
    desktop.ui.regionsButton.click()
    idle(desktop)


def command(volume: Any, model: Path, folder: Path, regions: str) -> list[dict[str, Any]]:
    array, affine = volume_array(volume)
    write_nrrd(folder / "ct.nrrd", array, affine, {})
    asked = ["explain", str(folder / "ct.nrrd"), "-m", str(model), "-s", "tumour", "-o", str(folder / "why")]
    result = CliRunner().invoke(app, [*asked, "--regions", regions])
    assert result.exit_code == 0, result.output
    return json.loads((folder / "why/explanation.json").read_text(encoding="utf-8"))["regions"]


def rows(table: Any) -> list[list[str]]:
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def same(found: Any, told: list[dict[str, Any]]) -> None:
    """Sums over other orders of the same float32 values."""
    assert [one.name for one in found] == [one["name"] for one in told]
    for one, other in zip(found, told, strict=True):
        for name, value in other.items():
            if isinstance(value, float):
                assert getattr(one, name) == pytest.approx(value, rel=1e-9, abs=1e-12), (one.name, name)


def test_any_segmentation_gives_the_shares_of_the_command(
    desktop: Desktop, heatmap: Any, volume: Any, organs: Any, a_model: Path, parameters: Any, tmp_path: Path
) -> None:
    save_segmentation(organs, tmp_path / "organs.seg.nrrd")
    desktop.ui.regionsSelector.setCurrentNode(organs)
    assert parameters.regions is organs
    measure(desktop)
    found = explanation_of(heatmap).regions
    assert [one.name for one in found][:2] == ["liver", "lesion"]
    same(found, command(volume, a_model, tmp_path, str(tmp_path / "organs.seg.nrrd")))
    assert sum(one.positive for one in found) == pytest.approx(1, abs=1e-12)
    shown = rows(desktop.ui.regionTable)
    assert [row[0] for row in shown][-3:] == ["0 to 5 mm around", "5 to 10 mm around", "elsewhere"]
    shares = {one.name: one for one in found}
    for name, positive, negative, times in shown:
        assert float(positive) == pytest.approx(100 * shares[name].positive, abs=0.051)
        assert float(negative) == pytest.approx(100 * shares[name].negative, abs=0.051)
        assert float(times) == pytest.approx(shares[name].enrichment, rel=5e-3)
    tip = desktop.ui.regionTable.item([row[0] for row in shown].index("lesion"), 0).toolTip()
    assert f"{100 * shares['lesion'].positive_within_10_mm:.1f} % up to 10 mm" in tip


def test_without_one_the_regions_are_what_the_model_segments(
    desktop: Desktop, heatmap: Any, volume: Any, a_model: Path, tmp_path: Path
) -> None:
    measure(desktop)
    same(explanation_of(heatmap).regions, command(volume, a_model, tmp_path, "model"))
    assert "Most of the evidence: " in desktop.ui.statusLabel.text
    desktop.ui.evidenceSection.collapsed = True
    assert desktop.ui.evidenceSection.text.startswith("5. Evidence: ")


def test_a_segmentation_under_a_transform_counts_where_it_is_seen(
    desktop: Desktop, scene: Any, heatmap: Any, organs: Any
) -> None:
    desktop.ui.regionsSelector.setCurrentNode(organs)
    measure(desktop)
    before = explanation_of(heatmap).regions
    moved = slicer.util.vtkMatrixFromArray(np.array([[1.0, 0, 0, 5], [0, 1, 0, -4], [0, 0, 1, 3], [0, 0, 0, 1]]))
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    transform.SetMatrixTransformToParent(moved)
    organs.SetAndObserveTransformNodeID(transform.GetID())
    measure(desktop)
    assert explanation_of(heatmap).regions != before
    organs.HardenTransform()
    organs.SetAndObserveTransformNodeID(None)
    moved_there = explanation_of(heatmap).regions
    measure(desktop)
    for one, other in zip(explanation_of(heatmap).regions, moved_there, strict=True):
        assert one.positive == pytest.approx(other.positive, rel=1e-9)


def test_the_export_has_the_table_and_the_figure_its_bars(
    desktop: Desktop, heatmap: Any, organs: Any, tmp_path: Path
) -> None:
    heights = []
    for name in ("without", "with"):
        folder = tmp_path / name
        desktop.ui.folderButton.directory = str(folder)
        desktop.ui.exportButton.click()
        idle(desktop)
        heights.append(matplotlib.image.imread(folder / "overlay.png").shape[0])
        assert (folder / "regions.csv").exists() == (name == "with")
        desktop.ui.regionsSelector.setCurrentNode(organs)
        measure(desktop)
    page = matplotlib.image.imread(folder / "overlay.png")
    assert heights[1] > heights[0]
    orange = np.abs(page[..., :3] - np.array([0xF9, 0x8E, 0x09]) / 255).max(axis=-1) < 0.02
    assert orange[heights[0] - 60 :].sum() > 500
    written = list(csv.DictReader((folder / "regions.csv").open(encoding="utf-8")))
    assert [float(row["positive"]) for row in written] == [one.positive for one in explanation_of(heatmap).regions]


def test_an_empty_segmentation_is_a_message(desktop: Desktop, scene: Any, heatmap: Any, volume: Any) -> None:
    node = add_segmentation(scene, np.zeros((24, 20, 18), np.uint8), SHEARED, [Segment("none", 1, (1, 0, 0))], volume)
    desktop.ui.regionsSelector.setCurrentNode(node)
    measure(desktop)
    assert "no voxel in any segment" in desktop.ui.statusLabel.text
    bare = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Bare")
    desktop.ui.regionsSelector.setCurrentNode(bare)
    measure(desktop)
    assert desktop.ui.statusLabel.text == "'Bare' has 0 segments. Choose a segmentation that has 1 to 1000."
    assert explanation_of(heatmap).regions == ()


def test_regions_that_are_deleted_meanwhile_end_the_job(
    desktop: Desktop, scene: Any, heatmap: Any, organs: Any
) -> None:
    desktop.ui.regionsSelector.setCurrentNode(organs)
    desktop.ui.regionsButton.click()
    scene.RemoveNode(organs)
    assert desktop.ui.statusLabel.text == "'Organs' was deleted while it was being processed, so this was cancelled."
    idle(desktop)
    assert explanation_of(heatmap).regions == ()


def test_a_script_measures_the_same(desktop: Desktop, heatmap: Any, organs: Any, a_model: Path) -> None:
    desktop.ui.regionsSelector.setCurrentNode(organs)
    measure(desktop)
    before = explanation_of(heatmap).regions
    record = desktop.widget.logic.evidence.regions(heatmap, a_model, segmentationNode=organs)
    assert record.regions == before
