"""Where the user points: crosshair, points and boxes of the scene, as pixel sets in a volume's own RAS millimetres.

The forms are those of the engine's `pixel_sets`: {"kind": "sphere", "centre": [...], "radius": 10}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import vtk

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.volumes import Array, from_world

PixelSet = Mapping[str, Any]


def component_at(volume: Any, ras: Array) -> PixelSet:
    """The island of a segment at a point of the scene, (3,) RAS millimetres."""
    return {"kind": "component", "point": from_world(volume, ras).tolist()}


def points_at(volume: Any, points: list[Array]) -> PixelSet:
    """Single points of the scene."""
    return {"kind": "points", "points": [from_world(volume, point).tolist() for point in points]}


def sphere_at(volume: Any, centre: Array, radius: float) -> PixelSet:
    """A ball around a point of the scene; radius in mm."""
    return {"kind": "sphere", "centre": from_world(volume, centre).tolist(), "radius": radius}


def box_of(volume: Any, roi: Any) -> PixelSet:
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
        sentence = f"The box {roi.GetName()} is empty. Give it a size."
        raise SceneError(sentence)
    axes = np.array(halves) / lengths[:, None]
    return {"kind": "box", "centre": middle.tolist(), "size": (2 * lengths).tolist(), "axes": axes.tolist()}


def control_points(markups: Any) -> list[Array]:
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
        sentence = f"{markups.GetName()} has no points. Place one in a slice view."
        raise SceneError(sentence)
    return points


def start_placing(markups: Any) -> None:
    """Let the next click in a view place a point of markups just made, which 3D Slicer has made the active ones by itself."""
    interaction = markups.GetScene().GetFirstNodeByClass("vtkMRMLInteractionNode")
    if interaction is not None:
        interaction.SwitchToSinglePlaceMode()


def crosshair_position(scene: Any) -> Array:
    """Where the crosshair stands, RAS millimetres of the scene."""
    return np.array(_crosshair(scene).GetCrosshairRAS())


def mouse_position(scene: Any) -> Array | None:
    """Where the mouse points in a slice view; None while it is over none."""
    position = [0.0, 0.0, 0.0]
    return np.array(position) if _crosshair(scene).GetCursorPositionRAS(position) else None


def _crosshair(scene: Any) -> Any:
    node = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if node is None:
        sentence = "There is no crosshair without slice views. Open 3D Slicer's main window."
        raise SceneError(sentence)
    return node
