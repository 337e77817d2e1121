"""The table of all methods: medians over cases, with bootstrap intervals where there are several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

DRAWS = 2000
FEWEST = 5
"""Cases from which on an interval is given."""

COLUMNS = (
    "method", "cases", "score explained", "insertion minus deletion", "p at most 0.05", "similarity, weights drawn again", "change under noise",
)  # fmt: skip

GROUPS = {"kidney-abdomen-ct": "Kidney, KiTS19 network", "spleen-abdomen-ct": "Spleen network"}
"""By the start of a case's name; all others are phantoms."""


def table(found: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """One table for each group of cases.

    Args:
        found: By "case--method", what `run.py` measured.
        titles: Of the methods.
    """
    groups: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for key, value in found.items():
        case, _, method = key.partition("--")
        group = GROUPS.get(case, "Tumours of phantoms, 3D network")
        groups.setdefault(group, {}).setdefault(method, []).append(value)
    written = []
    for group, methods in groups.items():
        lines = [COLUMNS, ["---"] * len(COLUMNS)]
        lines += [_row(titles[name], methods[name]) for name in titles if name in methods]
        written.append(f"### {group}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    return "\n".join(written)


def _row(title: str, cases: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    measured = [one for one in cases if "left_out" not in one]
    if not measured:
        return (title, "0", *[""] * (len(COLUMNS) - 2))
    removal = [one["check"]["removal"] for one in measured]
    tested = [one for one in removal if one["p"] is not None]
    count = f"{len(measured)}" + ("" if len(tested) == len(measured) else f" ({len(tested)} measurable)")
    ranks = "" if not tested else f"{sum(one['p'] <= 0.05 for one in tested)} of {len(tested)}"
    return (
        title,
        count,
        _interval([one["score_explained"] for one in measured], lambda value: f"{100 * value:.0f} %"),
        _interval([one["insertion"][one["at"]] - one["deletion"][one["at"]] for one in tested], "{:.2f}".format),
        ranks,
        _interval([_last(one["check"]["weights"]) for one in measured], "{:.2f}".format),
        _interval([_mean(one["check"]["noise"]) for one in measured], lambda value: f"{100 * value:.0f} %"),
    )


def _last(weights: Mapping[str, Any] | None) -> float | None:
    return None if weights is None else weights["similarities"][-1]


def _mean(noise: Mapping[str, Any] | None) -> float | None:
    return None if noise is None else float(np.mean(noise["changes"]))


def _interval(values: Sequence[float | None], form: Callable[[float], str]) -> str:
    """The median, and from five cases on the interval from the 2.5th to the 97.5th percentile of medians of cases drawn with replacement."""
    there = np.array([one for one in values if one is not None], float)
    if not len(there):
        return ""
    text = form(float(np.median(there)))
    if len(there) < FEWEST:
        return text
    draws = np.random.default_rng(0).choice(there, (DRAWS, len(there)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return f"{text} ({form(float(low))} to {form(float(high))})"
