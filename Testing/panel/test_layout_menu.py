"""Side by side from 3D Slicer's own menu of layouts, in a main window made as `qSlicerMainWindow` makes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer
from a_record import a_record
from harness.desktop import Desktop
from harness.views import CONVENTIONAL, MainWindow

from SegHiResCAMLib.scene.comparison import LAYOUT, VIEWS, composite_of
from SegHiResCAMLib.scene.heatmap import add_heatmap
from SegHiResCAMLib.scene.volumes import add_volume

ONES = np.ones((4, 4, 4), np.float32)


@pytest.fixture
def menu(desktop: Desktop, scene: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The menu of layouts; as in 3D Slicer, the window applies the number that an entry holds."""
    widgets = desktop.qt.QtWidgets
    main = widgets.QMainWindow()
    menu = widgets.QMenu(main)
    menu.setObjectName("LayoutMenu")
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    menu.connect("triggered(QAction*)", lambda action: layout.SetViewArrangement(action.data()))
    monkeypatch.setattr(slicer.util, "mainWindow", lambda **_options: main)
    yield menu
    layout.SetViewArrangement(CONVENTIONAL)
    main.deleteLater()


def offer() -> None:
    from SegHiResCAMLib.panel.layout_menu import offer_side_by_side  # needs the desktop's qt

    offer_side_by_side(slicer.mrmlScene)


def entry(menu: Any) -> Any:
    offer()
    (action,) = menu.actions()
    return action


def two_maps(scene: Any) -> list[Any]:
    volume = add_volume(scene, ONES, np.eye(4), "CT")
    return [add_heatmap(scene, ONES, np.eye(4), a_record(name), volume) for name in ("kidney", "tumour")]


def test_the_menu_shows_two_maps_side_by_side_and_the_box_leads_back(
    desktop: Desktop, window: MainWindow, scene: Any, menu: Any
) -> None:
    both = two_maps(scene)
    parameters = desktop.widget.panel.state.parameters
    parameters.heatmap, parameters.secondHeatmap = both
    action = entry(menu)
    assert action.text == "Heat maps side by side"
    assert not action.icon.isNull()
    action.trigger()
    desktop.qt.APPLICATION.processEvents()
    assert parameters.compareViews
    shown = [composite_of(scene, name).GetForegroundVolumeID() for name in VIEWS]
    assert shown == [node.GetID() for node in both] * 2
    parameters.compareViews = False
    desktop.qt.APPLICATION.processEvents()
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == CONVENTIONAL


def test_with_one_map_a_message_says_what_to_choose(
    desktop: Desktop, window: MainWindow, scene: Any, menu: Any
) -> None:
    volume = add_volume(scene, ONES, np.eye(4), "CT")
    desktop.widget.panel.state.parameters.heatmap = add_heatmap(scene, ONES, np.eye(4), a_record("kidney"), volume)
    entry(menu).trigger()
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == LAYOUT
    assert desktop.ui.statusLabel.text == "These views show two heat maps. Choose the second one under Compare with."


def test_a_comparison_that_ends_because_its_map_was_deleted_asks_for_nothing(
    desktop: Desktop, window: MainWindow, scene: Any, menu: Any
) -> None:
    both = two_maps(scene)
    parameters = desktop.widget.panel.state.parameters
    parameters.heatmap, parameters.secondHeatmap = both
    parameters.compareViews = True
    desktop.qt.APPLICATION.processEvents()
    scene.RemoveNode(both[1])
    desktop.qt.APPLICATION.processEvents()
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == CONVENTIONAL
    assert "Compare with" not in desktop.ui.statusLabel.text


def test_the_entry_still_works_after_the_scene_was_closed(
    desktop: Desktop, window: MainWindow, scene: Any, menu: Any
) -> None:
    action = entry(menu)
    scene.Clear(0)
    action.trigger()
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    assert layout.GetViewArrangement() == LAYOUT
    assert all(name in layout.GetCurrentLayoutDescription() for name in VIEWS)


def test_without_a_main_window_nothing_is_added(menu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicer.util, "mainWindow", lambda **_options: None)
    offer()
    assert menu.actions() == []
