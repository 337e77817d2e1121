"""The module's panel: five steps from a volume to an explained segment.

The parameter node holds every choice; widgets named in the .ui file with SlicerParameterName follow it by themselves. A timer moves the
logic's jobs on, so nothing here waits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SegHiResCAMLib.panel.reasons import why_not_explain, why_not_segment
from SegHiResCAMLib.scene.heatmap import (
    INPUT_VOLUME,
    heatmap_provenance,
    peak_position,
    set_display_range,
)
from SegHiResCAMLib.scene.overlay import jump_slices

POLL_MILLISECONDS = 50


class Panel(VTKObservationMixin):
    """The widgets of the .ui file, their parameter node, and the job that runs.

    Args:
        logic: A SegHiResCAMLogic.
        ui_file: Resources/UI/SegHiResCAM.ui.
        parent: The module's widget; its `isEntered` tells whether the panel is shown.
    """

    def __init__(self, logic: Any, ui_file: str, parent: Any) -> None:
        VTKObservationMixin.__init__(self)
        self.logic = logic
        self.parent = parent
        self.widget = slicer.util.loadUI(ui_file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.job: Any = None
        self.model: dict[str, Any] | None = None
        self._asked_model = ""
        self._shown: tuple[Any, ...] = ()
        self._parameters: Any = None
        self._gui: Any = None

        self.ui.heatmapSelector.addAttribute("vtkMRMLScalarVolumeNode", "SegHiResCAM.method")
        self.ui.segmentButton.connect("clicked(bool)", lambda _checked: self._segment_or_cancel())
        self.ui.explainButton.connect("clicked(bool)", lambda _checked: self._explain_or_cancel())
        self.ui.peakButton.connect("clicked(bool)", lambda _checked: self._jump_to_peak())
        self.ui.exportButton.connect("clicked(bool)", lambda _checked: self._export())
        self.ui.segmentSelector.connect("currentIndexChanged(int)", lambda _index: self._choose("segmentName"))
        self.ui.methodSelector.connect("currentIndexChanged(int)", lambda _index: self._choose("method"))
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, lambda *_: self._use(None))
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, lambda *_: self._scene_closed())

        self.timer = qt.QTimer()
        self.timer.setInterval(POLL_MILLISECONDS)
        self.timer.connect("timeout()", self.logic.poll)
        self.enter()

    def enter(self) -> None:
        """Follow the scene's parameter node."""
        self._use(self.logic.getParameterNode())

    def exit(self) -> None:
        """Stop following it; jobs go on."""
        self._use(None)

    def cleanup(self) -> None:
        """Let go of everything."""
        self.timer.stop()
        self._use(None)
        self.removeObservers()

    # The parameter node and the widgets

    def _use(self, parameters: Any) -> None:
        if self._parameters is not None:
            self._parameters.disconnectGui(self._gui)
            self.removeObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._refresh)
        self._parameters = parameters
        if parameters is None:
            return
        if parameters.inputVolume is None:
            parameters.inputVolume = _first_input(slicer.mrmlScene)
        self._gui = parameters.connectGui(self.ui)
        self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._refresh)
        self._refresh()

    def _scene_closed(self) -> None:
        self._shown = ()
        if getattr(self.parent, "isEntered", False):
            self.enter()

    def _refresh(self, _caller: Any = None, _event: Any = None) -> None:
        """Bring everything in line with the parameter node."""
        if self._parameters is None:
            return
        self._ask_model()
        self._enable()
        self._show()

    def _enable(self) -> None:
        busy = self.job is not None
        volume, segment = self._parameters.inputVolume, self._parameters.segmentName
        reasons = {
            self.ui.segmentButton: (_("Segment"), why_not_segment(volume, self.model)),
            self.ui.explainButton: (_("Explain"), why_not_explain(volume, self.model, segment)),
        }
        for button, (text, reason) in reasons.items():
            button.text = _("Cancel") if busy else text
            button.enabled = busy or not reason
            button.toolTip = reason or text
        reason = "" if busy else reasons[self.ui.explainButton][1]
        self.ui.reasonLabel.text = reason
        self.ui.reasonLabel.visible = bool(reason)
        for widget in (self.ui.peakButton, self.ui.exportButton, self.ui.overlayCheckBox):
            widget.enabled = self._parameters.heatmap is not None
        self.ui.progressBar.visible = busy

    def _choose(self, parameter: str) -> None:
        selector = {"segmentName": self.ui.segmentSelector, "method": self.ui.methodSelector}[parameter]
        if self._parameters is not None and selector.currentIndex >= 0:
            setattr(self._parameters, parameter, selector.itemData(selector.currentIndex))

    # Jobs

    def _ask_model(self) -> None:
        """Ask what a newly chosen model is."""
        path = self._parameters.modelPath
        chosen = "" if path in (None, Path()) else str(path)
        if chosen == self._asked_model or self.job is not None:
            return
        self._asked_model, self.model = chosen, None
        self.ui.modelFacts.text = ""
        if chosen:
            self._start(self.logic.explainer.open_model(chosen, **self._callbacks(self._model_opened)))

    def _model_opened(self, facts: dict[str, Any]) -> None:
        self.model = facts
        names = ", ".join(label["name"] for label in facts["labels"])
        licence = facts["licence"] or _("unknown licence")
        self.ui.modelFacts.text = _("{name} outlines {names}. {licence}.").format(
            name=facts["name"], names=names, licence=licence
        )
        _fill(self.ui.segmentSelector, {label["name"]: label["name"] for label in facts["labels"]}, "")
        _fill(self.ui.methodSelector, facts["methods"], self._parameters.method if self._parameters else "")
        self._choose("segmentName")
        self._choose("method")
        self._say(_("Ready."))

    def _segment_or_cancel(self) -> None:
        if self.job is not None:
            self.logic.explainer.cancel(self.job)
            return
        with slicer.util.tryWithErrorDisplay(_("Segmenting failed.")):
            parameters = self._parameters
            self._start(
                self.logic.explainer.segment(
                    parameters.inputVolume, str(parameters.modelPath), **self._how(), **self._callbacks(self._segmented)
                )
            )

    def _segmented(self, segmentation: Any) -> None:
        if self._parameters is not None:
            self._parameters.segmentation = segmentation
        self._say(_("Segmented. Choose a segment and press Explain."))

    def _explain_or_cancel(self) -> None:
        if self.job is not None:
            self.logic.explainer.cancel(self.job)
            return
        with slicer.util.tryWithErrorDisplay(_("Explaining failed.")):
            parameters = self._parameters
            self._start(
                self.logic.explainer.explain(
                    parameters.inputVolume,
                    str(parameters.modelPath),
                    parameters.segmentName,
                    segmentation=parameters.segmentation,
                    method=parameters.method,
                    layer=parameters.layer or None,
                    **self._how(),
                    **self._callbacks(self._explained),
                )
            )

    def _explained(self, heatmap: Any) -> None:
        if self._parameters is not None:
            self._parameters.heatmap = heatmap
            self._parameters.overlayVisible = True
        facts = heatmap_provenance(heatmap)
        self._jump_to(heatmap)
        self._say(
            _("{segment} explained at layer {layer}: the peak is {peak} logit units.").format(
                segment=facts["segment"], layer=facts["layer"], peak=f"{float(facts['maximum']):.3g}"
            )
        )

    def _how(self) -> dict[str, str]:
        return {name: getattr(self._parameters, name) for name in ("mode", "axis", "device")}

    def _start(self, job: Any) -> None:
        self.job = job
        self.timer.start()
        self._enable()

    def _callbacks(self, done: Any) -> dict[str, Any]:
        def ended(then: Any, outcome: Any) -> None:
            self.job = None
            self.timer.stop()
            then(outcome)
            self.ui.logText.plainText = self.logic.explainer.client.log_tail()
            self._refresh()

        return {
            "on_progress": self._progressed,
            "on_done": lambda result: ended(done, result),
            "on_error": lambda error: ended(lambda said: self._say(said.sentence), error),
        }

    def _progressed(self, fraction: float, text: str, remaining: float | None) -> None:
        self.ui.progressBar.value = round(fraction * 1000)
        left = "" if remaining is None else _(", about {seconds} s left").format(seconds=round(remaining))
        self._say(text + left)

    # Reading

    def _show(self) -> None:
        """Bring the views in line with the choices, where they have changed."""
        parameters = self._parameters
        heatmap = parameters.heatmap
        wanted = (heatmap and heatmap.GetID(), parameters.overlayVisible, parameters.opacity, parameters.lowerFraction)
        if wanted == self._shown:
            return
        before, self._shown = self._shown, wanted
        if heatmap is None or not parameters.overlayVisible:
            if before and before[0] and before[1]:
                self.logic.showOverlay(None, visible=False)
            return
        maximum = float(heatmap_provenance(heatmap).get("maximum", 0)) or 1.0
        set_display_range(heatmap, maximum, parameters.lowerFraction)
        self.logic.showOverlay(heatmap, opacity=parameters.opacity, jump=False)

    def _jump_to_peak(self) -> None:
        if self._parameters.heatmap is not None:
            self._jump_to(self._parameters.heatmap)

    def _jump_to(self, heatmap: Any) -> None:
        jump_slices(slicer.mrmlScene, peak_position(heatmap).position)

    def _export(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("Export failed.")):
            written = self.logic.export(self._parameters.heatmap, self.ui.folderButton.directory)
            self._say(_("Written: {files}.").format(files=", ".join(file.name for file in written)))

    def _say(self, sentence: str) -> None:
        self.ui.statusLabel.text = sentence


def _fill(selector: Any, items: dict[str, str], chosen: str) -> None:
    """Fill a combo box with values and their texts, without telling anybody of the steps between."""
    blocked = selector.blockSignals(True)
    selector.clear()
    for value, text in items.items():
        selector.addItem(text, value)
    selector.setCurrentIndex(max(selector.findData(chosen), 0))
    selector.blockSignals(blocked)


def _first_input(scene: Any) -> Any:
    """The first volume that is no heat map."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode")
        if node.GetNodeReferenceID(INPUT_VOLUME) is None:
            return node
    return None
