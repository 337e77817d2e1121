"""The sections of the panel: a closed one says in its title what it holds, and each opens when its turn comes."""

from __future__ import annotations

from typing import Any

from SegHiResCAMLib.panel.fitting import set_title
from SegHiResCAMLib.panel.regions import largest_share
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.scene.heatmap import explanation_of


class Sections:
    """Titles, and which sections are open. The user may open and close any: each turn comes once for a patient."""

    def __init__(self, state: State) -> None:
        self._state = state
        ui = state.ui
        self._sections = (
            ui.inputSection,
            ui.segmentSection,
            ui.explainSection,
            ui.readSection,
            ui.evidenceSection,
            ui.exportSection,
        )
        self._titles = [section.text for section in self._sections]
        self._tips = [section.toolTip for section in self._sections]
        self._had = (False, False)
        for section in self._sections:
            section.connect("contentsCollapsed(bool)", lambda _collapsed: self._name())
        ui.segmentSection.collapsed = ui.explainSection.collapsed = True

    def refresh(self) -> None:
        """Open what comes next, and close what is done: its title says the rest, and Explain stays in sight."""
        state, ui = self._state, self._state.ui
        ready = state.parameters.inputVolume is not None and state.model is not None
        segmented = state.parameters.segmentation is not None
        before, self._had = self._had, (ready, segmented)
        if ready and not before[0]:
            ui.segmentSection.collapsed = ui.explainSection.collapsed = False
        if segmented and not before[1]:
            ui.explainSection.collapsed = False
            ui.inputSection.collapsed = ready
        if before[0] and not ready:
            ui.inputSection.collapsed = False
            ui.segmentSection.collapsed = ui.explainSection.collapsed = True
        self._name()

    def _name(self) -> None:
        if self._state.parameters is None:
            return
        for section, title, tip, held in zip(self._sections, self._titles, self._tips, self._held(), strict=True):
            set_title(section, title, held if section.collapsed else "")
            section.toolTip = "\n".join(filter(None, [held, tip]))

    def _held(self) -> tuple[str, ...]:
        state, parameters = self._state, self._state.parameters
        volume, segmentation, folder = parameters.inputVolume, parameters.segmentation, parameters.exportFolder
        record = explanation_of(parameters.heatmap) if parameters.heatmap is not None else None
        method = state.method(parameters.method)
        return (
            _joined(volume and volume.GetName(), state.model and state.model.name),
            _joined(segmentation and segmentation.GetName()),
            _joined(state.segment_name, method and method.title),
            _joined(record and record.question.segment, record and record.method),
            _joined(record and largest_share(record.regions)),
            _joined(folder and folder.name),
        )


def _joined(*texts: Any) -> str:
    return ", ".join(str(text) for text in texts if text)
