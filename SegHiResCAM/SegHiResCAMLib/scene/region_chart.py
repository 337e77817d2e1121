"""The bars that say in a picture which regions a heat map's evidence lies in."""

from __future__ import annotations

from collections.abc import Sequence

from SegHiResCAMLib.records.region_shares import RegionShare, by_share
from SegHiResCAMLib.records.wording import number
from SegHiResCAMLib.scene.canvas import BRIGHT, DIM, Canvas

ROW, BAR, HEAD = 24, 12, 34  # pixels: of a row, of its bar, above the first row
NAME, NUMBERS = 240, 380  # pixels on the left and the right of the bars
LETTERS = 34
MOST = 12
"""Rows; what the others have is in the files."""

POSITIVE, NEGATIVE = "#f98e09", "#6ca6e0"


def chart_height(regions: Sequence[RegionShare]) -> int:
    """Pixels that the chart needs; 0 where there is nothing to show."""
    return HEAD + ROW * len(_shown(regions)) + 24 if regions else 0


def draw_chart(page: Canvas, regions: Sequence[RegionShare], left: int, top: int, width: int) -> None:
    """Draw a bar for the share of the positive evidence in each region, a thin one for the negative, and a tick where a uniform map would end."""
    if not regions:
        return
    top += 14
    start, length = left + NAME, width - NAME - NUMBERS
    page.text(left, top + 12, "Where the evidence lies", 14, weight="bold")
    page.text(start, top + 12, "share of the positive evidence", 13, POSITIVE)
    page.text(start + 210, top + 12, "of the negative", 13, NEGATIVE)
    page.text(start + 330, top + 12, "| of the volume", 13, BRIGHT)
    longest = max(max(one.positive or 0.0, one.negative or 0.0) for one in regions) or 1.0
    for row, one in enumerate(_shown(regions)):
        middle = top + HEAD + ROW * row + ROW // 2
        name = one.name if len(one.name) <= LETTERS else f"{one.name[: LETTERS - 1]}…"
        page.text(left, middle, name, 13)
        page.bar((start, middle - BAR // 2), length * (one.positive or 0.0) / longest, BAR - 4, POSITIVE)
        page.bar((start, middle + BAR // 2 - 3), length * (one.negative or 0.0) / longest, 3, NEGATIVE)
        if one.share_of_volume <= longest:
            page.bar((start + length * one.share_of_volume / longest, middle - BAR // 2 - 2), 2, BAR + 4, BRIGHT)
        page.text(start + length + 16, middle, _numbers(one), 13, DIM)


def _shown(regions: Sequence[RegionShare]) -> list[RegionShare]:
    """The regions with the most evidence first, then the shells and the rest."""
    ranked = by_share(regions)
    others = sum(one.part != "region" for one in ranked)
    return [*ranked[: len(ranked) - others][: MOST - others], *ranked[len(ranked) - others :]]


def _numbers(one: RegionShare) -> str:
    def percent(share: float | None) -> str:
        return "–" if share is None else f"{100 * share:.1f} %"

    enriched = "" if one.enrichment is None else f",  {number(one.enrichment)} × its share of the volume"
    return f"+ {percent(one.positive)},  − {percent(one.negative)}{enriched}"
