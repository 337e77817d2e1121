"""Section 2: segment the volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from SegHiResCAMLib.panel.question import segment_options
from SegHiResCAMLib.panel.reasons import why_not_segment
from SegHiResCAMLib.panel.state import State

if TYPE_CHECKING:
    from slicer import vtkMRMLSegmentationNode

NAME = "segment"


class SegmentSection:
    """A button that becomes Cancel while it runs; its result is the chosen segmentation."""

    def __init__(self, state: State) -> None:
        self._state = state
        state.ui.segmentButton.connect("clicked(bool)", lambda _checked: self._clicked())

    def refresh(self) -> None:
        """Enable the button where it can do something, and say what is missing where not."""
        state, button = self._state, self._state.ui.segmentButton
        running = state.work.name == NAME
        reason = why_not_segment(state)
        button.text = _("Cancel") if running else _("&Segment")
        button.enabled = running or not (reason or state.work.name)
        button.toolTip = reason or _("Segment the volume with the selected model.")

    def _clicked(self) -> None:
        state = self._state
        if state.work.name == NAME:
            state.work.cancel()
        else:
            self.start()

    def start(self) -> None:
        """Segment the chosen volume with the chosen model."""
        state, parameters = self._state, self._state.parameters
        state.work.start(
            NAME,
            lambda **callbacks: state.logic.explainer.segment(
                parameters.inputVolume,
                state.model_path,
                segment_options(state),
                further=state.volumes[1:],
                **callbacks,
            ),
            self._segmented,
            (parameters.inputVolume,),
        )

    def _segmented(self, segmentation: vtkMRMLSegmentationNode) -> None:
        self._state.choices.segmentation = segmentation
        self._state.work.say(_("Segmented. Choose a segment and press Explain."))
