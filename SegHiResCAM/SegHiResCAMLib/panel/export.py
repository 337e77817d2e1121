"""Section 5: everything that belongs to a heat map, into one folder."""

from __future__ import annotations

from pathlib import Path

import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.logic.export import export_heatmap
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.scene.errors import SceneError


class ExportSection:
    """Folder, format, and a button."""

    def __init__(self, state: State) -> None:
        self._state = state
        state.ui.exportButton.connect("clicked(bool)", lambda _checked: self._export())

    def refresh(self) -> None:
        """Enable the button where there is something to write."""
        button, heatmap = self._state.ui.exportButton, self._state.parameters.heatmap
        button.enabled = heatmap is not None

    def _export(self) -> None:
        parameters, work = self._state.parameters, self._state.work
        folder = parameters.exportFolder
        if folder in (None, Path()):
            work.say(_("Choose a folder to write into."))
            return
        try:
            with slicer.util.WaitCursor():
                written, left_out = export_heatmap(
                    parameters.heatmap, folder, file_format=parameters.exportFormat, opacity=parameters.opacity
                )
        except SceneError as problem:
            work.say(problem.sentence)
            return
        names = ", ".join(file.name for file in written)
        work.say(" ".join([_("Written into {folder}: {names}.").format(folder=folder, names=names), *left_out]))
