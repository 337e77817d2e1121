"""Why a button is disabled, as a message that the user always sees; empty where it is enabled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from SegHiResCAMLib.logic.asked_again import volumes_of
from SegHiResCAMLib.panel.advanced import contrast_of
from SegHiResCAMLib.panel.parameters import BOX, DRAWN, MISTAKE, POINTS, SPHERE, WITH_REFERENCE
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.scene.heatmap import explanation_of

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode

CHANNELS = 4
"""Volumes that the panel can choose."""


def why_not_segment(state: State) -> str:
    """What is missing before a volume can be segmented."""
    return _why_not_this_volume(state.parameters.inputVolume) or _why_not_this_model(state)


def why_not_explain(state: State) -> str:
    """What is missing before a segment can be explained."""
    return (
        why_not_segment(state)
        or _why_not_this_segment(state)
        or _why_not_this_pixel_set(state.parameters)
        or _why_not_this_mistake(state)
        or _why_not_this_contrast(state)
    )


def why_not_ask_again(state: State, heatmap: Any) -> str:
    """What is missing before more can be asked about a heat map: its model and its volumes."""
    record = None if heatmap is None else explanation_of(heatmap)
    if record is None:
        return _("Choose a heat map.")
    if None in volumes_of(heatmap):
        return _("The volume of this heat map was deleted. Load it, then explain again.")
    if state.model is None or state.model.sha256 != record.model.sha256:
        return _("Choose the model of this heat map above: {model}.").format(model=record.model.name)
    return ""


def _why_not_this_volume(volume: vtkMRMLScalarVolumeNode | None) -> str:
    if volume is None:
        return _("Load a volume and choose it above.")
    if volume.GetImageData() is None:
        return _("The chosen volume has no voxels: load it again.")
    return ""


def _why_not_this_model(state: State) -> str:
    if not state.model_path:
        return _("Choose a model above.")
    if state.is_pending:
        return _("The model is not on this computer yet. Press Download.")
    if state.model is None:
        return _("The model is not open: see what is said below, or choose it again.")
    count = state.model.in_channels
    if count > CHANNELS:
        return _("This model needs {count} images at once; this panel can give {limit}.").format(
            count=count, limit=CHANNELS
        )
    if None in state.volumes:
        return _("This model needs {count} images of the patient: choose them above.").format(count=count)
    return ""


def _why_not_this_segment(state: State) -> str:
    if not state.segment_name:
        return _("Choose a segment in the list.")
    if not state.label:
        return _("Choose what the model calls the segment {name}.").format(name=state.segment_name)
    return ""


def _why_not_this_pixel_set(parameters: Any) -> str:
    chosen = parameters.pixelSet
    if chosen == DRAWN and parameters.segmentation is None:
        return _("There is no drawn segment. Choose a segmentation, or another region under Explain what.")
    if chosen in (POINTS, SPHERE) and parameters.points is None:
        return _("Choose or make a point list, and place a point in a slice view.")
    if chosen == BOX and parameters.roi is None:
        return _("Choose or make a box.")
    return ""


def _why_not_this_mistake(state: State) -> str:
    chosen = state.parameters.pixelSet
    if chosen in WITH_REFERENCE and state.parameters.reference is None:
        return _("Choose a reference under Evidence, Mistakes.")
    if chosen != MISTAKE:
        return ""
    mistake = state.mistake
    if mistake is None:
        return _("Compare with the reference under Evidence, Mistakes, and click a mistake in the list.")
    if mistake.segment != state.label:
        return _(
            "The chosen mistake is one of {segment}. Choose that segment, or another region under Explain what."
        ).format(segment=mistake.segment)
    return ""


def _why_not_this_contrast(state: State) -> str:
    parameters = state.parameters
    if state.model is None or not contrast_of(state):
        return ""
    methods = [state.method(name) for name in (parameters.method, parameters.compareWith)]
    blind = [method.title for method in methods if method and method.ignores_class]
    if blind:
        return _(
            "{method} does not depend on a class, so it cannot be combined with a contrast class. Choose another method, or set Contrast with to nothing."
        ).format(method=blind[0])
    return ""
