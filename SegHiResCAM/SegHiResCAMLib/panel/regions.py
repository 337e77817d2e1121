"""In section 5: which regions the evidence lies in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slicer.i18n import tr as _

from SegHiResCAMLib.logic.asked_again import volumes_of
from SegHiResCAMLib.logic.regions import measure_regions
from SegHiResCAMLib.panel.reasons import why_not_ask_again
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import fill_table, tip_rows
from SegHiResCAMLib.records.region_shares import RegionShare, by_share
from SegHiResCAMLib.records.wording import number
from SegHiResCAMLib.scene.heatmap import explanation_of

NAME = "regions"


class RegionsPart:
    """A segmentation, a button that becomes Cancel while it runs, and a table of shares, the largest first."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._text, self._tip = state.ui.regionsButton.text, state.ui.regionsButton.toolTip
        self._shown: tuple[RegionShare, ...] | None = None
        state.ui.regionsButton.connect("clicked(bool)", lambda _checked: self._clicked())

    def refresh(self) -> None:
        """Show the shares of the chosen heat map, and say why they cannot be measured."""
        state, ui = self._state, self._state.ui
        heatmap, running = state.parameters.heatmap, state.work.name == NAME
        reason = why_not_ask_again(state, heatmap)
        ui.regionsButton.text = _("Cancel") if running else self._text
        ui.regionsButton.enabled = running or not (reason or state.work.name)
        ui.regionsButton.toolTip = reason or self._tip
        ui.regionsReason.text = reason
        ui.regionsReason.visible = bool(reason)
        record = None if heatmap is None else explanation_of(heatmap)
        regions = () if record is None else record.regions
        ui.regionTable.visible = bool(regions)
        if regions != self._shown:
            self._shown = regions
            fill_regions(ui.regionTable, regions)

    def _clicked(self) -> None:
        state, parameters = self._state, self._state.parameters
        if state.work.name == NAME:
            state.work.cancel()
            return
        heatmap, chosen, model = parameters.heatmap, parameters.regions, state.model_path
        about = (*volumes_of(heatmap), heatmap, *filter(None, [chosen]))
        state.work.start(
            NAME,
            lambda **callbacks: measure_regions(state.logic.explainer, heatmap, model, chosen, **callbacks),
            lambda record: state.work.say(
                _("Most of the evidence: {share}.").format(share=largest_share(record.regions))
            ),
            about,
        )


def fill_regions(table: Any, regions: Sequence[RegionShare]) -> None:
    """A row for each part of the volume, the regions with the most evidence first."""
    ranked = by_share(regions)
    rows = [
        [
            one.name,
            _percent(one.positive),
            _percent(one.negative),
            "" if one.enrichment is None else number(one.enrichment),
        ]
        for one in ranked
    ]
    fill_table(table, [_("Region"), "+ %", "− %", _("× volume")], rows)
    tip_rows(table, [share_words(one) for one in ranked])


def largest_share(regions: Sequence[RegionShare]) -> str:
    """For people: "48 % in the tumour"; empty where nothing was measured."""
    measured = [one for one in regions if one.positive is not None]
    if not measured:
        return ""
    most = max(measured, key=lambda one: one.positive or 0.0)
    name = _("in the {region}").format(region=most.name) if most.part == "region" else most.name
    return f"{100 * (most.positive or 0.0):.0f} % {name}"


def share_words(one: RegionShare) -> str:
    """All that is known of a part of the volume."""
    lines = [
        _("{name}: {ml} ml, {share} % of the volume").format(
            name=one.name, ml=number(one.volume_ml), share=_percent(one.share_of_volume)
        )
    ]
    for title, inside, near, around in (
        (_("Positive evidence"), one.positive, one.positive_within_5_mm, one.positive_within_10_mm),
        (_("Negative evidence"), one.negative, one.negative_within_5_mm, one.negative_within_10_mm),
    ):
        if inside is not None and near is not None and around is not None:
            lines.append(
                _("{title}: {inside} % in it, {near} % up to 5 mm away as well, {around} % up to 10 mm").format(
                    title=title, inside=_percent(inside), near=_percent(near), around=_percent(around)
                )
            )
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
