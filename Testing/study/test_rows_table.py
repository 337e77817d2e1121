"""The table of a study: names in it are text, and the user's own columns are kept."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet

from SegHiResCAMLib.records.study import CaseOutcome, ListedCase
from SegHiResCAMLib.study.rows_table import group_columns, rows_of, write_table
from SegHiResCAMLib.study.study_folder import StudyState

FORMULA = '=HYPERLINK("http://example.org")'


def a_state() -> StudyState:
    cases = (
        ListedCase(name=FORMULA, groups={"peak": "high", FORMULA: "x", "status": "stage II"}),
        ListedCase(name="b", groups={"peak": "low", FORMULA: "@y", "status": "stage I"}),
    )
    outcomes = {
        one.name: CaseOutcome(case=one.name, status="done", row={"peak": -0.5, "is_whole": True}) for one in cases
    }
    return StudyState(cases, outcomes, {}, ())


def test_the_users_columns_stand_beside_those_of_the_study(tmp_path: Path) -> None:
    state = a_state()
    assert group_columns(state) == {"peak": "peak (table)", FORMULA: FORMULA, "status": "status (table)"}
    first, second = rows_of(state)
    assert (first["peak"], first["peak (table)"], first["status"], first["status (table)"]) == (
        -0.5, "high", "done", "stage II",
    )  # fmt: skip
    assert list(first) == list(second)


def test_no_text_is_a_formula_for_a_spreadsheet_and_numbers_stay_numbers(tmp_path: Path) -> None:
    files = write_table(rows_of(a_state()), tmp_path / "cases")
    with files[0].open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert not [cell for cell in [*header, rows[0][0]] if cell.startswith("=")]
    assert f"'{FORMULA}" in header
    assert rows[0][0] == f"'{FORMULA}"
    assert "'@y" in rows[1]
    assert rows[0][header.index("peak")] == "-0.5"
    assert rows[0][header.index("is_whole")] == "true"
    assert pyarrow.parquet.read_table(files[1]).column("case").to_pylist() == [FORMULA, "b"]  # for programs
