"""Statistics of a study. Cases are the unit: voxels, windows and segments of one case are not independent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 4999
SEED = 20240923
"""So that the same table gives the same intervals."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Of one number over cases.

    Attributes:
        count: Cases that have it.
        mean: Over them.
        low: Of the 95 % interval of the mean, by the bias-corrected and accelerated bootstrap (Efron 1987); None for one case.
        high: The other end.
    """

    count: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Paired:
    """How one method differs from another over the same cases.

    Attributes:
        measure: Name of the number.
        method: That is compared.
        difference: Mean of method minus first method, with its interval.
        p: Of the Wilcoxon signed-rank test, two-sided; 1 where no case differs.
        adjusted: The same by Holm's procedure over all comparisons of the report.
    """

    measure: str
    method: str
    difference: Summary
    p: float
    adjusted: float


def summary_of(values: Sequence[float]) -> Summary | None:
    """Mean and interval; None where there is no value."""
    found = np.asarray(values, float)
    if not len(found):
        return None
    mean = float(found.mean())
    if len(found) == 1:
        return Summary(1, mean, None, None)
    if np.ptp(found) == 0:
        return Summary(len(found), mean, mean, mean)
    interval = stats.bootstrap(
        (found,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="BCa", random_state=SEED
    ).confidence_interval
    return Summary(len(found), mean, float(interval.low), float(interval.high))


def paired_differences(pairs: Mapping[tuple[str, str], Sequence[tuple[float, float]]]) -> list[Paired]:
    """Compare methods with the first one.

    Args:
        pairs: By measure and method: for each case that has both, the first method's value and this one's.
    """
    found = []
    for (measure, method), values in pairs.items():
        differences = [other - first for first, other in values]
        summary = summary_of(differences)
        if summary is not None and summary.count > 1:
            p = float(stats.wilcoxon(differences).pvalue) if any(differences) else 1.0
            found.append((measure, method, summary, p))
    adjusted = holm([p for *_, p in found])
    return [Paired(*one, after) for one, after in zip(found, adjusted, strict=True)]


def holm(values: Sequence[float]) -> list[float]:
    """P values adjusted by Holm's step-down procedure (1979): the family's error stays below the level whatever depends on what."""
    order = np.argsort(values, kind="stable")
    found = np.empty(len(values))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        found[index] = highest
    return [float(one) for one in found]
