"""Check this map, by clicks: the lines are those of the command, they stay with the heat map, and nothing is lost when it is cancelled."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.desktop import Desktop
from tiny_bundle import noise, write_tiny_bundle
from typer.testing import CliRunner

from panel.steps import STANDSTILL_S, choose, choose_model, choose_segment, explain, idle, segment, standstill
from SegHiResCAMLib.cli import app
from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.records.check_lines import PAGE, check_lines
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.scene.heatmap import explanation_of
from SegHiResCAMLib.scene.save import save_scene
from SegHiResCAMLib.scene.segments import image_voxels
from SegHiResCAMLib.scene.volumes import add_volume, volume_array

pytestmark = pytest.mark.engine

LINES = range(1, 7)


@pytest.fixture
def parameters(desktop: Desktop) -> Any:
    return desktop.widget.panel.state.parameters


@pytest.fixture
def heatmap(desktop: Desktop, a_volume: Any, a_model: Path) -> Any:
    """Of the tumour, made by clicks."""
    desktop.ui.volumeSelector.setCurrentNode(a_volume)
    choose_model(desktop, a_model)
    segment(desktop)
    choose_segment(desktop, "tumour")
    return explain(desktop)


def check(desktop: Desktop) -> None:
    desktop.ui.checkButton.click()
    idle(desktop)


def shown(desktop: Desktop) -> list[Any]:
    labels = [getattr(desktop.ui, f"checkLine{number}") for number in LINES]
    return [label for label in labels if not label.isHidden()]


def exported(desktop: Desktop, folder: Path) -> dict[str, Any]:
    desktop.ui.folderButton.directory = str(folder)
    desktop.ui.exportButton.click()
    idle(desktop)
    return json.loads((folder / "explanation.json").read_text(encoding="utf-8"))


def command(volume: Any, model: Path, folder: Path, *more: str) -> dict[str, Any]:
    """The record that the command writes for the same case."""
    array, affine = volume_array(volume)
    folder.mkdir()
    write_nrrd(folder / "ct.nrrd", array, affine, {})
    asked = ["explain", str(folder / "ct.nrrd"), "-m", str(model), "-s", "tumour", "-o", str(folder / "why"), *more]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    return json.loads((folder / "why/explanation.json").read_text(encoding="utf-8"))


def test_a_click_says_what_the_command_says_and_the_export_has_its_files(
    desktop: Desktop, heatmap: Any, a_volume: Any, a_model: Path, tmp_path: Path
) -> None:
    assert shown(desktop) == []
    check(desktop)
    record = explanation_of(heatmap)
    lines = check_lines(record)
    assert 4 <= len(lines) <= 6
    assert [label.toolTip for label in shown(desktop)] == [line.meaning for line in lines]
    for label, line in zip(shown(desktop), lines, strict=True):
        assert f"{PAGE}#{line.section}" in label.text
        assert label.text.startswith(f"<b>{line.title}:</b> ")
    told = command(a_volume, a_model, tmp_path / "command", "--check")
    found = exported(desktop, tmp_path / "panel")
    assert found["check"] == told["check"]
    assert found["score_explained"] == told["score_explained"]
    names = {one.name for one in (tmp_path / "panel").iterdir()}
    assert {"check.csv", "check.png"} <= names
    tables = [(tmp_path / way / "check.csv").read_bytes() for way in ("panel", "command/why")]
    assert tables[0] == tables[1]
    assert float(list(csv.DictReader(tables[0].decode().splitlines()))[-1]["value"]) <= 45


def test_the_sections_that_lines_lead_to_are_in_the_documentation(desktop: Desktop, heatmap: Any) -> None:
    check(desktop)
    page = (resource("UI", "SegHiResCAM.ui").parents[3] / "docs/evidence.md").read_text(encoding="utf-8")
    headings = {row[3:].strip().lower().replace(" ", "-") for row in page.splitlines() if row.startswith("## ")}
    assert {line.section for line in check_lines(explanation_of(heatmap))} <= headings


def test_the_check_comes_back_with_the_scene(
    desktop: Desktop, scene: Any, heatmap: Any, parameters: Any, tmp_path: Path
) -> None:
    check(desktop)
    before = [label.text for label in shown(desktop)]
    save_scene(scene, tmp_path / "scene.mrb")
    scene.Clear(0)
    assert shown(desktop) == []
    scene.SetURL(str(tmp_path / "scene.mrb"))
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    idle(desktop)
    assert [label.text for label in shown(desktop)] == before


def test_another_map_is_not_said_to_be_checked(desktop: Desktop, heatmap: Any, parameters: Any) -> None:
    check(desktop)
    assert shown(desktop)
    choose_segment(desktop, "kidney")
    other = explain(desktop)
    assert other is not heatmap
    assert shown(desktop) == []
    parameters.heatmap = heatmap
    assert shown(desktop)


def test_a_drawn_segment_is_checked_as_it_was_explained_and_not_once_it_has_changed(
    desktop: Desktop, heatmap: Any, parameters: Any
) -> None:
    choose(desktop.ui.pixelSetSelector, "segment as drawn")
    drawn = explain(desktop)
    check(desktop)
    assert explanation_of(drawn).check is not None
    parameters.heatmap = again = explain(desktop)
    segment = parameters.segmentation.GetSegmentation().GetSegment(parameters.segmentId)
    image = segment.GetRepresentation("Binary labelmap")
    voxels = image_voxels(image)
    voxels[: voxels.shape[0] // 2] = 0
    image.Modified()
    check(desktop)
    assert "has changed since" in desktop.ui.statusLabel.text
    assert explanation_of(again).check is None


def test_another_model_is_asked_for(desktop: Desktop, heatmap: Any, parameters: Any, tmp_path: Path) -> None:
    import torch

    other = write_tiny_bundle(tmp_path / "other")
    weights = torch.load(other / "models/model.pt", weights_only=True)
    torch.save({name: value + 1 for name, value in weights.items()}, other / "models/model.pt")
    choose_model(desktop, other)
    assert not desktop.ui.checkButton.enabled
    assert "Choose the model of this heat map" in desktop.ui.checkReason.text
    parameters.heatmap = None
    assert desktop.ui.checkReason.isHidden()


@pytest.fixture(scope="module")
def a_slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A check of it takes minutes."""
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "slow", overlap=0.75)


@pytest.fixture
def a_slow_check(desktop: Desktop, scene: Any, a_slow_model: Path) -> Any:
    """The heat map whose check has begun."""
    desktop.ui.volumeSelector.setCurrentNode(add_volume(scene, noise((32, 32, 32)), np.eye(4), "CT"))
    choose_model(desktop, a_slow_model)
    choose_segment(desktop, "tumour")
    heatmap = explain(desktop)
    desktop.ui.checkButton.click()
    assert desktop.ui.checkButton.text == "Cancel"
    desktop.wait(lambda: desktop.ui.progressBar.value > 300, seconds=300)
    return heatmap


def test_a_check_that_is_cancelled_ends_within_two_seconds(desktop: Desktop, a_slow_check: Any) -> None:
    desktop.ui.checkButton.click()
    pressed = time.monotonic()
    assert (desktop.ui.statusLabel.text, desktop.ui.checkButton.text) == ("Cancelled.", "Chec&k this map")
    desktop.wait(lambda: not desktop.widget.logic.explainer.is_busy)
    assert time.monotonic() - pressed < 3  # two, and what a busy machine adds
    assert explanation_of(a_slow_check).check is None


def test_a_heat_map_that_is_deleted_meanwhile_ends_its_check(desktop: Desktop, scene: Any, a_slow_check: Any) -> None:
    name = a_slow_check.GetName()
    scene.RemoveNode(a_slow_check)
    assert desktop.ui.statusLabel.text == f"'{name}' was deleted while it was being processed, so this was cancelled."
    idle(desktop)
    assert shown(desktop) == []


def test_a_scene_that_is_closed_meanwhile_ends_the_check(desktop: Desktop, scene: Any, a_slow_check: Any) -> None:
    scene.Clear(0)
    assert not desktop.widget.panel.state.work.name
    idle(desktop)


def test_no_slot_of_a_check_stands_still(desktop: Desktop, heatmap: Any) -> None:
    desktop.calls.clear()
    check(desktop)
    assert standstill(desktop) < STANDSTILL_S


def test_what_comes_from_files_is_no_markup(desktop: Desktop) -> None:
    from SegHiResCAMLib.panel.check import line_html
    from SegHiResCAMLib.records.check_lines import CheckLine

    text = line_html(CheckLine("Gravest <i>finding</i>", "<img src='file:///etc/passwd'>", "", "findings"))
    assert "<img" not in text
    assert "<i>" not in text
