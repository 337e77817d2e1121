"""The group Advanced: what the segment is set against, further layers, options of methods; what is chosen is what is computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness.desktop import Desktop
from harness.pythonqt import QtCore
from rounding import close
from tiny_bundle import noise

from panel.steps import choose, choose_model, choose_segment, explain, idle
from SegHiResCAMLib.engine.answer.explain import explain as explain_here
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.images.volume import volume_from_array
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.records.question import Question, options_of
from SegHiResCAMLib.scene.heatmap import explanation_of
from SegHiResCAMLib.scene.save import save_scene
from SegHiResCAMLib.scene.volumes import volume_array

FURTHER = "model.0"


@pytest.fixture
def tumour(desktop: Desktop, a_volume: Any, a_model: Path) -> None:
    """Volume, model and segment are chosen."""
    desktop.ui.volumeSelector.setCurrentNode(a_volume)
    choose_model(desktop, a_model)
    choose_segment(desktop, "tumour")
    idle(desktop)


def lines(combo: Any) -> list[str]:
    return [combo.itemText(index) for index in range(combo.count)]


def layers(desktop: Desktop) -> list[str]:
    box = desktop.ui.refineList
    return [box.item(row).text() for row in range(box.count)]


def tick(desktop: Desktop, layer: str, state: Any = QtCore.Qt.CheckState.Checked) -> None:
    desktop.ui.refineList.item(layers(desktop).index(layer)).setCheckState(state)


def rows(desktop: Desktop) -> dict[str, Any]:
    """The fields of the method's options, by their labels."""
    form = desktop.ui.advancedSection.layout()
    titles = [row for row in range(form.rowCount()) if form.itemAt(row, form.ItemRole.SpanningRole) is not None]
    found = {}
    for row in range(titles[0] if titles else form.rowCount(), form.rowCount()):
        label, field = (form.itemAt(row, role) for role in (form.ItemRole.LabelRole, form.ItemRole.FieldRole))
        if label is not None:
            found[label.widget().text] = field.widget()
    return found


def computed_here(volume: Any, model: Path, **choices: Any) -> np.ndarray:
    """The engine's own answer, without panel or worker."""
    array, affine = volume_array(volume)
    request = ExplainRequest.of(volume_from_array(array, affine), open_model(model), "tumour", **choices)
    return explain_here(request).signed_map.numpy()[0]


def test_it_is_closed_at_first_and_nothing_is_set(desktop: Desktop, tumour: None) -> None:
    ui = desktop.ui
    assert (ui.advancedSection.collapsed, ui.advancedSection.text) == (True, "Advanced")
    assert lines(ui.contrastSelector) == ["nothing", "background", "kidney"]
    assert (ui.contrastWeightBox.isHidden(), ui.refineSelector.isHidden()) == (True, True)
    assert rows(desktop) == {}


@pytest.mark.parametrize("other", ["kidney", "background"])
def test_a_segment_is_set_against_another(
    desktop: Desktop, a_volume: Any, a_model: Path, tumour: None, other: str
) -> None:
    ui = desktop.ui
    choose(ui.contrastSelector, other)
    assert not ui.contrastWeightBox.isHidden()
    assert ui.advancedSection.text == f"Advanced (contrast with {other})"
    ui.contrastWeightBox.setValue(0.5)
    heatmap = explain(desktop)
    assert explanation_of(heatmap).question.contrast_weight == 0.5
    assert f"explained tumour (contrast with {other}, weight 0.5)" in ui.statusLabel.text
    assert heatmap.GetName().startswith(
        f"tumour, contrast with {other}, weight 0.5 (whole segment), Seg-HiRes-Grad CAM, "
    )
    expected = computed_here(a_volume, a_model, contrast=other, contrast_weight=0.5)
    assert close(volume_array(heatmap)[0], expected, dtype=torch.float32)


def test_no_segment_is_set_against_itself(desktop: Desktop, tumour: None) -> None:
    choose(desktop.ui.contrastSelector, "kidney")
    choose_segment(desktop, "kidney")
    assert lines(desktop.ui.contrastSelector) == ["nothing", "background", "tumour"]
    assert desktop.ui.contrastSelector.currentText == "nothing"
    assert explanation_of(explain(desktop)).question.contrast is None
    choose_segment(desktop, "tumour")
    assert desktop.ui.contrastSelector.currentText == "kidney"


def test_why_a_method_and_a_contrast_do_not_go_together_is_said(desktop: Desktop, tumour: None) -> None:
    ui = desktop.ui
    choose(ui.contrastSelector, "kidney")
    choose(ui.compareSelector, "Seg-Eigen CAM")
    assert "Seg-Eigen CAM does not depend on a class" in ui.reasonLabel.text
    assert not ui.explainButton.enabled
    choose(ui.contrastSelector, "nothing")
    assert (ui.reasonLabel.text, ui.explainButton.enabled) == ("", True)


@pytest.mark.parametrize("how", ["product", "mean"])
def test_the_maps_of_further_layers_are_combined(
    desktop: Desktop, a_volume: Any, a_model: Path, tumour: None, how: str
) -> None:
    ui = desktop.ui
    suggested = ui.layerTable.item(0, 0).text()
    assert suggested not in layers(desktop)
    tick(desktop, FURTHER)
    choose(ui.refineSelector, how)
    assert not ui.refineSelector.isHidden()
    assert ui.advancedSection.text == "Advanced (1 more layer)"
    heatmap = explain(desktop)
    assert explanation_of(heatmap).question.refine_with == (FURTHER,)
    assert "Seg-HiRes-Grad CAM refined, " in heatmap.GetName()
    expected = computed_here(a_volume, a_model, refine_with=(FURTHER,), refine=how)
    assert close(volume_array(heatmap)[0], expected, dtype=torch.float32)
    assert 0 < expected.max() <= 1
    tick(desktop, FURTHER, QtCore.Qt.CheckState.Unchecked)
    assert ui.refineSelector.isHidden()


def test_the_space_bar_ticks_a_layer(desktop: Desktop, tumour: None) -> None:
    from PySide6.QtTest import QTest

    box = desktop.ui.refineList
    box.setCurrentRow(layers(desktop).index(FURTHER))
    QTest.keyClick(box, QtCore.Qt.Key.Key_Space)
    assert list(desktop.widget.panel.state.parameters.refineWith) == [FURTHER]


def test_a_method_that_cannot_refine_says_why(desktop: Desktop, tumour: None) -> None:
    choose(desktop.ui.methodSelector, "Seg-CAM")
    tick(desktop, FURTHER)
    desktop.ui.explainButton.click()
    idle(desktop)
    assert "Seg-CAM reads the weights of a 1x1 convolution" in desktop.ui.statusLabel.text


def test_the_options_of_a_method_are_a_form(desktop: Desktop, a_volume: Any, a_model: Path, tumour: None) -> None:
    ui = desktop.ui
    choose(ui.methodSelector, "Seg-XRes CAM")
    fields = rows(desktop)
    assert list(fields) == ["Pool:", "Mode:"]
    assert fields["Pool:"].toolTip == "positions along every axis of a block; 2 if nothing else is set"
    assert (fields["Pool:"].value, lines(fields["Mode:"])) == (2, ["mean", "max"])
    fields["Pool:"].setValue(3)
    fields["Mode:"].setCurrentIndex(1)
    assert rows(desktop)["Pool:"] is fields["Pool:"]  # whoever types in a field keeps it
    assert ui.advancedSection.text == "Advanced (options of the method)"
    heatmap = explain(desktop)
    assert explanation_of(heatmap).question.method_options == {"mode": "max", "pool": 3}
    expected = computed_here(a_volume, a_model, method="seg-xres-cam", method_options={"pool": 3, "mode": "max"})
    assert close(volume_array(heatmap)[0], expected, dtype=torch.float32)
    fields["Pool:"].setValue(2)
    fields["Mode:"].setCurrentIndex(0)
    assert desktop.widget.panel.state.parameters.methodOptions == ""
    choose(ui.methodSelector, "Seg-HiRes-Grad CAM")
    assert rows(desktop) == {}


def test_every_method_with_options_has_its_form(desktop: Desktop, tumour: None) -> None:
    known = desktop.widget.panel.state.methods
    for method in known:
        desktop.widget.panel.state.parameters.method = method.identifier
        assert [label.rstrip(":").lower() for label in rows(desktop)] == [one.name for one in method.options]
        assert all(one.summary for one in method.options)
    assert sum(bool(method.options) for method in known) > 2


def test_each_of_two_methods_has_its_own_options(desktop: Desktop, tumour: None) -> None:
    choose(desktop.ui.methodSelector, "Seg-XRes CAM")
    choose(desktop.ui.compareSelector, "Seg-Score CAM")
    fields = rows(desktop)
    assert list(fields) == ["Pool:", "Mode:", "Blur:"]
    fields["Blur:"].setValue(0.25)
    fields["Pool:"].setValue(4)
    explain(desktop)
    parameters = desktop.widget.panel.state.parameters
    maps = (parameters.heatmap, parameters.secondHeatmap)
    assert [explanation_of(node).question.method_options for node in maps] == [{"pool": 4}, {"blur": 0.25}]


def test_the_choices_are_saved_with_the_scene(
    desktop: Desktop, scene: Any, a_model: Path, tumour: None, tmp_path: Path
) -> None:
    ui = desktop.ui
    choose(ui.methodSelector, "Seg-XRes CAM")
    choose(ui.contrastSelector, "kidney")
    ui.contrastWeightBox.setValue(0.7)
    tick(desktop, FURTHER)
    choose(ui.refineSelector, "mean")
    rows(desktop)["Pool:"].setValue(5)
    save_scene(scene, tmp_path / "scene.mrb")
    scene.Clear(0)
    idle(desktop)
    assert ui.advancedSection.text == "Advanced"
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    idle(desktop)
    assert ui.contrastSelector.currentText == "kidney"
    assert ui.contrastWeightBox.value == pytest.approx(0.7)
    assert ui.refineSelector.currentText == "mean"
    assert ui.refineList.item(layers(desktop).index(FURTHER)).checkState() == QtCore.Qt.CheckState.Checked
    assert rows(desktop)["Pool:"].value == 5


def field(desktop: Desktop, label: str) -> Any:
    """The widget of a row that was made of the record alone."""
    form = desktop.ui.advancedSection.layout()
    for row in range(form.rowCount()):
        title = form.itemAt(row, form.ItemRole.LabelRole)
        if title is not None and title.widget().text == label:
            return form.itemAt(row, form.ItemRole.FieldRole).widget()
    raise AssertionError(label)


def test_options_that_no_widget_was_drawn_for_have_one_made_of_the_record(desktop: Desktop, tumour: None) -> None:
    precision, repeatable = field(desktop, "Precision:"), field(desktop, "Deterministic:")
    assert lines(precision) == ["full", "mixed"]
    assert precision.toolTip == options_of(Question)["precision"].metadata["summary"]
    repeatable.setChecked(True)
    precision.setCurrentIndex(1)
    question = explanation_of(explain(desktop)).question
    assert (question.precision, question.deterministic) == ("mixed", True)
    desktop.widget.panel.state.parameters.precision = "full"
    assert precision.currentText == "full"


def test_the_panel_says_of_an_option_what_the_command_says(desktop: Desktop, tumour: None) -> None:
    said = {
        "refine": desktop.ui.refineSelector,
        "device": desktop.ui.deviceSelector,
        "contrast_weight": desktop.ui.contrastWeightBox,
    }
    for name, widget in said.items():
        assert widget.toolTip == options_of(Question)[name].metadata["summary"]
    assert (desktop.ui.contrastWeightBox.minimum, desktop.ui.contrastWeightBox.maximum) == (0, 10)


def test_broken_options_of_a_scene_are_none(desktop: Desktop, tumour: None) -> None:
    choose(desktop.ui.methodSelector, "Seg-XRes CAM")
    for broken in ("{", "[]", '{"seg-xres-cam": 3}', '{"seg-xres-cam": {"pool": "x", "mode": 7, "size": 1}}'):
        desktop.widget.panel.state.parameters.methodOptions = broken
        assert rows(desktop)["Pool:"].value == 2
    desktop.widget.panel.state.parameters.methodOptions = '{"seg-xres-cam": 3}'
    rows(desktop)["Pool:"].setValue(4)
    assert desktop.widget.panel.state.parameters.methodOptions == '{"seg-xres-cam": {"pool": 4}}'


@pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in ("seg-cam", "seg-legrad")]
)  # which do not fit this layer
def test_a_contrast_changes_the_map_of_every_method_that_looks_at_the_class(a_model: Path, method: str) -> None:
    request = ExplainRequest.of(volume_from_array(noise(), np.eye(4)), open_model(a_model), "tumour", method=method)
    alone, against = (
        explain_here(one).signed_map
        for one in (request, replace(request, question=replace(request.question, contrast="kidney")))
    )
    assert torch.equal(alone, against) is METHODS[method].ignores_class
