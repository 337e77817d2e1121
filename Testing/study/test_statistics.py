"""Numbers over cases: Holm by its definition, intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from SegHiResCAMLib.study.statistics import holm, paired_differences, summary_of


def test_holm_multiplies_each_p_by_the_number_of_those_not_smaller_and_never_falls() -> None:
    # Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1 raised to what stands before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_intervals_of_the_mean_hold_it_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(3)
    inside = 0
    for _ in range(100):
        summary = summary_of(random.exponential(2.0, size=40))
        assert summary is not None
        assert summary.low is not None
        assert summary.high is not None
        inside += summary.low <= 2.0 <= summary.high
    assert (
        inside >= 85
    )  # 95 of 100 are promised; with 40 skewed values about 93 are held, and 85 are three standard errors below


def test_the_same_cases_give_the_same_interval_and_one_case_gives_none() -> None:
    assert summary_of([0.1, 0.5, 0.9]) == summary_of([0.1, 0.5, 0.9])
    alone = summary_of([0.3])
    assert alone is not None
    assert (alone.mean, alone.low, alone.high) == (0.3, None, None)
    equal = summary_of([0.3, 0.3])
    assert equal is not None
    assert (equal.low, equal.high) == (0.3, 0.3)
    assert summary_of([]) is None


def test_methods_are_compared_case_by_case() -> None:
    first = np.linspace(0.2, 0.8, 12)
    pairs = {
        ("share_inside", "better"): [(one, one + 0.1) for one in first],
        ("share_inside", "same"): [(one, one) for one in first],
    }
    better, same = paired_differences(pairs)
    assert better.difference.mean == pytest.approx(0.1)
    assert better.p == pytest.approx(2 / 2**12)  # the signed ranks are all of one sign
    assert better.adjusted == pytest.approx(2 * better.p)
    assert (same.difference.mean, same.p, same.adjusted) == (0, 1, 1)
