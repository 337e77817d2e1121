"""Where the user points: crosshair, points and boxes of the scene, as regions in a volume's own RAS millimetres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import vtk

from SegHiResCAMLib.records.regions import Box, Component, Point, Points, Sphere
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.volumes import Array, from_world

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLCrosshairNode,
        vtkMRMLMarkupsFiducialNode,
        vtkMRMLMarkupsNode,
        vtkMRMLMarkupsROINode,
        vtkMRMLScalarVolumeNode,
        vtkMRMLScene,
    )


def component_at(volume: vtkMRMLScalarVolumeNode, ras: Array) -> Component:
    """The island of a segment at a point of the scene, (3,) RAS millimetres."""
    return Component(_point(from_world(volume, ras)))


def points_at(volume: vtkMRMLScalarVolumeNode, points: list[Array]) -> Points:
    """Single points of the scene."""
    return Points(tuple(_point(from_world(volume, point)) for point in points))


def sphere_at(volume: vtkMRMLScalarVolumeNode, centre: Array, radius: float) -> Sphere:
    """A ball around a point of the scene; radius in mm."""
    return Sphere(_point(from_world(volume, centre)), radius)


def box_of(volume: vtkMRMLScalarVolumeNode, roi: vtkMRMLMarkupsROINode) -> Box:
    """The box of a vtkMRMLMarkupsROINode."""
    to_world = vtk.vtkMatrix4x4()
    to_world.DeepCopy(roi.GetObjectToWorldMatrix())
    centre = np.array([to_world.GetElement(row, 3) for row in range(3)])
    middle = from_world(volume, centre)
    halves = []
    for axis, length in enumerate(roi.GetSize()):
        way = np.array([to_world.GetElement(row, axis) for row in range(3)])
        halves.append(from_world(volume, centre + way * length / 2) - middle)
    lengths = np.linalg.norm(halves, axis=1)
    if not lengths.all():
        message = f"The box {roi.GetName()} is empty. Give it a size."
        raise SceneError(message)
    first, second, third = np.array(halves) / lengths[:, None]
    return Box(_point(middle), _point(2 * lengths), (_point(first), _point(second), _point(third)))


def _point(values: Array) -> Point:
    x, y, z = values.tolist()
    return x, y, z


def control_points(markups: vtkMRMLMarkupsFiducialNode) -> list[Array]:
    """The defined points of a vtkMRMLMarkupsNode, RAS millimetres of the scene.

    Raises:
        SceneError: There is none.
    """
    points = []
    for index in range(markups.GetNumberOfControlPoints()):
        if markups.GetNthControlPointPositionStatus(index) == markups.PositionDefined:
            position = [0.0, 0.0, 0.0]
            markups.GetNthControlPointPositionWorld(index, position)
            points.append(np.array(position))
    if not points:
        message = f"{markups.GetName()} has no points. Place one in a slice view."
        raise SceneError(message)
    return points


def start_placing(markups: vtkMRMLMarkupsNode, *, several: bool = False) -> None:
    """Let the next click in a view, or all until Esc, place points of markups just made, which 3D Slicer has made the active ones by itself."""
    interaction = markups.GetScene().GetFirstNodeByClass("vtkMRMLInteractionNode")
    if interaction is not None and several:
        interaction.SwitchToPersistentPlaceMode()
    elif interaction is not None:
        interaction.SwitchToSinglePlaceMode()


def crosshair_position(scene: vtkMRMLScene) -> Array:
    """Where the crosshair stands, RAS millimetres of the scene."""
    return np.array(_crosshair(scene).GetCrosshairRAS())


def mouse_position(scene: vtkMRMLScene) -> Array | None:
    """Where the mouse points in a slice view; None while it is over none, as in a 3D view, where nobody sees which voxel it would be."""
    crosshair, position = _crosshair(scene), [0.0, 0.0, 0.0]
    if crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0]) is None:
        return None
    return np.array(position) if crosshair.GetCursorPositionRAS(position) else None


def _crosshair(scene: vtkMRMLScene) -> vtkMRMLCrosshairNode:
    node: vtkMRMLCrosshairNode | None = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if node is None:
        message = "There is no crosshair without slice views. Open 3D Slicer's main window."
        raise SceneError(message)
    return node
