"""Regions are seen as outlines in the slice views, on MRML's own displayable managers, and leave nothing in a saved scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from harness.slice_views import can_draw
from harness.views import main_window

from SegHiResCAMLib.scene.markers import (
    LIVE,
    SPHERE,
    mark_point,
    marker_of,
    outline_box,
    remove_marker,
    restore_crosshair,
    show_crosshair,
    show_sphere,
)
from SegHiResCAMLib.scene.overlay import jump_slices, show_volume
from SegHiResCAMLib.scene.save import save_scene
from SegHiResCAMLib.scene.volumes import add_volume

CENTRE = np.array([5.0, -8.0, 12.0])


@pytest.mark.skipif(not can_draw(), reason="needs OpenGL")
def test_a_sphere_is_a_circle_of_its_radius_around_its_centre(application: Any, scene: Any) -> None:
    with main_window(application) as window:
        affine = np.eye(4)
        affine[:3, 3] = CENTRE - 40
        show_volume(scene, add_volume(scene, np.zeros((80, 80, 80), np.float32), affine, "CT"))
        red = window.views["Red"]
        red.logic.FitSliceToBackground()
        jump_slices(scene, CENTRE)
        before = red.pixels()
        show_sphere(scene, CENTRE, 10.0)
        changed = np.argwhere((red.pixels() != before).any(axis=-1))
        assert len(changed) > 100
        xy = np.column_stack(
            [changed[:, 1], before.shape[0] - 1 - changed[:, 0], np.zeros(len(changed)), np.ones(len(changed))]
        )
        places = (slicer.util.arrayFromVTKMatrix(red.logic.GetSliceNode().GetXYToRAS()) @ xy.T)[:3].T
        distances = np.linalg.norm(places - CENTRE, axis=1)
        np.testing.assert_allclose(distances, 10.0, atol=1.0)  # two lines of pixels, of a quarter of a millimetre each
        remove_marker(scene, SPHERE)
        np.testing.assert_array_equal(red.pixels(), before)


def test_marks_are_not_saved_and_not_listed(scene: Any, tmp_path: Any) -> None:
    from slicer import vtkSlicerMarkupsLogic

    vtkSlicerMarkupsLogic().SetMRMLScene(scene)
    show_sphere(scene, CENTRE, 10.0)
    mark_point(scene, CENTRE, "1.5 s")
    assert marker_of(scene, SPHERE).GetHideFromEditors()
    assert marker_of(scene, LIVE).GetNthControlPointLabel(0) == "1.5 s"
    save_scene(scene, tmp_path / "scene.mrb")
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    assert marker_of(scene, SPHERE) is None
    assert marker_of(scene, LIVE) is None


def test_there_is_one_mark_and_then_none(scene: Any) -> None:
    before = scene.GetNumberOfNodes()
    for radius in (3.0, 5.0):
        show_sphere(scene, CENTRE, radius)
    bounds = np.zeros(6)
    marker_of(scene, SPHERE).GetRASBounds(bounds)
    assert bounds[5] - bounds[4] == pytest.approx(10)
    remove_marker(scene, SPHERE)
    remove_marker(scene, SPHERE)
    assert scene.GetNumberOfNodes() == before


def test_a_box_is_drawn_by_its_edges(scene: Any) -> None:
    box = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode") or slicer.vtkMRMLMarkupsROINode()
    if box.GetScene() is None:
        scene.AddNode(box)
    outline_box(box)
    assert not box.GetDisplayNode().GetFillVisibility()
    assert box.GetDisplayNode().GetOutlineVisibility()


@pytest.mark.parametrize("mode", ["NoCrosshair", "ShowHashmarks"])
def test_the_crosshair_is_shown_and_then_as_it_was(mode: str) -> None:
    crosshair = slicer.vtkMRMLCrosshairNode()
    before = getattr(crosshair, mode)
    crosshair.SetCrosshairMode(before)
    for _ in range(2):
        show_crosshair(crosshair)
        assert crosshair.GetCrosshairMode() == (crosshair.ShowSmallBasic if mode == "NoCrosshair" else before)
    restore_crosshair(crosshair)
    restore_crosshair(crosshair)
    assert crosshair.GetCrosshairMode() == before
