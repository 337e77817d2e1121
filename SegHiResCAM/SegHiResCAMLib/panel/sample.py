"""Two minutes to the first heat map: one button loads the sample patient, chooses the model that comes along, and segments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.input import inputs
from SegHiResCAMLib.panel.models import offered_models
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.sample_data import sample_volume

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode

MODEL = "kidney-phantom-3d"
"""Folder of the model that comes along and segments the patient."""


class SamplePatient:
    """A button that is there while the scene has no volume.

    Args:
        state: Of the panel.
        segment: Begins to segment.
    """

    def __init__(self, state: State, segment: Callable[[], None]) -> None:
        self._state = state
        self._segment = segment
        self._waiting: vtkMRMLScalarVolumeNode | None = None  # the sample patient, until it is segmented
        state.ui.sampleButton.connect("clicked(bool)", lambda _checked: self._load())

    def refresh(self) -> None:
        """Segment once the model is open."""
        state = self._state
        state.ui.sampleButton.visible = not inputs(slicer.mrmlScene)
        state.ui.sampleButton.enabled = not state.work.name
        if self._waiting is not state.parameters.inputVolume or Path(state.model_path).name != MODEL:
            self._waiting = None  # another patient or model was chosen meanwhile: they are not segmented unasked
        if self._waiting is not None and not state.work.name:
            opened = state.model is not None
            if opened or state.work.failed:
                self._waiting = None
            if opened:
                qt.QTimer.singleShot(
                    0, self._segment
                )  # when all sections are in line, or its button would not be Cancel

    def _load(self) -> None:
        state = self._state
        try:
            volume = slicer.util.loadVolume(str(sample_volume()), {"name": _("Sample patient")})
        except RuntimeError as problem:
            state.work.say(
                _("The sample patient cannot be loaded ({problem}). Install the extension again.").format(
                    problem=problem
                )
            )
            return
        models = [one.path for one in offered_models("") if Path(one.path).name == MODEL]
        state.parameters.inputVolume = volume
        state.parameters.modelPath = Path(*models[:1])
        self._waiting = volume
        state.refresh()
