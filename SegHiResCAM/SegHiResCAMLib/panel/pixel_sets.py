"""Which voxels are explained: the widgets that a choice needs, and the pixel set that it means."""

from __future__ import annotations

import slicer

from SegHiResCAMLib.panel.parameters import BOX, DRAWN, IMAGE, ISLAND, POINTS, SPHERE
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import show_row
from SegHiResCAMLib.records.regions import Region, WholeImage
from SegHiResCAMLib.scene.places import box_of, component_at, control_points, crosshair_position, points_at, sphere_at


def refresh_pixel_set(state: State) -> None:
    """Show what the chosen kind of pixel set needs, and hide what it does not."""
    ui, chosen = state.ui, state.parameters.pixelSet
    show_row(ui.pointsSelector, ui.pointsSelectorLabel, chosen in (POINTS, SPHERE))
    show_row(ui.radiusBox, ui.radiusBoxLabel, chosen == SPHERE)
    show_row(ui.roiSelector, ui.roiSelectorLabel, chosen == BOX)


def drawn_segment(state: State) -> str | None:
    """Id of the segment whose voxels are explained as they are drawn; None where something else is."""
    return state.parameters.segmentId if state.parameters.pixelSet == DRAWN else None


def chosen_region(state: State) -> Region | None:
    """The region that is explained; None for the predicted segment and for one that is drawn.

    Raises:
        SceneError: There is no point, box or crosshair.
    """
    parameters = state.parameters
    volume = parameters.inputVolume
    if parameters.pixelSet == ISLAND:
        return component_at(volume, crosshair_position(slicer.mrmlScene))
    if parameters.pixelSet == POINTS:
        return points_at(volume, control_points(parameters.points))
    if parameters.pixelSet == SPHERE:
        return sphere_at(volume, control_points(parameters.points)[0], parameters.radius)
    if parameters.pixelSet == BOX:
        return box_of(volume, parameters.roi)
    return WholeImage() if parameters.pixelSet == IMAGE else None
