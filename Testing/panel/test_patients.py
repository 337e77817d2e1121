"""One patient after the other: what is loaded becomes the input, the model stays, and nothing of the last patient does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from a_record import a_record
from harness.desktop import Desktop
from harness.views import CONVENTIONAL
from tiny_bundle import noise

from panel.steps import choose, choose_model, choose_segment, explain, idle, segment
from SegHiResCAMLib.scene.comparison import LAYOUT
from SegHiResCAMLib.scene.heatmap import add_heatmap
from SegHiResCAMLib.scene.markers import SPHERE, marker_of
from SegHiResCAMLib.scene.volumes import add_volume


@pytest.fixture
def parameters(desktop: Desktop) -> Any:
    return desktop.widget.panel.state.parameters


def a_map(scene: Any, volume: Any) -> Any:
    return add_heatmap(scene, np.ones((4, 4, 4), np.float32), np.eye(4), a_record("CAM", "kidney", "Net"), volume)


def listed(selector: Any) -> list[str]:
    return [selector._list.itemText(index) for index in range(selector._list.count)]


def test_heat_maps_are_not_offered_as_images(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path, parameters: Any
) -> None:
    choose_model(desktop, a_model)
    choose_segment(desktop, "tumour")
    heatmap = explain(desktop)
    assert listed(desktop.ui.volumeSelector) == listed(desktop.ui.volumeSelector2) == ["None", "CT"]
    scene.RemoveNode(a_volume)
    desktop.qt.APPLICATION.processEvents()
    assert parameters.inputVolume is None
    assert heatmap.GetName() in listed(desktop.ui.heatmapSelector)
    assert desktop.ui.reasonLabel.text == "Load a volume and choose it above."


def test_a_volume_that_is_loaded_becomes_the_input_and_a_heat_map_does_not(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path, parameters: Any
) -> None:
    choose_model(desktop, a_model)
    segment(desktop)
    second = add_volume(scene, noise(), np.eye(4), "The next CT")
    desktop.wait(lambda: parameters.inputVolume is second)
    assert parameters.segmentation is None  # it is of the other patient
    a_map(scene, second)
    desktop.turn()
    desktop.turn()
    assert parameters.inputVolume is second


def test_the_model_stays_chosen_for_the_next_patient(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path
) -> None:
    choose_model(desktop, a_model)
    scene.Clear(0)
    assert desktop.widget.panel.state.parameters.modelPath == a_model
    choose(desktop.ui.modelSelector, "Choose a model")
    scene.Clear(0)
    assert desktop.widget.panel.state.parameters.modelPath == Path()


@pytest.mark.parametrize("button", ["segmentButton", "explainButton"])
def test_a_scene_that_is_closed_cancels_what_is_computed_and_leaves_no_message(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path, button: str
) -> None:
    choose_model(desktop, a_model)
    choose_segment(desktop, "tumour")
    getattr(desktop.ui, button).click()
    scene.Clear(0)
    assert not desktop.widget.panel.state.work.name
    idle(desktop)
    assert desktop.ui.statusLabel.text == ""
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_scene_that_is_closed_takes_the_comparison_from_the_views(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path
) -> None:
    choose_model(desktop, a_model)
    choose_segment(desktop, "tumour")
    choose(desktop.ui.compareSelector, "Seg-Grad CAM")
    explain(desktop)
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    assert layout.GetViewArrangement() == LAYOUT
    scene.Clear(0)
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == CONVENTIONAL


def test_a_volume_that_is_deleted_cancels_what_is_computed_of_it(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path
) -> None:
    choose_model(desktop, a_model)
    desktop.ui.segmentButton.click()
    scene.RemoveNode(a_volume)
    assert not desktop.widget.panel.state.work.name
    assert desktop.ui.statusLabel.text.startswith("'CT' was deleted while it was being processed")
    idle(desktop)
    assert desktop.ui.statusLabel.text.startswith("'CT' was deleted while it was being processed")


def test_a_sample_patient_that_was_closed_does_not_segment_the_next_one(
    desktop: Desktop, scene: Any, a_model: Path
) -> None:
    panel = desktop.widget.panel
    desktop.ui.sampleButton.click()
    assert panel.state.work.name == "open"
    scene.Clear(0)
    mine = add_volume(scene, noise(), np.eye(4), "My CT")
    choose_model(desktop, a_model)
    panel.state.parameters.inputVolume = mine
    for _ in range(5):
        desktop.turn()
    assert panel.state.model is not None
    assert not panel.state.work.name
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


@pytest.mark.parametrize("end", ["the scene is closed", "the module is reloaded"])
def test_points_that_change_afterwards_move_no_sphere(
    desktop: Desktop, scene: Any, capfd: pytest.CaptureFixture[str], end: str
) -> None:
    other = Desktop(desktop.module) if end == "the module is reloaded" else desktop
    parameters = other.widget.panel.state.parameters
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Points")
    points.AddControlPointWorld([1.0, 2.0, 3.0])
    parameters.points, parameters.radius, parameters.pixelSet = points, 2.0, "sphere around a point"
    assert marker_of(scene, SPHERE) is not None
    if other is desktop:
        desktop.widget.panel._scene_closes()  # as the scene says before its nodes go, one after the other
    else:
        other.close()
    points.SetNthControlPointPositionWorld(0, [4.0, 5.0, 6.0])
    assert "Traceback" not in capfd.readouterr().err
