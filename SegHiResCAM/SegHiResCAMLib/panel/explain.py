"""Section 3: why did the network segment this?"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.advanced import Advanced
from SegHiResCAMLib.panel.layers import LayerTable, layer_words
from SegHiResCAMLib.panel.parameters import POINTS
from SegHiResCAMLib.panel.pixel_sets import chosen_reference, chosen_region, drawn_segment, refresh_pixel_set
from SegHiResCAMLib.panel.question import question_of
from SegHiResCAMLib.panel.reasons import why_not_explain
from SegHiResCAMLib.panel.segments import SegmentList
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import chosen_in, fill_combo
from SegHiResCAMLib.patient_places import place
from SegHiResCAMLib.records.models import LayerList, MethodSummary
from SegHiResCAMLib.records.regions import Region
from SegHiResCAMLib.records.wording import contrast_words, number
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import explanation_of, peak_position, remove_heatmap
from SegHiResCAMLib.scene.markers import mark_point
from SegHiResCAMLib.scene.overlay import jump_slices
from SegHiResCAMLib.scene.places import mouse_position, points_at, start_placing
from SegHiResCAMLib.scene.volumes import Array

if TYPE_CHECKING:
    from slicer import vtkMRMLMarkupsNode, vtkMRMLScalarVolumeNode

NAME = "explain"
LIVE = "SegHiResCAM.live"
"""Attribute of a heat map of a point under the mouse: the next one takes its place."""


class ExplainSection:
    """Segment, pixel set, method, layer; a button that becomes Cancel while it runs, and the reason why it is disabled."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._segments = SegmentList(state)
        self._layers = LayerTable(state)
        self._advanced = Advanced(state)
        self._methods: tuple[MethodSummary, ...] = ()
        ui = state.ui
        ui.explainButton.connect("clicked(bool)", lambda _checked: self.clicked())
        ui.methodSelector.connect("currentIndexChanged(int)", lambda _index: self._choose("method", ui.methodSelector))
        ui.compareSelector.connect(
            "currentIndexChanged(int)", lambda _index: self._choose("compareWith", ui.compareSelector)
        )
        for selector in (ui.pointsSelector, ui.roiSelector):
            selector.connect("nodeAddedByUser(vtkMRMLNode*)", self._place)

    def refresh(self) -> None:
        """Show the choices, and say what is missing."""
        state, ui = self._state, self._state.ui
        self._segments.refresh()
        refresh_pixel_set(state)
        self._layers.refresh(self._segments.volume_ml())
        self._offer_methods()
        self._advanced.refresh()
        running = state.work.name == NAME
        reason = "" if state.work.name else why_not_explain(state)
        ui.explainButton.text = _("Cancel") if running else _("E&xplain")
        ui.explainButton.enabled = running or not (reason or state.work.name)
        ui.explainButton.toolTip = reason or _("Compute a heat map of what the network's output depended on.")
        ui.reasonLabel.text = reason
        ui.reasonLabel.visible = bool(reason)

    def _offer_methods(self) -> None:
        state, ui, parameters = self._state, self._state.ui, self._state.parameters
        methods = state.methods
        if methods != self._methods:
            self._methods = methods
            titles = {one.identifier: one.title for one in methods}
            fill_combo(ui.methodSelector, titles, parameters.method)
            fill_combo(ui.compareSelector, {"": _("nothing")} | titles, parameters.compareWith)
            for one in methods:
                for selector in (ui.methodSelector, ui.compareSelector):
                    selector.setItemData(selector.findData(one.identifier), one.summary, qt.Qt.ToolTipRole)
        for selector in (ui.methodSelector, ui.compareSelector):
            selector.enabled = bool(methods)
        ui.methodSelector.setCurrentIndex(ui.methodSelector.findData(parameters.method))
        ui.compareSelector.setCurrentIndex(ui.compareSelector.findData(parameters.compareWith))

    def explain_under_mouse(self) -> None:
        """Explain the point under the mouse, as the chosen segment's, in place of the last such map."""
        state = self._state
        if state.parameters is None or not state.parameters.live or state.work.name:
            return
        reason = why_not_explain(state)
        try:
            point = mouse_position(slicer.mrmlScene)
        except SceneError as problem:
            point, reason = None, problem.message
        if point is None or reason:
            state.work.say(reason or _("Point at a place in a slice view."))
            return
        region = points_at(state.parameters.inputVolume, [point])
        asked = time.monotonic()
        self._start(
            self._question(state.parameters.method, region, live=True),
            lambda heatmap: self._live_explained(heatmap, point, time.monotonic() - asked),
        )

    def clicked(self) -> None:
        """Explain what is chosen, or cancel that."""
        state = self._state
        if state.work.name == NAME:
            state.work.cancel()
            return
        try:
            region, drawn = chosen_region(state), drawn_segment(state)
        except SceneError as problem:
            state.work.say(problem.message)
            return
        methods = dict.fromkeys(filter(None, [state.parameters.method, state.parameters.compareWith]))
        first, *second = [self._question(method, region, drawn) for method in methods]
        self._start(first, lambda heatmap: self._explained(heatmap, second))

    def _question(
        self, method: str, region: Region | None, drawn: str | None = None, *, live: bool = False
    ) -> Callable[..., Any]:
        """What is chosen now, to be asked at any time."""
        state, parameters = self._state, self._state.parameters
        return partial(
            state.logic.explainer.explain,
            parameters.inputVolume,
            state.model_path,
            question_of(state, method, region),
            further=state.volumes[1:],
            segmentation=parameters.segmentation,
            drawn_segment=drawn,
            reference=None if live else chosen_reference(state),
        )

    def _start(self, question: Callable[..., Any], done: Callable[[Any], None]) -> None:
        self._state.work.start(NAME, question, done, (self._state.choices.inputVolume,))

    def _explained(self, heatmap: vtkMRMLScalarVolumeNode, second: list[Callable[..., Any]]) -> None:
        self._show(heatmap)
        for question in second:
            self._start(question, self._compared)

    def _compared(self, heatmap: vtkMRMLScalarVolumeNode) -> None:
        self._state.choices.secondHeatmap = heatmap
        self._state.choices.compareViews = True
        self._say(heatmap)

    def _live_explained(self, heatmap: vtkMRMLScalarVolumeNode, point: Array, seconds: float) -> None:
        scene = slicer.mrmlScene
        if self._state.parameters is not None and self._state.parameters.live:
            mark_point(scene, point, _("{seconds} s").format(seconds=f"{seconds:.1f}"))
        before = [scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in
                  range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"))]  # fmt: skip
        self._show(heatmap, jump=False)
        for node in before:
            if node.GetAttribute(LIVE):
                remove_heatmap(node)
        heatmap.SetAttribute(LIVE, "1")
        self._state.work.say(_live_words(heatmap, point, seconds))

    def _show(self, heatmap: vtkMRMLScalarVolumeNode, *, jump: bool = True) -> None:
        self._state.choices.heatmap = heatmap
        self._state.choices.overlayVisible = True
        if jump and self._state.parameters is not None:  # in another module the views are not ours
            jump_slices(slicer.mrmlScene, peak_position(heatmap).position)
        self._say(heatmap)

    def _say(self, heatmap: vtkMRMLScalarVolumeNode) -> None:
        record = explanation_of(heatmap)
        if record is None:
            return
        contrast = contrast_words(record.question)
        self._state.work.say(
            _("{method} explained {segment} at the layer {layer}: the peak is {peak} {units}.").format(
                method=record.method,
                segment=record.question.segment + (f" ({contrast})" if contrast else ""),
                layer=layer_words(self._state.layers or LayerList(), record.layer.name),
                peak=number(record.maximum),
                units=record.units.replace("share of", "of"),
            )
        )

    def _place(self, node: vtkMRMLMarkupsNode) -> None:
        """Let the user place a box or the centre of a sphere with the next click, and points with every one until Esc."""
        parameters = self._state.parameters
        start_placing(node, several=parameters is not None and parameters.pixelSet == POINTS)

    def _choose(self, parameter: str, selector: Any) -> None:
        if self._state.parameters is not None:
            setattr(self._state.parameters, parameter, chosen_in(selector))


def _live_words(heatmap: vtkMRMLScalarVolumeNode, point: Array, seconds: float) -> str:
    """What Live asked last, its answer, and how long that took."""
    record = explanation_of(heatmap)
    return _("Live: {segment} at {place}, peak {peak} {units}, {seconds} s. Press E again, or Esc to end.").format(
        segment="" if record is None else record.question.segment,
        place=place(point),
        peak="" if record is None else number(record.maximum),
        units="" if record is None else record.units,
        seconds=f"{seconds:.1f}",
    )
