"""In section 4: how far to believe a heat map. A button that checks it, and what was found, a line each."""

from __future__ import annotations

from html import escape
from typing import Any

from slicer.i18n import tr as _

from SegHiResCAMLib.logic.asked_again import volumes_of
from SegHiResCAMLib.logic.check import check_heatmap
from SegHiResCAMLib.panel.reasons import why_not_ask_again
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.records.check_lines import PAGE, CheckLine, check_lines
from SegHiResCAMLib.scene.heatmap import explanation_of

NAME = "check"
LINES = 6

LINK = "#2a82da"
"""Colour of a link: it can be read on a light ground and on a dark one, for which a palette need not have its own."""


class CheckPart:
    """A button that becomes Cancel while it runs, and up to six lines, each with its meaning as tooltip."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._text = state.ui.checkButton.text
        self._tip = state.ui.checkButton.toolTip
        self._labels = [getattr(state.ui, f"checkLine{number}") for number in range(1, LINES + 1)]
        self._shown: tuple[CheckLine, ...] | None = None
        state.ui.checkButton.connect("clicked(bool)", lambda _checked: self._clicked())

    def refresh(self) -> None:
        """Show what is known of the chosen heat map, and say why it cannot be checked."""
        state, ui = self._state, self._state.ui
        heatmap = state.parameters.heatmap
        running = state.work.name == NAME
        reason = why_not_ask_again(state, heatmap)
        ui.checkButton.text = _("Cancel") if running else self._text
        ui.checkButton.enabled = running or not (reason or state.work.name)
        ui.checkButton.toolTip = reason or self._tip
        record = None if heatmap is None else explanation_of(heatmap)
        lines = () if record is None else check_lines(record)
        ui.checkReason.text = reason
        ui.checkReason.visible = bool(reason) and heatmap is not None and not lines
        if lines != self._shown:
            self._shown = lines
            self._show(lines)

    def _show(self, lines: tuple[CheckLine, ...]) -> None:
        for number, label in enumerate(self._labels):
            label.visible = number < len(lines)
            label.text = line_html(lines[number]) if number < len(lines) else ""
            label.toolTip = lines[number].meaning if number < len(lines) else ""

    def _clicked(self) -> None:
        state = self._state
        if state.work.name == NAME:
            state.work.cancel()
            return
        heatmap, model = state.parameters.heatmap, state.model_path
        state.work.start(
            NAME,
            lambda **callbacks: check_heatmap(state.logic.explainer, heatmap, model, **callbacks),
            self._checked,
            (*volumes_of(heatmap), heatmap),
        )

    def _checked(self, record: Any) -> None:
        self._state.work.say(
            _("Checked with {passes} forward passes, seed {seed}: see below the measurements.").format(
                passes=f"{record.check.forward_passes:.0f}", seed=record.check.seed
            )
        )


def line_html(line: CheckLine) -> str:
    """A line as a label shows it; its texts come from files, too, and are never markup."""
    address = f"{PAGE}#{line.section}"
    link = f'<a href="{escape(address)}" style="color: {LINK}">{escape(_("more"))}</a>'
    return f"<b>{escape(line.title)}:</b> {escape(line.text)} {link}"
