"""Charts as SVG inside a page: strips of points with intervals, and bars. Nothing in them is run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from SegHiResCAMLib.pages.self_contained import text

WIDTH, LEFT, RIGHT, ROW = 640, 210, 60, 26
TICKS = 5
"""Intervals between the numbers of an axis, about."""

STEPS = (1, 2, 2.5, 5, 10)
"""Between numbers of an axis, times a power of ten."""


@dataclass(frozen=True)
class Strip:
    """One row of a strip plot.

    Attributes:
        title: Of the row.
        values: A point for each case.
        names: Of the cases, shown when a point is pointed at.
        mean: Of the values; None for no mark.
        low: Of its interval.
        high: Of its interval.
    """

    title: str
    values: Sequence[float]
    names: Sequence[str]
    mean: float | None = None
    low: float | None = None
    high: float | None = None


def strip_plot(title: str, strips: Sequence[Strip]) -> str:
    """All cases of each row as points, with the mean and its interval above them."""
    every = [value for strip in strips for value in strip.values]
    if not every:
        return ""
    ticks_at = _ticks(every)
    low, high = ticks_at[0], ticks_at[-1]
    scale = (WIDTH - LEFT - RIGHT) / (high - low)
    rows = []
    for number, strip in enumerate(strips):
        y = 14 + ROW * number
        points = "".join(
            f'<circle cx="{LEFT + (value - low) * scale:.1f}" cy="{y + _jitter(index):.1f}" r="3"><title>{text(name)}: {value:.4g}</title></circle>'
            for index, (value, name) in enumerate(zip(strip.values, strip.names, strict=True))
        )
        rows.append(f'<text x="{LEFT - 10}" y="{y + 4}" class="name">{text(_short(strip.title))}</text>{points}')
        if strip.mean is not None:
            x = LEFT + (strip.mean - low) * scale
            ends = [LEFT + (end - low) * scale for end in (strip.low, strip.high) if end is not None]
            line = (
                f'<line x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y}" y2="{y}" class="interval"/>'
                if len(ends) == 2
                else ""
            )
            rows.append(
                f'{line}<path d="M{x:.1f} {y - 7}v14" class="mean"/><text x="{WIDTH - RIGHT + 8}" y="{y + 4}">{strip.mean:.3g}</text>'
            )
    height = 14 + ROW * len(strips) + 22
    ticks = "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{height - 22}" class="grid"/><text x="{x:.1f}" y="{height - 6}" class="tick">{value:.10g}</text>'
        for value in ticks_at
        for x in [LEFT + (value - low) * scale]
    )
    return _figure(title, height, ticks + "".join(rows))


def bar_chart(title: str, counts: Mapping[str, int], total: int) -> str:
    """How many of all cases have something, the most frequent first."""
    if not counts:
        return ""
    scale = (WIDTH - LEFT - RIGHT) / max(total, 1)
    rows = "".join(
        f'<text x="{LEFT - 10}" y="{18 + ROW * number}" class="name">{text(_short(name))}</text>'
        f'<rect x="{LEFT}" y="{6 + ROW * number}" width="{count * scale:.1f}" height="16"/>'
        f'<text x="{LEFT + count * scale + 8:.1f}" y="{18 + ROW * number}">{count} of {total}</text>'
        for number, (name, count) in enumerate(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
    )
    return _figure(title, 10 + ROW * len(counts), rows)


def _figure(title: str, height: int, content: str) -> str:
    drawn = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{text(title)}">{content}</svg>'
    return f"<figure><figcaption>{text(title)}</figcaption>{drawn}</figure>"


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers that hold all values between them: shares are shown from 0 to 1, whatever else around the lowest and the highest value."""
    low, high = min(values), max(values)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif not high > low:
        low, high = low - 1, high + 1
    wanted = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next(one * power for one in STEPS if one * power >= wanted * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(number * step, digits) for number in range(first, last + 1)]


def _jitter(index: int) -> float:
    """Up and down in a fixed pattern, so that points of equal value stay apart."""
    return 5.0 * (((index * 7) % 5) - 2) / 2


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"{name[:29]}…"
