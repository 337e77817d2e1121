"""Which models the panel offers, and what it asks for when a model looks at several images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.desktop import Desktop
from tiny_bundle import noise, write_two_channel_bundle

from panel.steps import choose, choose_model, choose_segment, explain, idle, offered, segment
from SegHiResCAMLib.scene.heatmap import explanation_of
from SegHiResCAMLib.scene.volumes import add_volume


@pytest.fixture(scope="module")
def two_channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_two_channel_bundle(tmp_path_factory.mktemp("models") / "two")


def test_the_catalogues_models_come_first_and_the_ones_used_before_follow(
    desktop: Desktop, a_volume: Any, a_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "catalogue.json"
    there = {"name": "mine", "title": "My kidneys", "path": str(a_model), "description": "Ours"}
    gone = {"name": "gone", "title": "Gone", "path": "nowhere"}
    own.write_text(json.dumps({"models": [there, gone]}))
    monkeypatch.setenv("SEGHIRESCAM_CATALOGUE", str(own))
    desktop.widget.panel.exit()
    desktop.widget.panel.enter()
    assert offered(desktop)[:4] == [
        "Choose a model", "Kidney phantom, 2D U-Net", "Kidney phantom, 3D U-Net", "My kidneys",
    ]  # fmt: skip
    assert "Gone" not in offered(desktop)
    choose(desktop.ui.modelSelector, "My kidneys")
    assert desktop.ui.modelSelector.toolTip == "Ours"
    desktop.wait(lambda: not desktop.widget.panel.state.work.name)
    monkeypatch.delenv("SEGHIRESCAM_CATALOGUE")


def test_a_model_used_before_is_offered_again(desktop: Desktop, a_volume: Any, a_model: Path) -> None:
    choose_model(desktop, a_model)
    choose(desktop.ui.modelSelector, "Choose a model")
    assert "Tiny network" in offered(desktop)


def test_a_broken_catalogue_of_the_user_does_not_break_the_panel(
    desktop: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catalogue.json").write_text("{")
    monkeypatch.setenv("SEGHIRESCAM_CATALOGUE", str(tmp_path / "catalogue.json"))
    desktop.widget.panel.exit()
    desktop.widget.panel.enter()
    assert "Kidney phantom, 3D U-Net" in offered(desktop)


def test_further_images_are_asked_for_and_must_lie_on_one_grid(
    desktop: Desktop, scene: Any, a_volume: Any, two_channels: Path
) -> None:
    ui = desktop.ui
    choose_model(desktop, two_channels)
    assert (ui.volumeSelector2.isHidden(), ui.volumeSelector3.isHidden()) == (False, True)
    assert ui.reasonLabel.text == "This model needs 2 images of the patient: choose them above."
    elsewhere = add_volume(scene, noise(seed=1), np.eye(4), "Elsewhere")
    ui.volumeSelector2.setCurrentNode(elsewhere)
    ui.segmentButton.click()
    assert "'Elsewhere' lies on another grid than 'CT'" in ui.statusLabel.text
    second = add_volume(scene, noise(seed=1), np.diag([1.5, 1.5, 2.0, 1.0]), "Second")
    # All images were there, so it is another patient's.
    desktop.wait(lambda: desktop.widget.panel.state.volumes == [second, None])
    ui.volumeSelector.setCurrentNode(a_volume)
    ui.volumeSelector2.setCurrentNode(second)
    segment(desktop)
    choose_segment(desktop, "tumour")
    assert explanation_of(explain(desktop)).question.segment == "tumour"


def test_a_model_whose_opening_was_cancelled_opens_when_it_is_chosen_again(
    desktop: Desktop, a_volume: Any, a_model: Path
) -> None:
    choose_model(desktop, a_model)
    choose(desktop.ui.modelSelector, "Choose a model")
    idle(desktop)
    desktop.widget.panel.state.parameters.modelPath = a_model
    desktop.wait(lambda: desktop.widget.panel.state.work.name == "open")
    desktop.widget.panel.state.work.cancel()
    idle(desktop)
    assert desktop.ui.reasonLabel.text == "The model is not open: see what is said below, or choose it again."
    desktop.ui.modelSelector.activated.emit(desktop.ui.modelSelector.currentIndex)
    idle(desktop)
    assert desktop.widget.panel.state.model.name
