"""Which voxels are explained: the widgets that a choice needs, and the pixel set that it means."""

from __future__ import annotations

from typing import Any

import slicer

from SegHiResCAMLib.panel.parameters import BOX, DRAWN, IMAGE, ISLAND, POINTS, SPHERE
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import show_row
from SegHiResCAMLib.scene.places import box_of, component_at, control_points, crosshair_position, points_at, sphere_at


def refresh_pixel_set(state: State) -> None:
    """Show what the chosen kind of pixel set needs, and hide what it does not."""
    ui, chosen = state.ui, state.parameters.pixelSet
    show_row(ui.pointsSelector, ui.pointsSelectorLabel, chosen in (POINTS, SPHERE))
    show_row(ui.radiusBox, ui.radiusBoxLabel, chosen == SPHERE)
    show_row(ui.roiSelector, ui.roiSelectorLabel, chosen == BOX)


def chosen_pixel_set(state: State) -> Any:
    """What `Explainer.explain` takes as pixel set.

    Raises:
        SceneError: There is no point, box or crosshair.
    """
    parameters = state.parameters
    volume = parameters.inputVolume
    if parameters.pixelSet == DRAWN:
        return parameters.segmentId
    if parameters.pixelSet == ISLAND:
        return component_at(volume, crosshair_position(slicer.mrmlScene))
    if parameters.pixelSet == POINTS:
        return points_at(volume, control_points(parameters.points))
    if parameters.pixelSet == SPHERE:
        return sphere_at(volume, control_points(parameters.points)[0], parameters.radius)
    if parameters.pixelSet == BOX:
        return box_of(volume, parameters.roi)
    return {"kind": "image"} if parameters.pixelSet == IMAGE else None
