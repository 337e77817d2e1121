"""Where slices are missing, or change their distance: in words and millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

MOST_NAMED = 4
"""Places that a message names; a series with more of them is best looked at."""


def described(along: npt.NDArray[np.float64], rounding: float) -> str | None:
    """How the distances between slices differ; None where they do not.

    Args:
        along: Where each slice lies along the scan, ascending, in mm.
        rounding: How far a slice may lie from its place, in mm.

    Returns:
        For example "from slice 3 to 4 of 5 (at -695.0 and -690.0 mm along the scan) it is 5.00 mm, elsewhere 2.50 mm; 1 slice is missing", or
        "slices 1 to 13 are 4.00 mm apart, 13 to 26 7.00 mm".
    """
    gaps = np.diff(along)
    runs = _runs(gaps, 2 * rounding)
    if len(runs) < 2:
        return None
    usual = _usual(gaps, 2 * rounding)
    odd = [(start, stop) for start, stop in runs if abs(gaps[start:stop].mean() - usual) > 2 * rounding]
    if all(stop - start == 1 for start, stop in odd) and 2 * len(odd) <= len(gaps):
        return _single(along, gaps, [start for start, _ in odd], usual, rounding)
    if len(runs) <= MOST_NAMED:
        spans = [f"{start + 1} to {stop + 1}" for start, stop in runs]
        apart = [f"{gaps[start:stop].mean():.2f} mm" for start, stop in runs]
        rest = "".join(f", {span} {gap}" for span, gap in zip(spans[1:], apart[1:], strict=True))
        return f"slices {spans[0]} are {apart[0]} apart{rest}"
    return f"their distances lie between {gaps.min():.2f} and {gaps.max():.2f} mm, most often {usual:.2f} mm"


def _runs(gaps: npt.NDArray[np.float64], rounding: float) -> list[tuple[int, int]]:
    """First and behind the last of neighbouring gaps that are equal."""
    starts = [0]
    for index, gap in enumerate(gaps):
        if abs(gap - gaps[starts[-1]]) > rounding:
            starts.append(index)
    return list(pairwise([*starts, len(gaps)]))


def _usual(gaps: npt.NDArray[np.float64], rounding: float) -> float:
    """The gap that most others equal; of several, the smallest."""
    counts = [int((np.abs(gaps - gap) <= rounding).sum()) for gap in gaps]
    return float(min(gap for gap, count in zip(gaps, counts, strict=True) if count == max(counts)))


def _single(
    along: npt.NDArray[np.float64], gaps: npt.NDArray[np.float64], odd: Sequence[int], usual: float, rounding: float
) -> str:
    """Gaps that stand alone among equal ones."""
    places = [
        f"from slice {k + 1} to {k + 2} of {len(along)} (at {along[k]:.1f} and {along[k + 1]:.1f} mm along the scan) it is {gaps[k]:.2f} mm"
        for k in odd[:MOST_NAMED]
    ]
    more = f", at {len(odd) - MOST_NAMED} more places it differs" if len(odd) > MOST_NAMED else ""
    text = f"{', '.join(places)}{more}, elsewhere {usual:.2f} mm"
    missing = gaps[list(odd)] / usual - 1
    if np.abs(missing - missing.round()).max() * usual <= 2 * rounding and missing.min() > 0.5:
        count = int(missing.round().sum())
        text += f"; {count} slice{' is' if count == 1 else 's are'} missing"
    return text
