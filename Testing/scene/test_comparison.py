"""Two maps side by side, and everything as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer
from a_record import a_record
from harness.views import CONVENTIONAL, main_window

from SegHiResCAMLib.scene.comparison import LAYOUT, VIEWS, composite_of, hide_comparison, offer_layout, show_comparison
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.headless import HeadlessApplication
from SegHiResCAMLib.scene.heatmap import add_heatmap
from SegHiResCAMLib.scene.volumes import add_volume

ONES = np.ones((4, 4, 4), np.float32)


@pytest.fixture
def window(application: HeadlessApplication) -> Iterator[None]:
    with main_window(application):
        yield


def maps(scene: Any) -> tuple[Any, list[Any]]:
    volume = add_volume(scene, ONES, np.eye(4), "CT")
    return volume, [add_heatmap(scene, ONES, np.eye(4), a_record(name), volume) for name in ("A", "B")]


@pytest.mark.usefixtures("window")
def test_each_column_shows_one_map_in_linked_views(scene: Any) -> None:
    volume, (left, right) = maps(scene)
    show_comparison(scene, volume, [left, right], 0.4)
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    assert layout.GetViewArrangement() == LAYOUT
    shown = [composite_of(scene, name) for name in VIEWS]
    assert [view.GetForegroundVolumeID() for view in shown] == [left.GetID(), right.GetID()] * 2
    assert all(view.GetBackgroundVolumeID() == volume.GetID() for view in shown)
    assert all(view.GetLinkedControl() and view.GetForegroundOpacity() == 0.4 for view in shown)
    show_comparison(scene, volume, [right, left], 0.7)
    assert [view.GetForegroundVolumeID() for view in shown] == [right.GetID(), left.GetID()] * 2
    hide_comparison(scene)
    assert layout.GetViewArrangement() == CONVENTIONAL
    hide_comparison(scene)
    assert layout.GetViewArrangement() == CONVENTIONAL


@pytest.mark.usefixtures("window")
def test_views_look_at_the_patient_wherever_that_is(scene: Any) -> None:
    affine = np.diag([-1.0, -1.0, 3.0, 1.0])
    affine[:3, 3] = 150, 620, -800  # 300 x 300 x 120 mm
    volume = add_volume(scene, np.zeros((300, 300, 40), np.int16), affine, "CT")
    array = np.zeros((300, 300, 40), np.float32)
    array[100, 200, 30] = 1
    peak = affine @ [100, 200, 30, 1]
    show_comparison(scene, volume, [add_heatmap(scene, array, affine, a_record(name), volume) for name in "AB"], 0.5)
    for name, orientation in VIEWS.items():
        view = scene.GetSingletonNode(name, "vtkMRMLSliceNode")
        columns, rows, _ = view.GetDimensions()
        to_ras = slicer.util.arrayFromVTKMatrix(view.GetXYToRAS())
        corners = np.array([to_ras @ [x, y, 0, 1] for x in (0, columns) for y in (0, rows)])
        through = {"Axial": 2, "Coronal": 1}[orientation]
        np.testing.assert_allclose(corners[:, through], peak[through])
        lower, upper = corners.min(axis=0), corners.max(axis=0)
        for axis, (start, end) in enumerate([(-149, 150), (321, 620), (-800, -683)]):
            if axis != through:
                assert lower[axis] <= start
                assert upper[axis] >= end


@pytest.mark.usefixtures("window")
def test_views_that_the_user_has_moved_stay_there(scene: Any) -> None:
    volume, both = maps(scene)
    for _ in range(2):  # and once more when the views are laid out
        show_comparison(scene, volume, both, 0.5)
    view = scene.GetSingletonNode(next(iter(VIEWS)), "vtkMRMLSliceNode")
    view.JumpSliceByOffsetting(0, 0, 3)
    show_comparison(scene, volume, both, 0.7)
    assert view.GetSliceOffset() == 3


@pytest.mark.usefixtures("window")
def test_who_has_chosen_another_layout_meanwhile_keeps_it(scene: Any) -> None:
    volume, both = maps(scene)
    show_comparison(scene, volume, both, 0.5)
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(6)
    hide_comparison(scene)
    assert layout.GetViewArrangement() == 6


def test_a_session_that_was_left_side_by_side_starts_with_the_usual_views(scene: Any) -> None:
    if scene.GetFirstNodeByClass("vtkMRMLLayoutNode") is not None:
        scene.RemoveNode(scene.GetFirstNodeByClass("vtkMRMLLayoutNode"))
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    layout = logic.GetLayoutNode()
    layout.SetViewArrangement(LAYOUT)  # as 3D Slicer restores it from its settings
    assert layout.GetCurrentLayoutDescription() == ""
    offer_layout(scene)
    assert layout.GetViewArrangement() == CONVENTIONAL
    logic.SetMRMLScene(None)


@pytest.mark.usefixtures("window")
def test_a_scene_that_was_saved_side_by_side_opens_so(scene: Any) -> None:
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    offer_layout(scene)
    assert layout.GetViewArrangement() == CONVENTIONAL
    layout.SetViewArrangement(LAYOUT)  # as a scene says that is opened
    assert all(composite_of(scene, name) is not None for name in VIEWS)


def test_without_views_a_message_says_so(scene: Any) -> None:
    if scene.GetFirstNodeByClass("vtkMRMLLayoutNode") is not None:
        scene.RemoveNode(scene.GetFirstNodeByClass("vtkMRMLLayoutNode"))
    offer_layout(scene)
    volume, both = maps(scene)
    with pytest.raises(SceneError, match="no views to arrange"):
        show_comparison(scene, volume, both, 0.5)
