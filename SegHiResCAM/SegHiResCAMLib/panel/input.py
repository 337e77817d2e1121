"""Section 1: which images, which model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.download import ModelDownload, described, licence_of, several
from SegHiResCAMLib.panel.models import offered_models, remember_model
from SegHiResCAMLib.panel.offered_models import OfferedModel, readable
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import chosen_in, fill_combo, show_row
from SegHiResCAMLib.scene.heatmap import INPUT_VOLUME
from SegHiResCAMLib.worker.protocol import ModelOpened

if TYPE_CHECKING:
    from slicer import vtkMRMLScene

FILES = "*.pt *.pth *.ckpt *.bin *.tar *.safetensors *.zip *.ts"


class InputSection:
    """Volume, further channels, model, and what the model is."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._offered: list[OfferedModel] = []
        self._listed: tuple[str, str] | None = None
        self._asked: tuple[str, bool] = ("", True)
        self._download = ModelDownload(state, self.ask_again)
        ui = state.ui
        ui.modelSelector.connect("currentIndexChanged(int)", lambda _index: self._choose(chosen_in(ui.modelSelector)))
        ui.modelSelector.connect("activated(int)", lambda _index: self._choose_again())
        ui.modelFolderButton.connect("clicked(bool)", lambda _checked: self._browse(folder=True))
        ui.modelFileButton.connect("clicked(bool)", lambda _checked: self._browse(folder=False))

    def refresh(self) -> None:
        """Show the choices, and ask what a newly chosen model is."""
        state, ui = self._state, self._state.ui
        if state.parameters.inputVolume is None:
            state.parameters.inputVolume = first_input(slicer.mrmlScene)
        self._list()
        chosen = next((one for one in self._offered if one.path == state.model_path), None)
        state.is_pending = chosen is not None and chosen.pending is not None
        self._download.refresh(chosen)
        channels = state.model.in_channels if state.model else 1
        for number in (2, 3, 4):
            selector = getattr(ui, f"volumeSelector{number}")
            show_row(selector, getattr(ui, f"volumeSelector{number}Label"), number <= channels)
        if (state.model_path, state.is_pending) != self._asked and not state.work.name:
            self._ask(chosen)

    def look_again(self) -> None:
        """Forget which models there are, as when the user comes back."""
        self._listed = None

    def ask_again(self) -> None:
        """Forget what was told of the model, as when something was installed meanwhile."""
        self._asked = ("", True)
        self.look_again()

    def _list(self) -> None:
        state, selector = self._state, self._state.ui.modelSelector
        if self._listed == (state.model_path, state.work.name):
            return  # models may lie on a drive that takes its time; a slider that is dragged does not wait for it
        self._listed = (state.model_path, state.work.name)
        offered = offered_models(state.model_path)
        if offered != self._offered:
            self._offered = offered
            fill_combo(
                selector, {"": _("Choose a model")} | {one.path: _line(one) for one in offered}, state.model_path
            )
            for index, one in enumerate(offered, start=1):
                selector.setItemData(index, _tip(one), qt.Qt.ToolTipRole)
        selector.setCurrentIndex(selector.findData(state.model_path))
        tips = [_tip(one) for one in offered if one.path == state.model_path]
        selector.toolTip = "".join(tips) or _("The segmentation network.")

    def _ask(self, chosen: OfferedModel | None) -> None:
        state = self._state
        self._asked = (state.model_path, state.is_pending)
        state.model, state.methods, state.layers = None, (), None
        state.ui.modelFacts.text = described(chosen) if chosen is not None and state.is_pending else ""
        if state.model_path and not state.is_pending:
            path = state.model_path
            state.work.start(
                "open",
                lambda **callbacks: state.logic.explainer.open_model(path, **callbacks),
                lambda opened: self._opened(path, opened),
            )

    def _opened(self, path: str, opened: ModelOpened) -> None:
        state = self._state
        state.model, state.methods = opened.model, opened.methods
        state.ui.modelFacts.text = _("{name} segments {segments}. {licence}.").format(
            name=state.model.name, segments=several(state.labels), licence=licence_of(state.model.licence)
        )
        state.ui.modelFacts.toolTip = state.model.description
        remember_model(path)
        state.work.say(_("Ready."))

    def _choose(self, path: str) -> None:
        if self._state.parameters is not None:
            self._state.parameters.modelPath = Path(path)

    def _choose_again(self) -> None:
        """Open the same model once more, where that was cancelled or went wrong."""
        state = self._state
        if state.parameters is not None and state.model is None and not state.work.name:
            self.ask_again()
            state.refresh()

    def _browse(self, *, folder: bool) -> None:
        if folder:
            path = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Choose a MONAI bundle"))
        else:
            title, files = _("Choose weights or a checkpoint"), f"{_('Models')} ({FILES});;{_('All files')} (*)"
            path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", files)
        if path:
            self._choose(path)
            self._choose_again()


def first_input(scene: vtkMRMLScene) -> Any:
    """The first volume that is not a heat map."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode")
        is_image = node.GetClassName() == "vtkMRMLScalarVolumeNode"
        if is_image and node.GetNodeReferenceID(INPUT_VOLUME) is None:
            return node
    return None


def _line(model: OfferedModel) -> str:
    if model.pending is None:
        return model.title
    size = f" {readable(model.pending.size)}" if model.pending.size else ""
    return _("{model} – download{size}").format(model=model.title, size=size)


def _tip(model: OfferedModel) -> str:
    about = described(model) if model.pending is not None else ""
    return "\n".join(filter(None, [model.description, about])) or model.path
