"""In section 5: how the score is divided among the images of a model that takes several."""

from __future__ import annotations

from slicer.i18n import tr as _

from SegHiResCAMLib.logic.asked_again import volumes_of
from SegHiResCAMLib.logic.input_images import share_inputs
from SegHiResCAMLib.panel.reasons import why_not_ask_again
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import fill_table, tip_rows
from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.input_shares import InputShare, InputShares
from SegHiResCAMLib.records.wording import number
from SegHiResCAMLib.scene.heatmap import explanation_of

NAME = "input-images"


class InputImagesPart:
    """A button that becomes Cancel while it runs, and a table of the images; there only for models of several images."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._text, self._tip = state.ui.imagesButton.text, state.ui.imagesButton.toolTip
        self._shown: InputShares | None = None
        state.ui.imagesButton.connect("clicked(bool)", lambda _checked: self._clicked())

    def refresh(self) -> None:
        """Show the shares of the chosen heat map, and say why they cannot be computed."""
        state, ui = self._state, self._state.ui
        heatmap, running = state.parameters.heatmap, state.work.name == NAME
        reason = why_not_ask_again(state, heatmap)
        ui.imagesSection.visible = state.model is not None and state.model.in_channels > 1
        ui.imagesButton.text = _("Cancel") if running else self._text
        ui.imagesButton.enabled = running or not (reason or state.work.name)
        ui.imagesButton.toolTip = reason or self._tip
        ui.imagesReason.text = reason
        ui.imagesReason.visible = bool(reason)
        record = None if heatmap is None else explanation_of(heatmap)
        shares = None if record is None else record.input_shares
        ui.imageTable.visible = shares is not None
        if shares != self._shown:
            self._shown = shares
            if shares is not None:
                fill_table(ui.imageTable, [_("Image"), _("Share, %"), _("Score")], [_row(one) for one in shares.inputs])
                tip_rows(ui.imageTable, [image_words(one, shares) for one in shares.inputs])

    def _clicked(self) -> None:
        state = self._state
        if state.work.name == NAME:
            state.work.cancel()
            return
        heatmap, model = state.parameters.heatmap, state.model_path
        if heatmap is None:
            return
        state.work.start(
            NAME,
            lambda **callbacks: share_inputs(state.logic.explainer, heatmap, model, **callbacks),
            self._shared,
            (*volumes_of(heatmap), heatmap),
        )

    def _shared(self, record: ExplanationRecord) -> None:
        if record.input_shares is not None:
            self._state.work.say(
                _("The score was predicted for {count} combinations of the images.").format(
                    count=record.input_shares.predictions
                )
            )


def image_words(one: InputShare, of: InputShares) -> str:
    """All that is known of an image."""
    return _(
        "{name}: score {alone} with this image alone, {without} without it, {all} with all, {none} with none"
    ).format(
        name=one.name,
        alone=number(one.alone, 4),
        without=number(one.without, 4),
        all=number(of.score_all, 4),
        none=number(of.score_none, 4),
    )


def _row(one: InputShare) -> list[str]:
    return [one.name, "" if one.share is None else f"{100 * one.share:.1f}", number(one.value, 4)]
