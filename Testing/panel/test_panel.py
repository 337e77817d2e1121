"""From a volume to an explained segment in five clicks, with nothing but the panel; no slot raises and no dialog opens."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from harness.desktop import Desktop, load_volume
from PySide6.QtTest import QTest

from panel.steps import choose, choose_model, choose_segment, explain, idle, point_at, segment, segments
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.scene.comparison import LAYOUT, VIEWS, composite_of
from SegHiResCAMLib.scene.heatmap import explanation_of, heatmap_maximum
from SegHiResCAMLib.scene.markers import LIVE, marker_of
from SegHiResCAMLib.scene.per_slice import PER_SLICE
from SegHiResCAMLib.scene.save import save_scene
from SegHiResCAMLib.scene.segments import Segment, add_segmentation, segment_array
from SegHiResCAMLib.scene.volumes import add_volume, volume_array


@pytest.fixture
def parameters(desktop: Desktop) -> Any:
    return desktop.widget.panel.state.parameters


@pytest.fixture
def explained(desktop: Desktop, a_volume: Any, a_model: Path) -> Any:
    """A heat map of the tumour, made by clicks."""
    desktop.ui.volumeSelector.setCurrentNode(a_volume)
    choose_model(desktop, a_model)
    segment(desktop)
    choose_segment(desktop, "tumour")
    return explain(desktop)


def view(scene: Any) -> Any:
    return composite_of(scene, "Red")


@pytest.mark.engine
def test_five_clicks_lead_from_a_volume_to_an_explained_tumour(desktop: Desktop, scene: Any, parameters: Any) -> None:
    volume = load_volume(scene, resource("SampleData", "KidneyPhantom.nrrd"))
    ui = desktop.ui
    ui.volumeSelector.setCurrentNode(volume)
    choose(ui.modelSelector, "Kidney phantom, 3D")
    idle(desktop)
    assert ui.modelFacts.text == "Kidney phantom, 3D U-Net segments kidney, tumour, cyst. Licence: Apache-2.0."
    ui.segmentButton.click()
    idle(desktop)
    choose_segment(desktop, "tumour")
    ui.explainButton.click()
    idle(desktop)
    heatmap = parameters.heatmap
    assert heatmap.GetName() == ("tumour (whole segment), Seg-HiRes-Grad CAM, 12 mm grid, Kidney phantom, 3D U-Net")
    assert (view(scene).GetBackgroundVolumeID(), view(scene).GetForegroundVolumeID()) == (
        volume.GetID(),
        heatmap.GetID(),
    )
    assert "explained tumour" in ui.statusLabel.text


def test_what_is_missing_is_said_until_nothing_is(desktop: Desktop, scene: Any, a_model: Path, parameters: Any) -> None:
    ui = desktop.ui
    assert (ui.reasonLabel.text, ui.explainButton.enabled) == ("Load a volume and choose it above.", False)
    parameters.inputVolume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    assert "no voxels" in ui.reasonLabel.text
    scene.RemoveNode(parameters.inputVolume)
    parameters.inputVolume = add_volume(scene, np.zeros((24, 20, 18), np.float32), np.eye(4), "CT")
    assert ui.reasonLabel.text == "Choose a model above."
    choose_model(desktop, a_model)
    assert ui.reasonLabel.text == "Choose a segment in the list."
    assert ui.segmentButton.enabled
    choose_segment(desktop, "tumour")
    for pixel_set, reason in {"segment as drawn": "no drawn", "points": "point list", "box": "make a box"}.items():
        choose(ui.pixelSetSelector, pixel_set)
        assert reason in ui.reasonLabel.text
        assert not ui.explainButton.enabled
    choose(ui.pixelSetSelector, "whole segment")
    assert (ui.reasonLabel.text, ui.explainButton.enabled) == ("", True)


def test_a_volume_that_is_loaded_while_the_panel_is_open_is_chosen(
    desktop: Desktop, scene: Any, parameters: Any
) -> None:
    assert desktop.ui.reasonLabel.text == "Load a volume and choose it above."
    volume = add_volume(scene, np.zeros((4, 4, 4), np.float32), np.eye(4), "CT")
    desktop.wait(lambda: parameters.inputVolume is volume)
    assert desktop.ui.reasonLabel.text == "Choose a model above."


@pytest.mark.engine
def test_a_model_that_cannot_be_opened_is_a_message(
    desktop: Desktop, a_volume: Any, parameters: Any, tmp_path: Path
) -> None:
    choose_model(desktop, tmp_path)
    assert str(tmp_path) in desktop.ui.statusLabel.text
    assert not desktop.ui.segmentButton.enabled
    assert desktop.ui.reasonLabel.text == "The model is not open: see what is said below, or choose it again."


def test_segments_are_listed_with_colours_and_millilitres(
    desktop: Desktop, a_volume: Any, a_model: Path, parameters: Any
) -> None:
    choose_model(desktop, a_model)
    assert segments(desktop) == ["kidney", "tumour"]
    node = segment(desktop)
    voxels = int(segment_array(node, "tumour", a_volume).sum())
    table = desktop.ui.segmentTable
    assert table.item(1, 1).text() == f"{voxels * 1.5 * 1.5 * 2 / 1000:.1f}"
    color = table.item(1, 0).icon().pixmap(14, 14).toImage().pixelColor(7, 7)
    assert (color.red(), color.green(), color.blue()) == (46, 204, 113)


def test_the_users_own_segmentation_is_explained_as_it_is_drawn(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path, parameters: Any
) -> None:
    choose_model(desktop, a_model)
    labels = np.zeros((24, 20, 18), np.uint8)
    labels[4:12, 4:12, 4:12] = 1
    own = add_segmentation(scene, labels, np.diag([1.5, 1.5, 2, 1]), [Segment("Left mass", 1, (1, 0, 0))], a_volume)
    desktop.ui.segmentationSelector.setCurrentNode(own)
    assert parameters.pixelSet == "segment as drawn"
    choose_segment(desktop, "Left mass")
    assert desktop.ui.reasonLabel.text == "Choose what the model calls the segment Left mass."
    assert not desktop.ui.labelSelector.isHidden()
    choose(desktop.ui.labelSelector, "tumour")
    record = explanation_of(explain(desktop))
    assert (record.question.segment, record.voxel_count) == ("tumour", 8**3)


@pytest.mark.parametrize("pixel_set", ["points", "sphere around a point", "box", "whole image"])
def test_a_place_that_the_user_chooses_is_explained(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path, parameters: Any, pixel_set: str
) -> None:
    choose_model(desktop, a_model)
    choose_segment(desktop, "tumour")
    choose(desktop.ui.pixelSetSelector, pixel_set)
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Points")
    points.AddControlPointWorld([15.0, 15.0, 18.0])
    if pixel_set == "points":
        points.AddControlPointWorld([18.0, 15.0, 18.0])
    box = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    box.SetSize(6, 6, 6)
    box.SetCenter(15, 15, 18)
    desktop.ui.pointsSelector.setCurrentNode(points)
    desktop.ui.roiSelector.setCurrentNode(box)
    desktop.ui.radiusBox.setValue(3)
    count = explanation_of(explain(desktop)).voxel_count
    grid = np.stack(np.meshgrid(*map(np.arange, (24, 20, 18)), indexing="ij"), -1) * [1.5, 1.5, 2]
    away = grid - [15, 15, 18]
    expected = {
        "points": 2,
        "sphere around a point": int((np.linalg.norm(away, axis=-1) <= 3).sum()),
        "box": int((np.abs(away) <= 3).all(axis=-1).sum()),
        "whole image": 24 * 20 * 18,
    }
    assert count == expected[pixel_set]


def test_a_point_list_without_points_is_a_message(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path, parameters: Any
) -> None:
    choose_model(desktop, a_model)
    choose_segment(desktop, "tumour")
    choose(desktop.ui.pixelSetSelector, "points")
    parameters.points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Points")
    desktop.ui.explainButton.click()
    assert "Points has no points" in desktop.ui.statusLabel.text
    assert desktop.ui.explainButton.text == "E&xplain"


def test_the_island_at_the_crosshair_is_explained(
    desktop: Desktop, scene: Any, explained: Any, parameters: Any
) -> None:
    from scipy import ndimage

    tumour = segment_array(parameters.segmentation, "tumour", parameters.inputVolume)
    parts, _ = ndimage.label(tumour, np.ones((3, 3, 3)))
    index = np.argwhere(parts == 1)[0]
    scene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCrosshairRAS(*(index * [1.5, 1.5, 2.0]))
    choose(desktop.ui.pixelSetSelector, "island")
    assert explanation_of(explain(desktop)).voxel_count == int((parts == 1).sum())


def test_another_layer_is_explained_and_the_suggested_one_comes_first(
    desktop: Desktop, explained: Any, parameters: Any
) -> None:
    table = desktop.ui.layerTable
    names = [table.item(row, 0).text() for row in range(table.rowCount)]
    assert names[0] == explanation_of(explained).layer.name
    assert names[0] in desktop.ui.layerLabel.toolTip
    other = next(row for row, name in enumerate(names) if row and name != names[0])
    table.selectRow(other)
    assert explanation_of(explain(desktop)).layer.name == names[other]
    table.selectRow(0)
    assert parameters.layer == ""


def test_two_methods_are_compared_side_by_side_each_up_to_its_own_maximum(
    desktop: Desktop, scene: Any, explained: Any, parameters: Any
) -> None:
    choose(desktop.ui.compareSelector, "Seg-Grad CAM")
    explain(desktop)
    first, second = parameters.heatmap, parameters.secondHeatmap
    assert [explanation_of(node).question.method for node in (first, second)] == ["seg-hires-grad-cam", "seg-grad-cam"]
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == LAYOUT
    shown = [composite_of(scene, name).GetForegroundVolumeID() for name in VIEWS]
    assert shown == [first.GetID(), second.GetID()] * 2
    for node in (first, second):
        assert node.GetDisplayNode().GetWindowLevelMax() == pytest.approx(heatmap_maximum(node), rel=1e-4)
    choose(desktop.ui.normalisationSelector, "raw")
    for node in (first, second):
        assert node.GetDisplayNode().GetWindowLevelMax() == pytest.approx(
            max(map(heatmap_maximum, (first, second))), rel=1e-4
        )
    desktop.ui.compareCheckBox.click()
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() != LAYOUT


def test_two_maps_of_one_method_have_one_range(desktop: Desktop, explained: Any, parameters: Any) -> None:
    choose_segment(desktop, "kidney")
    second = explain(desktop)
    desktop.ui.secondSelector.setCurrentNode(explained)
    desktop.ui.compareCheckBox.click()
    upper = max(heatmap_maximum(node) for node in (explained, second))
    for node in (explained, second):
        assert node.GetDisplayNode().GetWindowLevelMax() == pytest.approx(upper, rel=1e-4)
    desktop.ui.compareCheckBox.click()
    assert second.GetDisplayNode().GetWindowLevelMax() == pytest.approx(heatmap_maximum(second), rel=1e-4)


def test_the_overlay_follows_every_control(desktop: Desktop, scene: Any, explained: Any, parameters: Any) -> None:
    ui, display = desktop.ui, explained.GetDisplayNode()
    maximum = heatmap_maximum(explained)
    ui.opacitySlider.setValue(0.25)
    assert view(scene).GetForegroundOpacity() == pytest.approx(0.25)
    ui.thresholdSlider.setValue(0.5)
    assert display.GetLowerThreshold() == pytest.approx(0.5 * maximum, rel=1e-4)
    choose(ui.colorSelector, "Viridis")
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeFileViridis.txt"
    ui.interpolateCheckBox.click()
    assert not display.GetInterpolate()
    ui.legendCheckBox.click()
    assert not slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(explained).GetVisibility()
    ui.signedCheckBox.click()
    lowest = explanation_of(explained).minimum
    assert display.GetWindowLevelMin() == pytest.approx(-max(maximum, -lowest), rel=1e-4)
    assert not ui.colorSelector.enabled
    ui.signedCheckBox.click()
    ui.renderingCheckBox.click()
    (rendering,) = [
        explained.GetNthDisplayNode(index)
        for index in range(explained.GetNumberOfDisplayNodes())
        if explained.GetNthDisplayNode(index).IsA("vtkMRMLVolumeRenderingDisplayNode")
    ]
    assert rendering.GetVisibility()
    ui.renderingCheckBox.click()
    assert not rendering.GetVisibility()


def test_the_3d_views_turn_to_the_map_when_it_is_switched_on(
    desktop: Desktop, explained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned: list[str] = []
    layouts = types.SimpleNamespace(resetThreeDViews=lambda: turned.append("to the patient"))
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: layouts)
    desktop.ui.renderingCheckBox.click()
    desktop.wait(lambda: turned)
    desktop.ui.opacitySlider.setValue(0.25)  # afterwards the views are the user's
    desktop.qt.APPLICATION.processEvents()
    assert turned == ["to the patient"]


def test_slices_can_each_have_their_own_range(desktop: Desktop, scene: Any, explained: Any, parameters: Any) -> None:
    choose(desktop.ui.normalisationSelector, "slice")
    idle(desktop)
    companion = explained.GetNodeReference(PER_SLICE)
    assert view(scene).GetForegroundVolumeID() == companion.GetID()
    highest = volume_array(companion)[0].max(axis=(0, 1))
    assert set(np.round(highest, 5)) <= {0.0, 1.0}
    assert companion not in [desktop.ui.heatmapSelector.currentNode()]
    choose(desktop.ui.normalisationSelector, "volume")
    assert view(scene).GetForegroundVolumeID() == explained.GetID()
    assert explained.GetNodeReference(PER_SLICE) is None


def test_in_the_raw_range_maps_of_one_scene_compare(desktop: Desktop, explained: Any, parameters: Any) -> None:
    first = explained
    choose(desktop.ui.methodSelector, "Seg-Grad CAM")
    second = explain(desktop)
    choose(desktop.ui.normalisationSelector, "raw")
    upper = max(heatmap_maximum(node) for node in (first, second))
    assert second.GetDisplayNode().GetWindowLevelMax() == pytest.approx(upper, rel=1e-4)


def test_switched_off_everything_is_as_it_was(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path, parameters: Any
) -> None:
    parameters.inputVolume = a_volume
    choose_model(desktop, a_model)
    segmentation = segment(desktop)
    choose_segment(desktop, "tumour")
    view(scene).SetBackgroundVolumeID(a_volume.GetID())
    fill = segmentation.GetDisplayNode().GetVisibility2DFill()
    explain(desktop)
    assert not segmentation.GetDisplayNode().GetVisibility2DFill()
    desktop.ui.overlayCheckBox.click()
    assert view(scene).GetForegroundVolumeID() is None
    assert view(scene).GetBackgroundVolumeID() == a_volume.GetID()
    assert segmentation.GetDisplayNode().GetVisibility2DFill() == fill


def test_a_reopened_scene_has_its_choices_and_its_overlay(
    desktop: Desktop, scene: Any, explained: Any, tmp_path: Path
) -> None:
    desktop.ui.opacitySlider.setValue(0.35)
    name, facts = explained.GetName(), explanation_of(explained)
    save_scene(scene, tmp_path / "scene.mrb")
    scene.Clear(0)
    assert desktop.ui.heatmapSelector.currentNode() is None
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    desktop.qt.APPLICATION.processEvents()
    again = desktop.ui.heatmapSelector.currentNode()
    assert (again.GetName(), explanation_of(again)) == (name, facts)
    assert view(scene).GetForegroundVolumeID() == again.GetID()
    assert view(scene).GetForegroundOpacity() == pytest.approx(0.35)
    desktop.ui.overlayCheckBox.click()
    assert view(scene).GetForegroundVolumeID() is None
    idle(desktop)


def test_the_key_explains_the_point_under_the_mouse_in_place_of_the_last(
    desktop: Desktop, scene: Any, explained: Any, parameters: Any
) -> None:
    key, end = desktop.widget.panel.live.ask, desktop.widget.panel.live.end
    assert not key.enabled
    desktop.ui.liveCheckBox.click()
    assert key.enabled
    press = desktop.widget.panel.explain.explain_under_mouse
    names = []
    for position in ([15.0, 15.0, 18.0], [18.0, 15.0, 18.0]):
        point_at(scene, position)
        press()
        idle(desktop)
        assert explanation_of(parameters.heatmap).region == "point"
        mark = marker_of(scene, LIVE)
        np.testing.assert_allclose(mark.GetNthControlPointPositionWorld(0), position, atol=1e-6)
        assert mark.GetNthControlPointLabel(0).endswith(" s")
        names.append(parameters.heatmap.GetID())
    desktop.widget.panel.exit()
    assert not key.enabled  # other modules have the key for themselves
    desktop.widget.panel.enter()
    assert key.enabled
    assert scene.GetNodeByID(names[0]) is None
    assert scene.GetNodeByID(explained.GetID()) is explained
    said = r"Live: tumour at R 18, A 15, S 18 mm, peak .* logit units, \d+\.\d s\."
    assert re.match(said, desktop.ui.statusLabel.text)
    assert (key.key.toString(), end.key.toString()) == ("E", "Esc")
    end.activated.emit()
    assert [parameters.live, key.enabled, end.enabled, desktop.ui.liveCheckBox.checked] == [False] * 4
    assert marker_of(scene, LIVE) is None


def test_the_key_explains_nothing_in_a_3d_view(desktop: Desktop, scene: Any, explained: Any, parameters: Any) -> None:
    desktop.ui.liveCheckBox.click()
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionInvalid()  # the mouse leaves the slice view
    crosshair.SetCursorPositionRAS([15.0, 15.0, 18.0])  # as a 3D view says where it is
    desktop.widget.panel.explain.explain_under_mouse()
    assert not desktop.widget.logic.explainer.is_busy
    assert desktop.ui.statusLabel.text == "Point at a place in a slice view."
    assert parameters.heatmap is explained


def test_the_key_works_in_a_field_for_numbers_too(
    desktop: Desktop, explained: Any, parameters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(desktop.widget.panel.live, "_explain", lambda: asked.append("E"))
    (number,) = desktop.ui.opacitySlider.findChildren(desktop.qt.QtWidgets.QDoubleSpinBox)
    for live in (False, True):
        parameters.live = live
        QTest.keyClick(number, desktop.qt.QtCore.Qt.Key.Key_E)
    assert asked == ["E"]
    QTest.keyClick(number, desktop.qt.QtCore.Qt.Key.Key_Up)
    assert parameters.opacity == pytest.approx(0.55)
    parameters.live = False


def test_what_comes_while_another_module_is_open_is_shown_when_the_user_is_back(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path
) -> None:
    choose_model(desktop, a_model)
    for button, chosen in ((desktop.ui.segmentButton, "segmentation"), (desktop.ui.explainButton, "heatmap")):
        button.click()
        desktop.widget.panel.exit()
        slices = [(one.GetSliceOffset()) for one in scene.GetNodesByClass("vtkMRMLSliceNode")]
        idle(desktop)
        assert [one.GetSliceOffset() for one in scene.GetNodesByClass("vtkMRMLSliceNode")] == slices
        desktop.widget.panel.enter()
        assert getattr(desktop.widget.panel.state.parameters, chosen) is not None
        if chosen == "segmentation":
            choose_segment(desktop, "tumour")
    assert view(scene).GetForegroundVolumeID() == desktop.widget.panel.state.parameters.heatmap.GetID()


@pytest.mark.parametrize(
    ("kind", "pixel_set", "several"),
    [
        ("pointsSelector", "points", True),
        ("pointsSelector", "sphere around a point", False),
        ("roiSelector", "box", False),
    ],
)
def test_who_makes_points_or_a_box_places_them_with_the_next_clicks(
    desktop: Desktop, scene: Any, parameters: Any, kind: str, pixel_set: str, several: bool
) -> None:
    choose(desktop.ui.pixelSetSelector, pixel_set)
    interaction = scene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode") or scene.AddNode(
        slicer.vtkMRMLInteractionNode()
    )
    made = getattr(desktop.ui, kind).addNode()  # as "Create new" in the list does
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert interaction.GetPlaceModePersistence() == several
    assert scene.GetFirstNodeByClass("vtkMRMLSelectionNode").GetActivePlaceNodeID() == made.GetID()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)


def test_who_has_chosen_no_folder_is_asked_for_one(
    desktop: Desktop, explained: Any, parameters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parameters.exportFolder == Path()
    assert desktop.ui.folderButton.text == "Choose a folder…"  # and not the one that 3D Slicer happens to run in
    answers = ["", str(tmp_path)]
    monkeypatch.setattr(
        desktop.qt.QtWidgets.QFileDialog, "getExistingDirectory", staticmethod(lambda *_: answers.pop(0))
    )
    desktop.ui.exportButton.click()  # and closes the dialog
    assert not desktop.widget.logic.explainer.is_busy
    desktop.ui.exportButton.click()
    idle(desktop)
    assert parameters.exportFolder == tmp_path
    assert desktop.ui.folderButton.text == str(tmp_path)
    assert (tmp_path / "heatmap.nrrd").is_file()


def test_an_export_writes_everything(desktop: Desktop, explained: Any, parameters: Any, tmp_path: Path) -> None:
    desktop.ui.folderButton.directory = str(tmp_path / "out")
    desktop.ui.exportButton.click()
    assert desktop.ui.exportButton.text == "Cancel"
    idle(desktop)
    assert desktop.ui.exportButton.text == "Expor&t everything"
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names >= {"heatmap.nrrd", "signed-map.nrrd", "segmentation.seg.nrrd", "overlay.png", "explanation.json"}
    assert all(name in desktop.ui.statusLabel.text for name in names)


def test_cancelled_means_nothing_is_added_and_the_button_is_back(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path
) -> None:
    choose_model(desktop, a_model)
    before = scene.GetNumberOfNodes()
    desktop.ui.segmentButton.click()
    assert desktop.ui.segmentButton.text == "Cancel"
    assert not desktop.ui.explainButton.enabled
    start = time.monotonic()
    desktop.ui.segmentButton.click()
    idle(desktop)
    assert time.monotonic() - start < 3
    assert scene.GetNumberOfNodes() == before
    assert (desktop.ui.segmentButton.text, desktop.ui.statusLabel.text) == ("&Segment", "Cancelled.")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_worker_is_a_message_and_the_next_click_works(
    desktop: Desktop, scene: Any, a_volume: Any, a_model: Path, parameters: Any
) -> None:
    choose_model(desktop, a_model)
    before = scene.GetNumberOfNodes()
    worker = desktop.widget.logic.explainer.client.worker_pid
    os.kill(worker, signal.SIGSTOP)
    desktop.ui.segmentButton.click()
    os.kill(worker, signal.SIGKILL)
    idle(desktop)
    assert "ended the computing process (signal 9)" in desktop.ui.statusLabel.text
    assert scene.GetNumberOfNodes() == before
    assert segment(desktop).IsA("vtkMRMLSegmentationNode")


@pytest.mark.engine
def test_one_button_leads_to_a_segmented_sample_patient(desktop: Desktop, scene: Any, parameters: Any) -> None:
    ui = desktop.ui
    assert not ui.sampleButton.isHidden()
    assert [ui.inputSection.collapsed, ui.segmentSection.collapsed, ui.explainSection.collapsed] == [False, True, True]
    ui.sampleButton.click()
    assert ui.sampleButton.isHidden()
    desktop.wait(lambda: ui.segmentButton.text == "Cancel", 600)
    desktop.wait(lambda: parameters.segmentation is not None, 600)
    idle(desktop)
    assert parameters.inputVolume.GetName() == "Sample patient"
    assert segments(desktop) == ["kidney", "tumour", "cyst"]
    assert [ui.inputSection.collapsed, ui.segmentSection.collapsed, ui.explainSection.collapsed] == [True, False, False]
    assert ui.inputSection.text.startswith("1. Input: Sample patient, Kidney ph")
    assert "Sample patient, Kidney phantom, 3D U-Net" in ui.inputSection.toolTip
    ui.inputSection.collapsed = False
    assert ui.inputSection.text == "1. Input"
    choose_segment(desktop, "tumour")
    assert ui.explainButton.enabled
    assert re.fullmatch(r"(encoder|bottleneck|decoder), [\d.]+ mm grid \(suggested\)", ui.layerLabel.text)
    assert explanation_of(explain(desktop)).layer.name in ui.layerLabel.toolTip
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2


def test_every_key_belongs_to_one_control(desktop: Desktop) -> None:
    texts = [
        widget.text
        for widget in vars(desktop.ui).values()
        if widget.className() in ("QLabel", "QPushButton", "QCheckBox")
    ]
    keys = [text[text.index("&") + 1].lower() for text in texts if "&" in text]
    assert len(keys) == len(set(keys)) > 15


def test_every_control_says_what_it_does(desktop: Desktop) -> None:
    kinds = (
        "QComboBox", "QPushButton", "QCheckBox", "QTableWidget", "QListWidget", "QTreeWidget", "QDoubleSpinBox", "QSpinBox",
        "QPlainTextEdit", "QProgressBar", "qMRMLNodeComboBox", "ctkSliderWidget", "ctkDirectoryButton",
        "ctkCollapsibleButton",
    )  # fmt: skip
    assert desktop.widget.panel.set_up.ui.setUpCollapsibleButton.toolTip
    widgets = [
        one
        for one in desktop.widget.panel.widget.findChildren(desktop.qt.QtWidgets.QWidget)
        if one.className() in kinds and one.objectName not in ("setUpProgress", "")
    ]
    assert len(widgets) > 50
    assert [one.objectName for one in widgets if not one.toolTip] == []
