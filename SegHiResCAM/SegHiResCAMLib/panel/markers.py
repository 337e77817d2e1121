"""What the chosen kind of region needs to be seen: points, sphere, box or crosshair, while it is chosen, and where Live explained last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer
import vtk
from slicer.util import VTKObservationMixin

from SegHiResCAMLib.panel.parameters import BOX, ISLAND, POINTS, SPHERE
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.scene import markers
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.places import control_points

if TYPE_CHECKING:
    from slicer import vtkMRMLCrosshairNode, vtkMRMLMarkupsFiducialNode, vtkMRMLMarkupsNode
    from vtk import vtkObject


class Markers(VTKObservationMixin):  # type: ignore[misc]
    """Follows the choices, and the points while they are dragged."""

    def __init__(self, state: State) -> None:
        VTKObservationMixin.__init__(self)
        self._state = state
        self._points: vtkMRMLMarkupsFiducialNode | None = None

    def refresh(self) -> None:
        """Show what the choices need, and nothing else."""
        parameters = self._state.parameters
        chosen = parameters.pixelSet
        self._follow(parameters.points if chosen == SPHERE else None)
        self._show_sphere()
        _show_nodes(parameters.points, visible=chosen in (POINTS, SPHERE))
        _show_nodes(parameters.roi, visible=chosen == BOX)
        if parameters.roi is not None:
            markers.outline_box(parameters.roi)
        crosshair = _crosshair()
        if crosshair is not None:
            (markers.show_crosshair if chosen == ISLAND else markers.restore_crosshair)(crosshair)
        if not parameters.live:
            markers.remove_marker(slicer.mrmlScene, markers.LIVE)

    def leave(self) -> None:
        """Show nothing of it: another module is open."""
        self._follow(None)
        for kind in (markers.SPHERE, markers.LIVE):
            markers.remove_marker(slicer.mrmlScene, kind)
        crosshair = _crosshair()
        if crosshair is not None:
            markers.restore_crosshair(crosshair)

    def _follow(self, points: vtkMRMLMarkupsFiducialNode | None) -> None:
        if points is not self._points:
            self.removeObservers()
            self._points = points
            if points is not None:
                self.addObserver(points, vtk.vtkCommand.ModifiedEvent, self._show_sphere)
                self.addObserver(points, points.PointModifiedEvent, self._show_sphere)

    def _show_sphere(self, _caller: vtkObject | None = None, _event: str | None = None) -> None:
        parameters = self._state.parameters
        if parameters is None:  # the scene is being closed or opened, and its points change on the way
            return
        try:
            centre = None if self._points is None else control_points(self._points)[0]
        except SceneError:  # no point is placed yet
            centre = None
        if centre is None:
            markers.remove_marker(slicer.mrmlScene, markers.SPHERE)
        else:
            markers.show_sphere(slicer.mrmlScene, centre, parameters.radius)


def _crosshair() -> vtkMRMLCrosshairNode | None:
    node: vtkMRMLCrosshairNode | None = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    return node


def _show_nodes(node: vtkMRMLMarkupsNode | None, *, visible: bool) -> None:
    """Show the user's own points or box only while they are what is explained."""
    if node is not None and node.GetDisplayNode() is not None:
        node.GetDisplayNode().SetVisibility(visible)
