"""Remove this and look again, by clicks: the numbers are those of the command, and the scene is as before afterwards."""

from __future__ import annotations

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
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.scene.heatmap import explanation_of
from SegHiResCAMLib.scene.removed_region import what_if_of
from SegHiResCAMLib.scene.segments import Segment, add_segmentation, segment_array
from SegHiResCAMLib.scene.volumes import add_volume, volume_array

pytestmark = pytest.mark.engine


@pytest.fixture
def parameters(desktop: Desktop) -> Any:
    return desktop.widget.panel.state.parameters


@pytest.fixture
def segmented(desktop: Desktop, a_volume: Any, a_model: Path) -> Any:
    desktop.ui.volumeSelector.setCurrentNode(a_volume)
    choose_model(desktop, a_model)
    return segment(desktop)


def remove(desktop: Desktop, region: str, fill: str = "mean") -> Any:
    choose(desktop.ui.removedSelector, region)
    choose(desktop.ui.fillSelector, fill)
    desktop.ui.removeButton.click()
    idle(desktop)
    return desktop.widget.panel.state.parameters.whatIf


def nodes(scene: Any) -> dict[str, str]:
    every = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    return {node.GetID(): node.GetName() for node in every}


def offered(desktop: Desktop) -> list[str]:
    combo = desktop.ui.removedSelector
    return [combo.itemText(index) for index in range(combo.count)]


def command(volume: Any, model: Path, folder: Path, *more: str) -> dict[str, Any]:
    array, affine = volume_array(volume)
    write_nrrd(folder / "ct.nrrd", array, affine, {})
    asked = ["what-if", str(folder / "ct.nrrd"), "-m", str(model), "-o", str(folder / "out"), *more]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    return json.loads((folder / "out/what-if.json").read_text(encoding="utf-8"))


def same(record: Any, told: dict[str, Any], *, region: str) -> None:
    """Scores are sums of float32 logits."""
    found = to_json(record)
    assert found["region"] == region
    for name in ("removed_ml", "fill", "windows", "windows_touched"):
        assert found[name] == told[name], name
    for one, other in zip(found["segments"], told["segments"], strict=True):
        assert {name: one[name] for name in ("segment", "before_ml", "after_ml", "dice")} == {
            name: other[name] for name in ("segment", "before_ml", "after_ml", "dice")
        }
        for name in ("score_before", "score_after"):
            assert one[name] == pytest.approx(other[name], rel=1e-4)


def test_a_segment_is_removed_as_by_the_command_and_the_scene_is_as_before_afterwards(
    desktop: Desktop, scene: Any, segmented: Any, a_volume: Any, a_model: Path, tmp_path: Path
) -> None:
    before, voxels = nodes(scene), volume_array(a_volume)[0].copy()
    kidney = segment_array(segmented, "kidney", a_volume)
    node = remove(desktop, "tumour", "smoothed")
    told = command(a_volume, a_model, tmp_path, "--segment", "tumour", "--region", "segment", "--fill", "blur")
    record = what_if_of(node)
    same(record, told, region="tumour")
    assert np.array_equal(volume_array(a_volume)[0], voxels)
    assert np.array_equal(segment_array(segmented, "kidney", a_volume), kidney)
    assert node.GetName() == "Tiny network without tumour"
    for one in record.segments:
        drawn = segment_array(node, one.segment, a_volume)
        assert drawn.sum() * 1.5 * 1.5 * 2 / 1000 == pytest.approx(one.after_ml)
    table = desktop.ui.changeTable
    assert [table.item(row, 0).text() for row in range(table.rowCount)] == ["kidney", "tumour"]
    assert "score" in table.item(0, 0).toolTip()
    assert "changes most" in desktop.ui.statusLabel.text
    desktop.ui.forgetButton.click()
    assert nodes(scene) == before
    assert desktop.ui.changeTable.isHidden()


def test_what_is_chosen_under_explain_what_is_removed(
    desktop: Desktop, scene: Any, segmented: Any, a_volume: Any, a_model: Path, parameters: Any, tmp_path: Path
) -> None:
    choose_segment(desktop, "kidney")
    choose(desktop.ui.pixelSetSelector, "sphere around a point")
    choose(desktop.ui.removedSelector, "what is chosen")
    assert not desktop.ui.removeButton.enabled
    assert "point list" in desktop.ui.whatIfReason.text
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Here")
    points.AddControlPoint([15.3, 12.2, 16.1])
    parameters.points = points
    desktop.ui.radiusBox.value = 6
    node = remove(desktop, "what is chosen")
    told = command(a_volume, a_model, tmp_path, "--segment", "kidney", "--region", "sphere:15.3,12.2,16.1,6")
    same(what_if_of(node), told, region="sphere")


def test_the_region_with_the_largest_share_comes_first(
    desktop: Desktop, scene: Any, segmented: Any, a_volume: Any, parameters: Any
) -> None:
    labels = np.zeros((24, 20, 18), np.uint8)
    labels[:4], labels[6:22, 2:18, 2:16] = 1, 2
    pair = [Segment("edge", 1, (1, 0, 0)), Segment("middle", 2, (0, 1, 0))]
    organs = add_segmentation(scene, labels, volume_array(a_volume)[1], pair, a_volume, name="Organs")
    choose_segment(desktop, "tumour")
    explain(desktop)
    assert offered(desktop) == ["kidney", "tumour", "what is chosen under Explain what"]
    desktop.ui.regionsSelector.setCurrentNode(organs)
    desktop.ui.regionsButton.click()
    idle(desktop)
    shares = {one.name: one.positive for one in explanation_of(parameters.heatmap).regions}
    most = max(("edge", "middle"), key=lambda name: shares[name])
    assert offered(desktop)[0] == f"{most} ({100 * shares[most]:.0f} % of the evidence)"
    assert desktop.ui.removedSelector.currentText == offered(desktop)[0]
    record = what_if_of(remove(desktop, most))
    value = 1 if most == "edge" else 2
    assert record.removed_ml == pytest.approx((labels == value).sum() * 1.5 * 1.5 * 2 / 1000)


def test_without_a_segmentation_the_models_segments_are_offered(
    desktop: Desktop, a_volume: Any, a_model: Path, tmp_path: Path
) -> None:
    desktop.ui.volumeSelector.setCurrentNode(a_volume)
    choose_model(desktop, a_model)
    node = remove(desktop, "kidney")
    same(what_if_of(node), command(a_volume, a_model, tmp_path, "--region", "segment"), region="kidney")


@pytest.fixture(scope="module")
def a_slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What if takes minutes."""
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "slow", overlap=0.85)


def test_one_that_is_cancelled_or_whose_volume_goes_leaves_nothing(
    desktop: Desktop, scene: Any, a_slow_model: Path
) -> None:
    volume = add_volume(scene, noise((32, 32, 32)), np.eye(4), "CT")
    desktop.ui.volumeSelector.setCurrentNode(volume)
    choose_model(desktop, a_slow_model)
    before = nodes(scene)
    desktop.ui.removeButton.click()
    desktop.wait(lambda: desktop.ui.progressBar.value > 0)
    assert desktop.ui.removeButton.text == "Cancel"
    pressed = time.monotonic()
    desktop.ui.removeButton.click()
    assert desktop.ui.statusLabel.text == "Cancelled."
    desktop.wait(lambda: not desktop.widget.logic.explainer.is_busy)
    assert time.monotonic() - pressed < 3  # two, and what a busy machine adds
    assert nodes(scene) == before
    desktop.ui.removeButton.click()
    scene.RemoveNode(volume)
    assert "'CT' was deleted while" in desktop.ui.statusLabel.text
    idle(desktop)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_no_slot_of_evidence_stands_still(desktop: Desktop, segmented: Any) -> None:
    desktop.calls.clear()
    remove(desktop, "tumour")
    assert standstill(desktop) < STANDSTILL_S


def test_a_script_removes_the_same(desktop: Desktop, segmented: Any, a_volume: Any, a_model: Path) -> None:
    by_click = what_if_of(remove(desktop, "tumour"))
    node = desktop.widget.logic.evidence.whatIf(
        a_volume, a_model, "tumour", segmentationNode=segmented, pixelSet="tumour"
    )
    assert what_if_of(node).segments == by_click.segments
