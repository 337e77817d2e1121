"""Section 6: everything that belongs to a heat map, into one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.state import State

NAME = "export"


class ExportSection:
    """Folder, format, and a button that becomes Cancel while it runs."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._text = state.ui.exportButton.text
        state.ui.exportButton.connect("clicked(bool)", lambda _checked: self._clicked())

    def refresh(self) -> None:
        """Enable the button where there is something to write."""
        state, button = self._state, self._state.ui.exportButton
        running = state.work.name == NAME
        button.text = _("Cancel") if running else self._text
        button.enabled = running or (state.parameters.heatmap is not None and not state.work.name)
        # By itself the folder's button shows where 3D Slicer was started, which nobody has chosen.
        state.ui.folderButton.text = str(self._folder or _("Choose a folder…"))

    def _clicked(self) -> None:
        parameters, work = self._state.parameters, self._state.work
        if work.name == NAME:
            work.cancel()
            return
        folder = self._folder or self._ask_folder()
        if folder is None:
            return
        work.start(
            NAME,
            lambda **callbacks: self._state.logic.explainer.export(
                parameters.heatmap,
                folder,
                file_format=parameters.exportFormat,
                opacity=parameters.opacity,
                **callbacks,
            ),
            lambda exported: self._exported(folder, exported),
        )

    @property
    def _folder(self) -> Path | None:
        chosen = self._state.parameters.exportFolder
        return None if chosen in (None, Path()) else chosen

    def _ask_folder(self) -> Path | None:
        path = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Choose a folder to write into"))
        if path:
            self._state.parameters.exportFolder = Path(path)
        return Path(path) if path else None

    def _exported(self, folder: Path, exported: Any) -> None:
        names = ", ".join(file.name for file in exported.files)
        message = _("Written into {folder}: {names}.").format(folder=folder, names=names)
        self._state.work.say(" ".join([message, *exported.left_out]))
