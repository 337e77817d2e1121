"""In section 5: what the model segments once a region is replaced by other tissue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from slicer.i18n import tr as _

from SegHiResCAMLib.logic.what_if import remove_and_segment
from SegHiResCAMLib.panel.pixel_sets import chosen_reference, chosen_region, drawn_segment
from SegHiResCAMLib.panel.question import question_of
from SegHiResCAMLib.panel.reasons import why_not_explain, why_not_segment
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import chosen_in, fill_combo, fill_table, tip_rows
from SegHiResCAMLib.records.evidence import SegmentChange, WhatIfRecord
from SegHiResCAMLib.records.map_check import Fill
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.wording import change_words, number
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import explanation_of
from SegHiResCAMLib.scene.removed_region import remove_changed_segmentation, what_if_of
from SegHiResCAMLib.scene.segments import segment_ids

NAME = "what-if"
EXPLAINED = "explained"
"""Stands for the region under *Explain what*; segments are called by their node and id, labels of the model by their name."""

FILLS = {
    "shell": "mean of the tissue around",
    "patch": "tissue from elsewhere",
    "blur": "smoothed surroundings",
}


class WhatIfPart:
    """What is removed and by what it is replaced; a button that becomes Cancel while it runs; and what became of each segment."""

    def __init__(self, state: State) -> None:
        self._state = state
        ui = state.ui
        self._text, self._tip = ui.removeButton.text, ui.removeButton.toolTip
        self._offered: dict[str, str] = {}
        self._shown: WhatIfRecord | None = None
        fill_combo(ui.fillSelector, {fill: _(FILLS[fill]) for fill in get_args(Fill)}, "shell")
        ui.removedSelector.connect(
            "currentIndexChanged(int)", lambda _index: self._choose("removed", ui.removedSelector)
        )
        ui.fillSelector.connect("currentIndexChanged(int)", lambda _index: self._choose("fill", ui.fillSelector))
        ui.removeButton.connect("clicked(bool)", lambda _checked: self._clicked())
        ui.forgetButton.connect("clicked(bool)", lambda _checked: self._forget())

    def refresh(self) -> None:
        """Offer what can be removed, show the last result, and say what is missing."""
        state, ui, parameters = self._state, self._state.ui, self._state.parameters
        offered = removable(state)
        if offered != self._offered or chosen_in(ui.removedSelector) != parameters.removed:
            self._offered = offered
            fill_combo(
                ui.removedSelector,
                offered,
                parameters.removed if parameters.removed in offered else next(iter(offered)),
            )
        ui.fillSelector.setCurrentIndex(ui.fillSelector.findData(parameters.fill))
        running = state.work.name == NAME
        reason = self._why_not()
        ui.removeButton.text = _("Cancel") if running else self._text
        ui.removeButton.enabled = running or not (reason or state.work.name)
        ui.removeButton.toolTip = reason or self._tip
        ui.whatIfReason.text = reason
        ui.whatIfReason.visible = bool(reason)
        record = what_if_of(parameters.whatIf)
        for widget in (ui.changeTable, ui.whatIfWords, ui.forgetButton):
            widget.visible = record is not None
        if record != self._shown:
            self._shown = record
            if record is not None:
                self._show(record)

    def _why_not(self) -> str:
        explained = chosen_in(self._state.ui.removedSelector) == EXPLAINED
        return why_not_explain(self._state) if explained else why_not_segment(self._state)

    def _show(self, record: WhatIfRecord) -> None:
        ui = self._state.ui
        fill_table(
            ui.changeTable,
            [_("Segment"), _("ml before"), _("ml after"), _("Dice")],
            [_row(one) for one in record.segments],
        )
        tip_rows(ui.changeTable, [change_words(one) for one in record.segments])
        ui.whatIfWords.text = _("{region}: {ml} ml replaced by {fill}. {touched} of {windows} windows changed.").format(
            region=record.region,
            ml=number(record.removed_ml),
            fill=_(FILLS[record.fill]),
            touched=record.windows_touched,
            windows=record.windows,
        )

    def _clicked(self) -> None:
        state = self._state
        if state.work.name == NAME:
            state.work.cancel()
            return
        try:
            about, asked = self._asked()
        except SceneError as problem:
            state.work.say(problem.message)
            return
        volumes = [one for one in state.volumes if one is not None]
        model, fill = state.model_path, state.parameters.fill
        state.work.start(
            NAME,
            lambda **callbacks: remove_and_segment(
                state.logic.explainer, volumes[0], model, further=volumes[1:], fill=fill, **asked, **callbacks
            ),
            self._removed,
            (*volumes, *about),
        )

    def _asked(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The nodes that the region is in, and the arguments that say which one it is."""
        state, parameters = self._state, self._state.parameters
        chosen = chosen_in(state.ui.removedSelector)
        if chosen == EXPLAINED:
            drawn, reference = drawn_segment(state), chosen_reference(state)
            asked = {"question": question_of(state, parameters.method, chosen_region(state)), "drawn_segment": drawn}
            nodes = {"segmentation": parameters.segmentation if drawn else None, "reference": reference}
            return tuple(node for node in nodes.values() if node is not None), asked | nodes
        node, segment = regions_node(state), chosen
        label = state.label or state.labels[0]
        question = question_of(state, parameters.method, None)
        if node is None:
            return (), {"question": _about(question, segment)}
        return (node,), {"question": _about(question, label), "segmentation": node, "drawn_segment": segment}

    def _removed(self, segmentation: Any) -> None:
        self._state.choices.whatIf = segmentation
        record = what_if_of(segmentation)
        if record is not None:
            self._state.work.say(removal_words(record))

    def _forget(self) -> None:
        node = self._state.parameters.whatIf
        if node is not None:
            remove_changed_segmentation(node)

    def _choose(self, parameter: str, selector: Any) -> None:
        if self._state.parameters is not None:
            setattr(self._state.parameters, parameter, chosen_in(selector))


def regions_node(state: State) -> Any:
    """Whose segments can be removed: the regions that were chosen, or else what is segmented; None for the model's labels."""
    return state.parameters.regions or state.parameters.segmentation


def removable(state: State) -> dict[str, str]:
    """What can be removed, and how it is called: the regions with the most evidence first, where that was measured."""
    node = regions_node(state)
    names = {one: one for one in state.labels}
    if node is not None:
        names = {one: node.GetSegmentation().GetSegment(one).GetName() for one in segment_ids(node)}
    heatmap = state.parameters.heatmap
    record = None if heatmap is None else explanation_of(heatmap)
    shares = {one.name: one.positive for one in record.regions if one.part == "region"} if record else {}
    ranked = sorted(names.items(), key=lambda item: -(shares.get(item[1]) or 0.0))
    offered = {key: _with_share(name, shares.get(name)) for key, name in ranked}
    return offered | {EXPLAINED: _("what is chosen under Explain what")}


def removal_words(record: WhatIfRecord) -> str:
    """For people: "Without kidney, tumour changes most: 20.5 ml before, 0 ml afterwards"; that the region's own segment changes says little."""
    changed = [one for one in record.segments if one.dice is not None and one.dice < 1]
    if not changed:
        return _("Without {region}, the model segments the same.").format(region=record.region)
    others = [one for one in changed if one.segment != record.region]
    most = min(others or changed, key=lambda one: one.dice or 0.0)
    return _("Without {region}, {segment} changes most: {before} ml before, {after} ml afterwards.").format(
        region=record.region, segment=most.segment, before=number(most.before_ml), after=number(most.after_ml)
    )


def _with_share(name: str, share: float | None) -> str:
    return (
        name if share is None else _("{name} ({share} % of the evidence)").format(name=name, share=f"{100 * share:.0f}")
    )


def _about(question: Question, segment: str) -> Question:
    return replace(question, segment=segment, region=None)


def _row(one: SegmentChange) -> list[str]:
    dice = "" if one.dice is None else f"{one.dice:.2f}"
    return [one.segment, number(one.before_ml, 4), number(one.after_ml, 4), dice]
