"""Points and boxes that the user places mean the same place in the volume, whatever transforms lie between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.places import box_of, component_at, control_points, crosshair_position, points_at, sphere_at
from SegHiResCAMLib.scene.volumes import add_volume

TURN = np.array([[0.0, -1, 0, 10], [1, 0, 0, -20], [0, 0, 1, 30], [0, 0, 0, 1]])


@pytest.fixture
def volume(scene: Any) -> Any:
    """Under a transform that turns it by 90 degrees about S and moves it."""
    node = add_volume(scene, np.zeros((4, 4, 4), np.float32), np.eye(4), "CT")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(TURN))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node


@pytest.fixture
def _markups(scene: Any) -> Iterator[None]:
    logic = slicer.vtkSlicerMarkupsLogic()
    logic.SetMRMLScene(scene)
    yield
    scene.Clear(0)
    logic.SetMRMLScene(None)


def test_points_lie_in_the_volumes_own_frame(volume: Any) -> None:
    own = np.array([1.0, 2, 3])
    world = (TURN @ [*own, 1])[:3]
    np.testing.assert_allclose(component_at(volume, world).point, own)
    np.testing.assert_allclose(points_at(volume, [world, world]).points, [own, own])
    sphere = sphere_at(volume, world, 7.5)
    np.testing.assert_allclose(sphere.centre, own)
    assert sphere.radius == 7.5


@pytest.mark.usefixtures("_markups")
def test_a_box_keeps_its_corners(scene: Any, volume: Any) -> None:
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    c, s = np.cos(0.4), np.sin(0.4)
    placed = np.array([[c, -s, 0, 3], [s, c, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1]])
    roi.SetSize(2, 4, 6)
    roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(placed))
    box = box_of(volume, roi)
    signs = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, -1).T
    ours = np.array(box.centre) + (signs * box.size) @ np.array(box.axes)
    world = (placed @ np.c_[signs * (2, 4, 6), np.ones(8)].T)[:3].T
    own = (np.linalg.inv(TURN) @ np.c_[world, np.ones(8)].T)[:3].T
    np.testing.assert_allclose(ours, own, atol=1e-9)


@pytest.mark.usefixtures("_markups")
def test_a_point_list_without_points_is_a_message(scene: Any) -> None:
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Points")
    with pytest.raises(SceneError, match="Points has no points"):
        control_points(points)
    points.AddControlPointWorld([1, 2, 3])
    np.testing.assert_array_equal(control_points(points), [[1, 2, 3]])


def test_without_views_there_is_no_crosshair_and_a_message_says_so(scene: Any) -> None:
    if scene.GetFirstNodeByClass("vtkMRMLCrosshairNode") is None:
        with pytest.raises(SceneError, match="no crosshair"):
            crosshair_position(scene)
    node = slicer.vtkMRMLCrosshairNode()
    node.SetCrosshairName("default")
    node = scene.AddNode(node)
    node.SetCrosshairRAS(1, 2, 3)
    np.testing.assert_array_equal(crosshair_position(scene), [1, 2, 3])
    scene.RemoveNode(node)
