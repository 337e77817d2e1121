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
from SegHiResCAMLib.panel.state import VOLUMES, State
from SegHiResCAMLib.panel.widgets import chosen_in, fill_combo, plain_tip, show_row
from SegHiResCAMLib.provenance import METHOD
from SegHiResCAMLib.worker.protocol import ModelOpened

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScene

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
        self._hide_heatmaps()
        if state.parameters.inputVolume is None:
            state.parameters.inputVolume = next(iter(inputs(slicer.mrmlScene)), None)
        if not state.model_path and state.kept_model:
            state.parameters.modelPath = Path(state.kept_model)
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

    def take(self, node: vtkMRMLScalarVolumeNode) -> None:
        """Choose a volume that was loaded: as a further image of the patient where the model takes one, otherwise as another patient's."""
        state = self._state
        if state.parameters is None or node not in inputs(slicer.mrmlScene) or node in state.volumes:
            return
        missing = state.volumes.index(None) if None in state.volumes else 0
        setattr(state.parameters, VOLUMES[missing], node)
        if not missing:
            for further in VOLUMES[1:]:
                setattr(state.parameters, further, None)
            leave_other_patient(state.parameters, node)

    def _hide_heatmaps(self) -> None:
        """Do not offer heat maps as images."""
        scene = slicer.mrmlScene
        count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        nodes = [scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in range(count)]
        hidden = [node.GetID() for node in nodes if node.GetAttribute(METHOD)]
        for name in ("volumeSelector", "volumeSelector2", "volumeSelector3", "volumeSelector4"):
            getattr(self._state.ui, name).sortFilterProxyModel().hiddenNodeIDs = hidden

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
                selector.setItemData(index, plain_tip(_tip(one)), qt.Qt.ToolTipRole)
        selector.setCurrentIndex(selector.findData(state.model_path))
        tips = [_tip(one) for one in offered if one.path == state.model_path]
        selector.toolTip = plain_tip("".join(tips)) or _("The segmentation network.")

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
        state.ui.modelFacts.toolTip = plain_tip(state.model.description)
        remember_model(path)
        state.kept_model = path
        state.work.say(_("Ready."))

    def _choose(self, path: str) -> None:
        if self._state.parameters is not None:
            self._state.kept_model = path and self._state.kept_model
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


def inputs(scene: vtkMRMLScene) -> list[vtkMRMLScalarVolumeNode]:
    """The volumes that can be segmented: no heat map, no label map, nothing that other modules hide."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = [scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in range(count)]
    return [
        node
        for node in nodes
        if node.GetClassName() == "vtkMRMLScalarVolumeNode"
        and node.GetAttribute(METHOD) is None
        and not node.GetHideFromEditors()
    ]


def leave_other_patient(parameters: Any, volume: vtkMRMLScalarVolumeNode) -> None:
    """Choose no segmentation that was made of another volume."""
    segmentation = parameters.segmentation
    if segmentation is None:
        return
    made_of = segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())
    if made_of is not None and made_of is not volume:
        parameters.segmentation = None


def _line(model: OfferedModel) -> str:
    if model.pending is None:
        return model.title
    size = f" {readable(model.pending.size)}" if model.pending.size else ""
    return _("{model} – download{size}").format(model=model.title, size=size)


def _tip(model: OfferedModel) -> str:
    about = described(model) if model.pending is not None else ""
    return "\n".join(filter(None, [model.description, about])) or model.path
