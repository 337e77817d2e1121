"""What a user does while something runs: it ends in a message, the scene is unharmed, and files are there whole or not at all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from a_record import a_record
from harness.desktop import Desktop
from tiny_bundle import noise, write_tiny_bundle

from panel.steps import choose, choose_model, choose_segment, explain, idle, segment
from SegHiResCAMLib.scene.heatmap import add_heatmap, explanation_of
from SegHiResCAMLib.scene.segments import segment_array
from SegHiResCAMLib.scene.volumes import add_volume


@pytest.fixture
def parameters(desktop: Desktop) -> Any:
    return desktop.widget.panel.state.parameters


@pytest.fixture(scope="session")
def a_slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes minutes for `a_large_volume`, window by window."""
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "slow", overlap=0.93)


@pytest.fixture
def a_large_volume(scene: Any) -> Any:
    return add_volume(scene, noise((48, 48, 48)), np.eye(4), "CT")


@pytest.fixture
def a_large_heatmap(scene: Any, parameters: Any) -> Any:
    """Takes seconds to be exported, since nothing of it can be packed."""
    volume = add_volume(scene, np.zeros((256, 256, 64), np.int16), np.eye(4), "CT")
    array = np.random.default_rng(0).random((256, 256, 64), np.float32)
    node = parameters.heatmap = add_heatmap(scene, array, np.eye(4), a_record("CAM", "kidney", "Net"), volume)
    return node


def begin_to_explain(desktop: Desktop, model: Path) -> None:
    """Press Explain, and wait until the worker computes windows."""
    choose_model(desktop, model)
    choose_segment(desktop, "tumour")
    desktop.ui.explainButton.click()
    desktop.wait(lambda: desktop.ui.progressBar.value > 0)


def test_a_segmentation_that_is_edited_meanwhile_keeps_the_edit_and_gets_its_heat_map(
    desktop: Desktop, a_volume: Any, a_model: Path, parameters: Any
) -> None:
    choose_model(desktop, a_model)
    segmentation = segment(desktop)
    choose_segment(desktop, "tumour")
    choose(desktop.ui.pixelSetSelector, "segment as drawn")
    desktop.ui.explainButton.click()
    segmentation.GetSegmentation().RemoveSegment("kidney")
    tumour = segment_array(segmentation, "tumour", a_volume)
    idle(desktop)
    assert explanation_of(parameters.heatmap).question.segment == "tumour"
    assert np.array_equal(segment_array(segmentation, "tumour", a_volume), tumour)
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1


def test_both_methods_explain_what_was_chosen_when_explain_was_pressed(
    desktop: Desktop, a_volume: Any, a_model: Path, parameters: Any
) -> None:
    choose_model(desktop, a_model)
    choose_segment(desktop, "tumour")
    choose(desktop.ui.compareSelector, "Seg-Grad CAM")
    desktop.ui.explainButton.click()
    choose_segment(desktop, "kidney")
    choose(desktop.ui.compareSelector, "nothing")
    idle(desktop)
    told = [explanation_of(node) for node in (parameters.heatmap, parameters.secondHeatmap)]
    assert [(one.method, one.question.segment) for one in told] == [
        ("Seg-HiRes-Grad CAM", "tumour"),
        ("Seg-Grad CAM", "tumour"),
    ]


def test_a_volume_that_is_removed_meanwhile_gets_no_heat_map(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path
) -> None:
    choose_model(desktop, a_model)
    choose_segment(desktop, "tumour")
    desktop.ui.explainButton.click()
    scene.RemoveNode(a_volume)
    idle(desktop)
    assert "'CT' was deleted while" in desktop.ui.statusLabel.text
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


def test_explain_pressed_again_while_the_cancelled_one_still_computes_gives_one_heat_map(
    desktop: Desktop, scene: Any, a_large_volume: Any, a_model: Path, a_slow_model: Path
) -> None:
    begin_to_explain(desktop, a_slow_model)
    desktop.ui.explainButton.click()
    assert (desktop.ui.statusLabel.text, desktop.ui.explainButton.enabled) == ("Cancelled.", True)
    parameters = desktop.widget.panel.state.parameters
    parameters.modelPath = a_model
    desktop.wait(lambda: not desktop.widget.panel.state.work.name)
    assert explain(desktop) is not None
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2


def test_a_module_that_is_reloaded_meanwhile_leaves_no_process_and_no_node(
    desktop: Desktop, scene: Any, a_large_volume: Any, a_slow_model: Path
) -> None:
    other = Desktop(desktop.module)
    begin_to_explain(other, a_slow_model)
    client, before = other.widget.logic.explainer.client, scene.GetNumberOfNodes()
    other.close()
    deadline = time.monotonic() + 5
    while client.worker_pid and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.worker_pid is None
    assert scene.GetNumberOfNodes() == before


def test_an_export_that_is_cancelled_leaves_the_folder_as_it_was(
    desktop: Desktop, a_large_heatmap: Any, tmp_path: Path
) -> None:
    (tmp_path / "heatmap.nrrd").write_text("older")
    desktop.ui.folderButton.directory = str(tmp_path)
    desktop.ui.exportButton.click()
    desktop.wait(lambda: desktop.ui.progressBar.value > 0)
    assert desktop.ui.statusLabel.text == "Writing heatmap.nrrd"
    desktop.ui.exportButton.click()
    assert (desktop.ui.statusLabel.text, desktop.ui.exportButton.text) == ("Cancelled.", "Expor&t everything")
    pressed = time.monotonic()
    desktop.wait(lambda: len(list(tmp_path.iterdir())) == 1, seconds=5)
    assert time.monotonic() - pressed < 2
    assert (tmp_path / "heatmap.nrrd").read_text() == "older"


def test_a_module_that_is_reloaded_while_it_exports_leaves_nothing_half_written(
    desktop: Desktop, a_large_heatmap: Any, tmp_path: Path
) -> None:
    other = Desktop(desktop.module)
    other.ui.folderButton.directory = str(tmp_path)
    other.ui.exportButton.click()
    other.wait(lambda: other.ui.progressBar.value > 0)
    other.close()
    desktop.wait(lambda: not list(tmp_path.iterdir()), seconds=5)


def test_a_scene_that_is_closed_while_it_is_exported_is_written_but_for_the_picture(
    desktop: Desktop, scene: Any, a_large_heatmap: Any, tmp_path: Path
) -> None:
    desktop.ui.folderButton.directory = str(tmp_path)
    desktop.ui.exportButton.click()
    desktop.wait(lambda: desktop.ui.progressBar.value > 0)
    scene.Clear(0)
    idle(desktop)
    assert "'CT' was deleted while it was being exported" in desktop.ui.statusLabel.text
    assert sorted(file.name for file in tmp_path.iterdir()) == ["explanation.json", "heatmap.nrrd", "signed-map.nrrd"]


def test_a_heat_map_that_is_deleted_while_it_is_exported_is_written_and_no_message_outlives_the_scene(
    desktop: Desktop, scene: Any, a_large_heatmap: Any, tmp_path: Path
) -> None:
    name = a_large_heatmap.GetName()
    desktop.ui.folderButton.directory = str(tmp_path)
    desktop.ui.exportButton.click()
    desktop.wait(lambda: desktop.ui.progressBar.value > 0)
    scene.RemoveNode(a_large_heatmap)
    assert desktop.widget.panel.state.work.name == "export"
    idle(desktop)
    said = desktop.ui.statusLabel.text
    assert said.startswith(f"Written into {tmp_path}")
    assert f"'{name}' was deleted while it was being exported" in said
    assert {"explanation.json", "heatmap.nrrd"} <= {file.name for file in tmp_path.iterdir()}
    scene.Clear(0)
    assert desktop.ui.statusLabel.text == ""


def test_a_folder_that_cannot_be_written_to_is_a_message(
    desktop: Desktop, a_large_heatmap: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    desktop.ui.folderButton.directory = str(tmp_path / "file" / "out")
    desktop.ui.exportButton.click()
    idle(desktop)
    assert f"{tmp_path / 'file' / 'out'} cannot be written to" in desktop.ui.statusLabel.text
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
