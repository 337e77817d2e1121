"""In section 5: where the model's segmentation differs from a reference, and a click that asks why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.logic.mistakes import compare_with
from SegHiResCAMLib.panel.parameters import MISTAKE
from SegHiResCAMLib.panel.question import segment_options
from SegHiResCAMLib.panel.reasons import why_not_explain, why_not_segment
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import fill_table, silent, tip_rows
from SegHiResCAMLib.patient_places import place
from SegHiResCAMLib.records.mistakes import Agreement, Comparison, Mistake
from SegHiResCAMLib.records.wording import number
from SegHiResCAMLib.scene.overlay import jump_slices
from SegHiResCAMLib.scene.segments import segment_ids
from SegHiResCAMLib.scene.volumes import to_world

NAME = "compare"

KINDS = {"false-positive": "false positive", "false-negative": "false negative"}


class MistakesPart:
    """A reference, a button that becomes Cancel while it runs, tables of agreement and of mistakes, and a button that explains one.

    Args:
        state: Of the panel.
        explain: Explains what is chosen.
    """

    def __init__(self, state: State, explain: Callable[[], None]) -> None:
        self._state, self._explain = state, explain
        ui = state.ui
        self._text, self._tip = ui.compareButton.text, ui.compareButton.toolTip
        self._explain_tip = ui.explainMistakeButton.toolTip
        self._shown: Comparison | None = None
        ui.compareButton.connect("clicked(bool)", lambda _checked: self._clicked())
        ui.mistakeTable.connect("itemSelectionChanged()", self._selected)
        ui.explainMistakeButton.connect("clicked(bool)", lambda _checked: self._explain_selected())

    def refresh(self) -> None:
        """Show what is known of the chosen reference, and say what is missing."""
        state, ui, parameters = self._state, self._state.ui, self._state.parameters
        running = state.work.name == NAME
        reason = why_not_segment(state) or ("" if parameters.reference is not None else _("Choose a reference."))
        ui.compareButton.text = _("Cancel") if running else self._text
        ui.compareButton.enabled = running or not (reason or state.work.name)
        ui.compareButton.toolTip = reason or self._tip
        ui.mistakesReason.text = reason
        ui.mistakesReason.visible = bool(reason)
        found = state.comparison
        if found != self._shown:
            self._shown = found
            self._show(found)
        for table, rows in (
            (ui.agreementTable, found and found.agreements),
            (ui.mistakeTable, found and found.mistakes),
        ):
            table.visible = bool(rows)
        with silent(ui.mistakeTable):
            if parameters.pixelSet == MISTAKE and 0 <= parameters.mistake < ui.mistakeTable.rowCount:
                ui.mistakeTable.selectRow(parameters.mistake)
            else:
                ui.mistakeTable.clearSelection()
        why = why_not_explain(state) if parameters.pixelSet == MISTAKE else _("Click a mistake in the list.")
        ui.explainMistakeButton.visible = bool(found and found.mistakes)
        ui.explainMistakeButton.enabled = not (why or state.work.name)
        ui.explainMistakeButton.toolTip = why or self._explain_tip

    def _show(self, found: Comparison | None) -> None:
        ui = self._state.ui
        agreements = () if found is None else found.agreements
        titles = [_("Segment"), _("Dice"), "mm", "ml", _("ref. ml")]
        fill_table(ui.agreementTable, titles, [_agreement_row(one) for one in agreements])
        tip_rows(ui.agreementTable, [_agreement_words(one) for one in agreements])
        mistakes = () if found is None else found.mistakes
        rows = [[_kind(one), one.segment, number(one.volume_ml)] for one in mistakes]
        fill_table(ui.mistakeTable, [_("Mistake"), _("Segment"), "ml"], rows)
        tip_rows(ui.mistakeTable, [mistake_words(one) for one in mistakes])
        left = 0 if found is None else found.mistakes_left_out
        none = found is not None and not mistakes
        ui.mistakesLeft.text = (
            _("There are no mistakes.") if none else _("{count} smaller ones are not listed.").format(count=left)
        )
        ui.mistakesLeft.visible = bool(left) or none

    def _clicked(self) -> None:
        state, parameters = self._state, self._state.parameters
        if state.work.name == NAME:
            state.work.cancel()
            return
        volumes = [one for one in state.volumes if one is not None]
        reference, model = parameters.reference, state.model_path
        options, asked = segment_options(state), [state.label] if state.label else []
        state.work.start(
            NAME,
            lambda **callbacks: compare_with(
                state.logic.explainer,
                volumes[0],
                model,
                reference,
                options,
                further=volumes[1:],
                segments=asked,
                **callbacks,
            ),
            self._compared,
            (*volumes, reference),
        )

    def _compared(self, found: Comparison) -> None:
        self._state.work.say(comparison_words(found.agreements))

    def _selected(self) -> None:
        """Move the views to a mistake, and make it what is explained."""
        state, parameters, row = self._state, self._state.parameters, self._state.ui.mistakeTable.currentRow()
        found = None if parameters is None else state.comparison
        if found is None or not 0 <= row < len(found.mistakes):
            return
        mistake = found.mistakes[row]
        jump_slices(slicer.mrmlScene, to_world(parameters.inputVolume, np.array(mistake.point_ras_mm)))
        self._choose_segment(mistake.segment)
        parameters.mistake = row
        parameters.pixelSet = MISTAKE

    def _choose_segment(self, name: str) -> None:
        """The segment of the list that the model calls so."""
        state, parameters = self._state, self._state.parameters
        if state.label == name:
            return
        node = parameters.segmentation
        listed = {one: one for one in state.labels}
        if node is not None:
            listed = {node.GetSegmentation().GetSegment(one).GetName().casefold(): one for one in segment_ids(node)}
        chosen = listed.get(name) or listed.get(name.casefold())
        if chosen is not None:
            parameters.segmentId = chosen

    def _explain_selected(self) -> None:
        self._explain()


def _kind(one: Mistake) -> str:
    kind = _(KINDS[one.mistake])
    return _("{kind}, on its own").format(kind=kind) if one.is_separate else kind


def mistake_words(one: Mistake) -> str:
    """All that is known of a mistake."""
    where = place(one.point_ras_mm)
    lines = [_("{ml} ml at {place}").format(ml=number(one.volume_ml), place=where)]
    if one.mistake == "false-positive":
        lines.append(
            _("The model segments {segment}, the reference has {other}.").format(segment=one.segment, other=one.instead)
        )
    else:
        lines.append(
            _("The reference has {segment}, the model segments {other}.").format(segment=one.segment, other=one.instead)
        )
    if one.is_separate:
        lines.append(_("On its own: it touches nothing that both have, so it is not a border that runs elsewhere."))
    return "\n".join(lines)


def _agreement_row(one: Agreement) -> list[str]:
    distance = "" if one.mean_surface_distance_mm is None else f"{one.mean_surface_distance_mm:.2f}"
    return [
        one.segment,
        "" if one.dice is None else f"{one.dice:.2f}",
        distance,
        number(one.volume_ml, 4),
        number(one.reference_ml, 4),
    ]


def _agreement_words(one: Agreement) -> str:
    if one.mean_surface_distance_mm is None or one.hausdorff_95_mm is None:
        return _("{segment}: one of both is empty.").format(segment=one.segment)
    return _("{segment}: mean surface distance {mean} mm, 95 % Hausdorff distance {most} mm").format(
        segment=one.segment, mean=f"{one.mean_surface_distance_mm:.2f}", most=f"{one.hausdorff_95_mm:.2f}"
    )


def comparison_words(agreements: Sequence[Agreement]) -> str:
    """For people: "Compared with the reference: kidney Dice 0.96, tumour Dice 0.81."."""
    each = [f"{one.segment} Dice {one.dice:.2f}" for one in agreements if one.dice is not None]
    return _("Compared with the reference: {dice}.").format(dice=", ".join(each) or _("nothing to compare"))
