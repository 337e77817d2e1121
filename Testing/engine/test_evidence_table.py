"""The table of all methods: medians over cases, intervals only where there are enough, and what could not be measured said."""

from __future__ import annotations

import re
from typing import Any

import pytest
from evidence_table.figures_of_evidence import table

TITLES = {"a": "Method A", "b": "Method B"}


def a_result(deletion: float, p: float | None = 0.05) -> dict[str, Any]:
    removal = {"p": p, "at": 1, "insertion": [0, 0.9], "deletion": [0, deletion]}
    noise, weights = {"changes": [0.1, 0.3]}, {"similarities": [0.9, 0.25]}
    return {"score_explained": 0.5, "check": {"removal": removal, "weights": weights, "noise": noise}}


def row(text: str, title: str) -> list[str]:
    return next([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if title in line)


def test_one_case_has_its_numbers_and_no_interval() -> None:
    found = table({"spleen-abdomen-ct--a": a_result(0.2)}, TITLES)
    assert "### Spleen network" in found
    assert row(found, "Method A") == ["Method A", "1", "50 %", "0.70", "1 of 1", "0.25", "20 %"]
    assert "Method B" not in found


def test_several_cases_have_a_median_and_an_interval_that_holds_it() -> None:
    results = {f"tumour-phantom-{number}--a": a_result(number / 20, 0.05 * (1 + number % 2)) for number in range(20)}
    cells = row(table(results, TITLES), "Method A")
    assert cells[1] == "20"
    assert cells[4] == "10 of 20"
    median, low, high = (float(one) for one in re.findall(r"-?\d+\.\d+", cells[3]))
    assert median == pytest.approx(0.9 - 9.5 / 20, abs=0.01)
    assert low < median < high


def test_what_was_not_measurable_or_left_out_is_counted() -> None:
    results = {"x--a": a_result(0.2), "y--a": a_result(0.2, None), "x--b": {"left_out": "It does not suit."}}
    found = table(results, TITLES)
    assert row(found, "Method A")[1] == "2 (1 measurable)"
    assert row(found, "Method B")[1] == "0"
