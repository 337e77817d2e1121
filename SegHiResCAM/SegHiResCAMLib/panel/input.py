"""Section 1: which images, which model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.models import offered_models, remember_model
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import chosen_in, fill_combo, show_row
from SegHiResCAMLib.scene.heatmap import INPUT_VOLUME

FILES = "*.pt *.pth *.ckpt *.safetensors *.zip *.ts"


class InputSection:
    """Volume, further channels, model, and what the model is."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._offered: list[Any] = []
        self._asked = ""
        ui = state.ui
        ui.modelSelector.connect("currentIndexChanged(int)", lambda _index: self._choose(chosen_in(ui.modelSelector)))
        ui.modelFolderButton.connect("clicked(bool)", lambda _checked: self._browse(folder=True))
        ui.modelFileButton.connect("clicked(bool)", lambda _checked: self._browse(folder=False))

    def refresh(self) -> None:
        """Show the choices, and ask what a newly chosen model is."""
        state, ui = self._state, self._state.ui
        if state.parameters.inputVolume is None:
            state.parameters.inputVolume = first_input(slicer.mrmlScene)
        offered = offered_models(state.model_path)
        if offered != self._offered:
            self._offered = offered
            items = {"": _("Choose a model")} | {one.path: one.name for one in offered}
            fill_combo(ui.modelSelector, items, state.model_path)
        ui.modelSelector.setCurrentIndex(ui.modelSelector.findData(state.model_path))
        described = next((one.description for one in offered if one.path == state.model_path), "")
        ui.modelSelector.toolTip = described or state.model_path or _("The segmentation network.")
        channels = state.model["in_channels"] if state.model else 1
        for number in (2, 3, 4):
            selector = getattr(ui, f"volumeSelector{number}")
            show_row(selector, getattr(ui, f"volumeSelector{number}Label"), number <= channels)
        if state.model_path != self._asked and not state.work.name:
            self._ask()

    def ask_again(self) -> None:
        """Forget what was told of the model, as when something was installed meanwhile."""
        self._asked = ""

    def _ask(self) -> None:
        state = self._state
        self._asked, state.model, state.layers = state.model_path, None, None
        state.ui.modelFacts.text = ""
        if self._asked:
            path = self._asked
            state.work.start(
                "open", lambda **callbacks: state.logic.explainer.open_model(path, **callbacks), self._opened
            )

    def _opened(self, facts: dict[str, Any]) -> None:
        state = self._state
        state.model = facts
        state.ui.modelFacts.text = _("{name} outlines {segments}. {licence}.").format(
            name=facts["name"],
            segments=", ".join(state.labels),
            licence=facts["licence"] or _("Its licence is unknown"),
        )
        remember_model(self._asked)
        state.work.say(_("Ready."))

    def _choose(self, path: str) -> None:
        if self._state.parameters is not None:
            self._state.parameters.modelPath = Path(path)

    def _browse(self, *, folder: bool) -> None:
        if folder:
            path = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Choose a MONAI bundle"))
        else:
            title, files = _("Choose weights or a checkpoint"), f"{_('Models')} ({FILES});;{_('All files')} (*)"
            path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", files)
        if path:
            self._choose(path)


def first_input(scene: Any) -> Any:
    """The first volume that is no heat map."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode")
        is_image = node.GetClassName() == "vtkMRMLScalarVolumeNode"
        if is_image and node.GetNodeReferenceID(INPUT_VOLUME) is None:
            return node
    return None
