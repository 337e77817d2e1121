"""How the score is divided among several images, by clicks: the values are those of the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.desktop import Desktop
from tiny_bundle import noise, write_two_channel_bundle
from typer.testing import CliRunner

from panel.steps import choose_model, choose_segment, explain, idle
from SegHiResCAMLib.cli import app
from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.records.wording import number
from SegHiResCAMLib.scene.heatmap import explanation_of
from SegHiResCAMLib.scene.volumes import add_volume

pytestmark = pytest.mark.engine

AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])


@pytest.fixture(scope="module")
def two_channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_two_channel_bundle(tmp_path_factory.mktemp("models") / "two")


@pytest.fixture
def heatmap(desktop: Desktop, scene: Any, two_channels: Path) -> Any:
    """Of the tumour in two images."""
    parameters = desktop.widget.panel.state.parameters
    parameters.inputVolume = add_volume(scene, noise(seed=0), AFFINE, "T1")
    choose_model(desktop, two_channels)
    parameters.inputVolume2 = add_volume(scene, noise(seed=1), AFFINE, "T2")
    choose_segment(desktop, "tumour")
    return explain(desktop)


def test_the_values_are_those_of_the_command(
    desktop: Desktop, heatmap: Any, two_channels: Path, tmp_path: Path
) -> None:
    ui = desktop.ui
    assert not ui.imagesSection.isHidden()
    ui.imagesButton.click()
    idle(desktop)
    found = explanation_of(heatmap).input_shares
    assert found is not None, ui.statusLabel.text
    for seed in range(2):
        write_nrrd(tmp_path / f"{seed}.nrrd", noise(seed=seed), AFFINE, {})
    files = [str(tmp_path / f"{seed}.nrrd") for seed in range(2)]
    asked = ["explain", *files, "-m", str(two_channels), "-s", "tumour", "-o", str(tmp_path / "why"), "--input-shares"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "why/explanation.json").read_text(encoding="utf-8"))["input_shares"]
    assert (found.fill, found.predictions) == (told["fill"], told["predictions"])
    assert sum(one.value for one in found.inputs) == pytest.approx(found.score_all - found.score_none, rel=1e-9)
    for row, (one, other) in enumerate(zip(found.inputs, told["inputs"], strict=True)):
        for name in ("value", "share", "alone", "without"):
            assert getattr(one, name) == pytest.approx(other[name], rel=1e-4)  # sums of float32 logits
        assert ui.imageTable.item(row, 0).text() == one.name
        assert float(ui.imageTable.item(row, 1).text()) == pytest.approx(100 * one.share, abs=0.051)
        assert f"{number(one.without, 4)} without it" in ui.imageTable.item(row, 0).toolTip()
    ui.folderButton.directory = str(tmp_path / "export")
    ui.exportButton.click()
    idle(desktop)
    rows = list(csv.DictReader((tmp_path / "export/inputs.csv").open(encoding="utf-8")))
    assert [float(row["value"]) for row in rows] == [one.value for one in found.inputs]


def test_a_heat_map_of_two_images_is_checked_with_both(desktop: Desktop, heatmap: Any) -> None:
    desktop.ui.checkButton.click()
    idle(desktop)
    assert explanation_of(heatmap).check is not None, desktop.ui.statusLabel.text


def test_once_an_image_is_deleted_a_message_says_so(desktop: Desktop, scene: Any, heatmap: Any) -> None:
    scene.RemoveNode(scene.GetFirstNodeByName("T2"))
    assert not desktop.ui.imagesButton.enabled
    assert "was deleted" in desktop.ui.imagesReason.text


def test_of_a_single_image_nothing_is_divided(desktop: Desktop, a_volume: Any, a_model: Path) -> None:
    choose_model(desktop, a_model)
    assert desktop.ui.imagesSection.isHidden()
