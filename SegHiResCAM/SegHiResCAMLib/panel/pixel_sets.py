"""Which voxels are explained: the widgets that a choice needs, and the pixel set that it means."""

from __future__ import annotations

from typing import Any

import slicer

from SegHiResCAMLib.panel.parameters import (
    BOX,
    DRAWN,
    FALSE_NEGATIVES,
    FALSE_POSITIVES,
    IMAGE,
    ISLAND,
    MISTAKE,
    POINTS,
    RIM,
    SPHERE,
    TRUE_POSITIVES,
    WITH_REFERENCE,
)
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import show_row
from SegHiResCAMLib.records.regions import FalseNegative, FalsePositive, Region, Rim, TruePositive, WholeImage
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.places import box_of, component_at, control_points, crosshair_position, points_at, sphere_at

OF_NOTHING_ELSE: dict[str, Region] = {
    IMAGE: WholeImage(),
    RIM: Rim(),
    TRUE_POSITIVES: TruePositive(),
    FALSE_POSITIVES: FalsePositive(),
    FALSE_NEGATIVES: FalseNegative(),
}
"""Regions that no further choice is needed for."""


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
        SceneError: There is no point, box, crosshair or mistake.
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
    if parameters.pixelSet == MISTAKE:
        return _chosen_mistake(state)
    found: Region | None = OF_NOTHING_ELSE.get(parameters.pixelSet)
    return found


def chosen_reference(state: State) -> Any:
    """The reference segmentation that the chosen kind of region needs; None where it needs none."""
    return state.parameters.reference if state.parameters.pixelSet in WITH_REFERENCE else None


def _chosen_mistake(state: State) -> Region:
    mistake = state.mistake
    if mistake is None:
        raise SceneError("No mistake is chosen. Click one in the list of mistakes.")
    kind = FalsePositive if mistake.mistake == "false-positive" else FalseNegative
    return kind(mistake.point_ras_mm)
