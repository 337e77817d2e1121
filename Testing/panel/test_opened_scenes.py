"""A scene that the command or a script has made opens as if the module had made it, and the module continues from there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from a_record import a_record
from harness.desktop import Desktop
from harness.slice_views import can_draw
from harness.views import MainWindow
from tiny_bundle import noise

from panel.steps import explain, idle
from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.scene.comparison import composite_of
from SegHiResCAMLib.scene.heatmap import add_heatmap, explanation_of
from SegHiResCAMLib.scene.overlay import show_overlay, show_volume
from SegHiResCAMLib.scene.volumes import add_volume

pytestmark = pytest.mark.engine
AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])


@pytest.fixture(scope="module")
def commands_scene(tmp_path_factory: pytest.TempPathFactory, a_model: Path) -> Path:
    """What `seghirescam explain` leaves of a CT, made in a process of its own."""
    folder = tmp_path_factory.mktemp("command")
    write_nrrd(folder / "abdomen.nrrd", noise(), AFFINE, {})
    command = ["explain", str(folder / "abdomen.nrrd"), "--model", str(a_model), "--segment", "tumour", "-o"]
    subprocess.run([sys.executable, "-m", "SegHiResCAMLib", *command, str(folder / "out")], check=True)
    return folder / "out/scene.mrb"


@pytest.fixture
def opened(desktop: Desktop, scene: Any, commands_scene: Path) -> Any:
    """It, opened while another module is shown; the heat map."""
    desktop.widget.panel.exit()
    desktop.parent.__dict__["isEntered"] = False
    assert scene.ReadFromMRB(str(commands_scene))
    assert desktop.widget.logic.getParameterNode().heatmap is None
    desktop.parent.__dict__["isEntered"] = True
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    (heatmap,) = (node for node in volumes if explanation_of(node))
    yield heatmap
    desktop.widget.panel.enter()


def pixels(window: MainWindow) -> np.ndarray:
    return np.stack([view.pixels() for view in window.views.values()])


@pytest.mark.skipif(not can_draw(), reason="needs OpenGL")
def test_not_one_pixel_changes_when_the_module_is_entered(desktop: Desktop, window: MainWindow, opened: Any) -> None:
    before = pixels(window)
    assert len(np.unique(before)) > 20  # there is a picture
    desktop.widget.panel.enter()
    idle(desktop)
    assert desktop.widget.panel.state.parameters.heatmap is opened
    np.testing.assert_array_equal(pixels(window), before)
    desktop.ui.overlayCheckBox.click()
    assert (pixels(window) != before).any()
    desktop.ui.overlayCheckBox.click()
    np.testing.assert_array_equal(pixels(window), before)


@pytest.mark.skipif(not can_draw(), reason="needs OpenGL")
def test_not_one_pixel_changes_in_an_application_that_has_shown_nothing_before(commands_scene: Path) -> None:
    script = Path(__file__).with_name("fresh_application.py")
    command = [sys.executable, str(script), str(commands_scene)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    said = json.loads(ended.stdout.splitlines()[-1])
    assert (said["opened"], said["changed"], said["errors"]) == (True, 0, [])
    assert said["shown"] > 1000
    assert "tumour" in said["heatmap"]


def test_a_scene_that_is_opened_while_the_module_is_shown_keeps_its_overlay(
    desktop: Desktop, scene: Any, commands_scene: Path
) -> None:
    assert scene.ReadFromMRB(str(commands_scene))
    idle(desktop)
    red, parameters = composite_of(scene, "Red"), desktop.widget.panel.state.parameters
    assert red.GetForegroundVolumeID() == parameters.heatmap.GetID()
    assert parameters.inputVolume.GetName() == "abdomen"
    assert scene.ReadFromMRB(str(commands_scene), True)  # another one, in its place
    idle(desktop)
    assert red.GetForegroundVolumeID() == desktop.widget.panel.state.parameters.heatmap.GetID()


def test_the_module_continues_from_there(desktop: Desktop, scene: Any, opened: Any, a_model: Path) -> None:
    panel = desktop.widget.panel
    from SegHiResCAMLib.panel.models import remember_model

    remember_model(str(a_model))
    panel.enter()
    parameters = panel.state.parameters
    desktop.wait(lambda: panel.state.model is not None)
    idle(desktop)
    assert (parameters.heatmap, parameters.inputVolume.GetName()) == (opened, "abdomen")
    assert parameters.modelPath == a_model
    assert panel.state.segment_name == "tumour"
    assert desktop.ui.explainButton.enabled
    again = explain(desktop)
    assert explanation_of(again).maximum == pytest.approx(explanation_of(opened).maximum, rel=1e-4)


def test_switched_off_the_volume_is_left(desktop: Desktop, scene: Any, opened: Any) -> None:
    desktop.widget.panel.enter()
    desktop.ui.overlayCheckBox.click()
    red = composite_of(scene, "Red")
    assert (red.GetBackgroundVolumeID(), red.GetForegroundVolumeID()) == (
        scene.GetFirstNodeByName("abdomen").GetID(),
        None,
    )


@pytest.mark.usefixtures("opened")
def test_the_bars_of_the_views_have_their_letters_and_colours(scene: Any) -> None:
    bars = [scene.GetSingletonNode(name, "vtkMRMLSliceNode") for name in ("Red", "Yellow", "Green")]
    assert [bar.GetLayoutLabel() for bar in bars] == ["R", "Y", "G"]
    for bar, name in zip(bars, ("Red", "Yellow", "Green"), strict=True):
        expected = getattr(slicer.vtkMRMLSliceNode, f"Get{name}Color")()
        assert bar.GetLayoutColor() == pytest.approx(expected, abs=1e-3)


def test_choices_of_the_look_are_taken_over(desktop: Desktop, scene: Any) -> None:
    from SegHiResCAMLib.scene.appearance import Appearance, apply_appearance

    panel = desktop.widget.panel
    panel.exit()
    volume = add_volume(scene, noise(), AFFINE, "CT")
    show_volume(scene, volume)
    heatmap = add_heatmap(scene, np.abs(noise()), AFFINE, a_record("CAM", "kidney"), volume)
    upper = heatmap.GetDisplayNode().GetWindowLevelMax()
    for look in (
        Appearance(upper, "Viridis", 0.32, interpolate=False, legend=False),
        Appearance(upper, lower_fraction=0.25, signed=True),
    ):
        scene.RemoveNode(panel.state.logic.getParameterNode().parameterNode)
        apply_appearance(heatmap, look)
        show_overlay(scene, volume, heatmap, opacity=0.7)
        panel.enter()
        parameters = panel.state.parameters
        assert parameters.heatmap is heatmap
        assert parameters.opacity == 0.7
        assert parameters.lowerFraction == pytest.approx(look.lower_fraction, abs=1 / 255)
        assert (parameters.signed, parameters.interpolate, parameters.legend) == (
            look.signed,
            look.interpolate,
            look.legend,
        )
        assert parameters.colorMap == look.colors or look.signed
        panel.exit()
    panel.enter()
