"""The views do what the panel's choices say, and leave to the user what is the user's."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import slicer
from a_record import a_record
from harness.desktop import Desktop, load_volume
from harness.views import CONVENTIONAL, MainWindow
from tiny_bundle import noise

from panel.steps import idle
from SegHiResCAMLib.provenance import header_of
from SegHiResCAMLib.scene.comparison import LAYOUT, LEGEND_VIEWS, VIEWS, composite_of
from SegHiResCAMLib.scene.heatmap import SEGMENTATION, add_heatmap, explanation_of, peak_position
from SegHiResCAMLib.scene.markers import SPHERE, marker_of
from SegHiResCAMLib.scene.overlay import show_volume
from SegHiResCAMLib.scene.rendering import SURFACE_OPACITY
from SegHiResCAMLib.scene.segments import Segment, add_segmentation
from SegHiResCAMLib.scene.volumes import add_volume

AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])
AFFINE[:3, 3] = -40, 30, -600


@pytest.fixture
def parameters(desktop: Desktop) -> Any:
    return desktop.widget.panel.state.parameters


@pytest.fixture
def volume(scene: Any) -> Any:
    return add_volume(scene, noise(), AFFINE, "CT")


@pytest.fixture
def maps(scene: Any, volume: Any) -> list[Any]:
    """Two, of different segments and magnitude."""
    made = []
    for segment, factor in (("kidney", 1.0), ("tumour", 50.0)):
        record = a_record(segment, segment, units="logit units")
        made.append(add_heatmap(scene, np.abs(noise()) * np.float32(factor), AFFINE, record, volume))
    return made


def titles(window: MainWindow) -> list[list[str]]:
    return [[legend.title for legend in view.legends()] for view in window.views.values()]


def test_in_the_panel_every_map_has_its_own_legend(
    desktop: Desktop, window: MainWindow, parameters: Any, maps: list[Any]
) -> None:
    parameters.heatmap = maps[0]
    assert titles(window) == [["kidney\nlogits"]] * 3
    parameters.heatmap = maps[1]
    assert titles(window) == [["tumour\nlogits"]] * 3
    parameters.secondHeatmap = maps[0]
    parameters.compareViews = True
    desktop.qt.APPLICATION.processEvents()
    assert titles(window) == [["tumour\nlogits"], ["kidney\nlogits"], [], []]
    assert [view.name for view in window.views.values()][:2] == list(LEGEND_VIEWS)
    parameters.compareViews = False
    assert titles(window) == [["tumour\nlogits"]] * 3
    parameters.overlayVisible = False
    assert titles(window) == [[], [], []]


def test_side_by_side_the_views_show_the_peak_after_3d_slicer_has_laid_them_out(
    desktop: Desktop, window: MainWindow, scene: Any, parameters: Any, maps: list[Any]
) -> None:
    for name in VIEWS:  # as in a new session
        scene.RemoveNode(scene.GetSingletonNode(name, "vtkMRMLSliceNode"))
    parameters.heatmap, parameters.secondHeatmap = maps
    parameters.compareViews = True
    for view in window.views.values():
        view.logic.FitSliceToBackground()  # as 3D Slicer moves new views
    desktop.qt.APPLICATION.processEvents()
    peak = peak_position(maps[0]).position
    for name, orientation in VIEWS.items():
        axis = {"Axial": 2, "Coronal": 1}[orientation]
        place = scene.GetSingletonNode(name, "vtkMRMLSliceNode").GetSliceToRAS().GetElement(axis, 3)
        assert place == pytest.approx(peak[axis])


def test_who_leaves_the_comparison_by_the_menu_of_layouts_finds_its_box_unticked(
    desktop: Desktop, scene: Any, parameters: Any, maps: list[Any]
) -> None:
    parameters.heatmap, parameters.secondHeatmap = maps
    parameters.compareViews = True
    desktop.qt.APPLICATION.processEvents()
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(CONVENTIONAL)
    assert not parameters.compareViews
    layout.SetViewArrangement(LAYOUT)
    assert parameters.compareViews


def test_the_views_of_a_comparison_are_made_while_nothing_else_is_done(
    desktop: Desktop, scene: Any, parameters: Any, maps: list[Any]
) -> None:
    for name in VIEWS:
        scene.RemoveNode(scene.GetSingletonNode(name, "vtkMRMLSliceNode"))
    parameters.heatmap = maps[0]
    desktop.wait(lambda: all(scene.GetSingletonNode(name, "vtkMRMLSliceNode") for name in VIEWS))
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() != LAYOUT


def test_a_ct_is_shown_with_the_window_for_soft_tissue_and_an_mr_as_slicer_shows_it(
    desktop: Desktop, scene: Any, parameters: Any
) -> None:
    windows = []
    for lowest in (-1000, 0):
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Loaded")
        slicer.util.updateVolumeFromArray(node, np.linspace(lowest, 3000, 1000).reshape(10, 10, 10))
        node.CreateDefaultDisplayNodes()
        parameters.inputVolume = node
        display = node.GetDisplayNode()
        windows.append((display.GetWindow(), display.GetLevel(), bool(display.GetAutoWindowLevel())))
    assert windows[0] == (400, 40, False)
    assert windows[1][2]
    parameters.inputVolume.GetDisplayNode().SetAutoWindowLevel(False)


def test_in_3d_the_cloud_is_inside_the_surface_and_follows_a_slider_that_rests(
    desktop: Desktop, scene: Any, parameters: Any, volume: Any, maps: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros(noise().shape, np.uint8)
    labels[5:15, 5:15, 5:15] = 1
    segmentation = add_segmentation(scene, labels, AFFINE, [Segment("kidney", 1, (1, 0, 0))], volume)
    maps[0].SetNodeReferenceID(SEGMENTATION, segmentation.GetID())
    three_d = types.SimpleNamespace(renderEnabled=True, scheduleRender=lambda: None)
    layouts = types.SimpleNamespace(
        threeDViewCount=1,
        threeDWidget=lambda _index: types.SimpleNamespace(threeDView=lambda: three_d),
        resetThreeDViews=lambda: None,
    )
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: layouts)
    parameters.heatmap = maps[0]
    parameters.rendering = True
    surface = segmentation.GetDisplayNode()
    assert not segmentation.GetSegmentation().ContainsRepresentation("Closed surface"), "it is made in a thread"
    desktop.wait(lambda: segmentation.GetSegmentation().ContainsRepresentation("Closed surface"))
    assert (surface.GetVisibility3D(), surface.GetOpacity3D()) == (1, SURFACE_OPACITY)
    (cloud,) = [
        node
        for node in map(maps[0].GetNthDisplayNode, range(maps[0].GetNumberOfDisplayNodes()))
        if node.IsA("vtkMRMLVolumeRenderingDisplayNode")
    ]
    opacity = cloud.GetVolumePropertyNode().GetVolumeProperty().GetScalarOpacity()
    upper = maps[0].GetDisplayNode().GetWindowLevelMax()
    for fraction in (0.3, 0.4, 0.5):
        parameters.lowerFraction = fraction
        assert not three_d.renderEnabled
        assert opacity.GetValue(0.25 * upper) > 0
    desktop.wait(lambda: three_d.renderEnabled)
    assert opacity.GetValue(0.45 * upper) == 0
    parameters.rendering = False
    assert (surface.GetOpacity3D(), cloud.GetVisibility()) == (1, 0)
    assert not segmentation.GetSegmentation().ContainsRepresentation("Closed surface")


def test_an_exported_heat_map_that_is_opened_is_one_again_with_its_findings(
    desktop: Desktop, scene: Any, parameters: Any, volume: Any, tmp_path: Any
) -> None:
    from SegHiResCAMLib.nrrd import write_nrrd

    write_nrrd(tmp_path / "heatmap.nrrd", np.abs(noise()), AFFINE, header_of(a_record("CAM", "kidney", "net")))
    node = load_volume(scene, tmp_path / "heatmap.nrrd")
    desktop.wait(lambda: explanation_of(node) is not None)
    desktop.ui.heatmapSelector.setCurrentNode(node)
    idle(desktop)
    assert parameters.heatmap is node
    assert parameters.inputVolume is volume


def test_a_region_is_seen_while_it_is_chosen(desktop: Desktop, scene: Any, parameters: Any, volume: Any) -> None:
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Points")
    points.AddControlPointWorld([-20.0, 45.0, -580.0])
    box = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    parameters.points, parameters.roi, parameters.radius = points, box, 7.0
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    mode = crosshair.GetCrosshairMode()

    def seen() -> list[str]:
        shown = {
            "points": points.GetDisplayNode().GetVisibility(),
            "box": box.GetDisplayNode().GetVisibility(),
            "sphere": marker_of(scene, SPHERE) is not None,
            "crosshair": crosshair.GetCrosshairMode() != mode,
        }
        return [name for name, is_shown in shown.items() if is_shown]

    expected = {
        "whole segment": [],
        "points": ["points"],
        "sphere around a point": ["points", "sphere"],
        "box": ["box"],
        "island at the crosshair": ["crosshair"],
    }
    for pixel_set, shown in expected.items():
        parameters.pixelSet = pixel_set
        assert seen() == shown, pixel_set
    parameters.pixelSet = "sphere around a point"
    points.SetNthControlPointPositionWorld(0, [-10.0, 45.0, -580.0])
    bounds = np.zeros(6)
    marker_of(scene, SPHERE).GetRASBounds(bounds)
    assert bounds[:2] == pytest.approx([-17, -3], abs=0.05)  # a sphere of facets
    assert not box.GetDisplayNode().GetFillVisibility()
    desktop.widget.panel.exit()
    assert "sphere" not in seen()
    desktop.widget.panel.enter()


def test_in_the_segment_editor_segments_have_their_fills_and_the_map_is_back_with_the_module(
    desktop: Desktop, scene: Any, parameters: Any, volume: Any, maps: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.ones(noise().shape, np.uint8)
    display = add_segmentation(scene, labels, AFFINE, [Segment("kidney", 1, (1, 0, 0))], volume).GetDisplayNode()
    show_volume(scene, volume)
    parameters.heatmap = maps[0]
    red = composite_of(scene, "Red")
    monkeypatch.setattr(slicer.util, "mainWindow", lambda **_options: desktop.parent)
    for module, shown in (("Data", maps[0].GetID()), ("SegmentEditor", None)):
        monkeypatch.setattr(slicer.util, "selectedModule", lambda module=module: module)
        desktop.widget.panel.exit()
        desktop.qt.APPLICATION.processEvents()
        assert red.GetForegroundVolumeID() == shown
        assert bool(display.GetVisibility2DFill()) is (shown is None)
        desktop.widget.panel.enter()
        assert red.GetForegroundVolumeID() == maps[0].GetID()
        assert not display.GetVisibility2DFill()


def test_a_segmentation_that_comes_later_does_not_cover_the_map(
    desktop: Desktop, scene: Any, parameters: Any, volume: Any, maps: list[Any]
) -> None:
    parameters.heatmap = maps[0]
    labels = np.ones(noise().shape, np.uint8)
    later = add_segmentation(scene, labels, AFFINE, [Segment("kidney", 1, (1, 0, 0))], volume)
    parameters.segmentation = later  # as Segment does
    assert not later.GetDisplayNode().GetVisibility2DFill()
