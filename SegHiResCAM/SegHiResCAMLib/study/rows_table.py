"""The table of a study, a row a case: as CSV for people and as Parquet for programs. The same results give the same bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from SegHiResCAMLib.records.csv_form import csv_cell
from SegHiResCAMLib.records.study import CaseOutcome, Cell, ListedCase
from SegHiResCAMLib.study.study_folder import StudyState
from SegHiResCAMLib.writing.whole_file import whole_file, write_text


def rows_of(state: StudyState) -> list[dict[str, Cell]]:
    """A row for each case that was computed, in the order of the study's table."""
    outcomes, columns = state.outcomes, group_columns(state)
    return [_row(one, outcomes[one.name], columns) for one in state.cases if one.name in outcomes]


def group_columns(state: StudyState) -> dict[str, str]:
    """The column of each further column of the user's table: its name, unless the study has a column of that name."""
    own = {"case", "status", "message"}.union(*(one.row for one in state.outcomes.values()))
    names = dict.fromkeys(name for case in state.cases for name in case.groups)
    return {name: f"{name} (table)" if name in own else name for name in names}


def columns_of(rows: Sequence[dict[str, Cell]]) -> list[str]:
    """All columns, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name in row))


def write_table(rows: Sequence[dict[str, Cell]], path: Path) -> list[Path]:
    """Write a table as CSV and as Parquet.

    Args:
        rows: Cells by column; a row need not have all columns.
        path: Without an ending.

    Returns:
        The two files.

    Raises:
        WritingError: They cannot be written.
    """
    columns = columns_of(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writerow({name: csv_cell(name) for name in columns})
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    files = [path.with_name(f"{path.name}{ending}") for ending in (".csv", ".parquet")]
    write_text(files[0], text.getvalue())
    _write_parquet(rows, columns, files[1])
    return files


def _write_parquet(rows: Sequence[dict[str, Cell]], columns: Iterable[str], path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    arrays = {name: _array([row.get(name) for row in rows]) for name in columns}
    with whole_file(path) as beside:
        pyarrow.parquet.write_table(
            pyarrow.table({name: pyarrow.array(values) for name, values in arrays.items()}), beside
        )


def _array(values: list[Cell]) -> list[Cell]:
    """Values of one type: whole numbers among others are floats, and anything mixed with text is text."""
    kinds = {type(one) for one in values if one is not None}
    if kinds <= {int, float} and float in kinds:
        return [None if one is None else float(one) for one in values]
    return values if len(kinds) <= 1 else [None if one is None else str(one) for one in values]


def _row(listed: ListedCase, outcome: CaseOutcome, columns: Mapping[str, str]) -> dict[str, Cell]:
    groups = {columns[name]: value for name, value in listed.groups.items()}
    return {"case": listed.name, **groups, "status": outcome.status, "message": outcome.message, **outcome.row}


def _plain(value: Cell) -> Cell:
    """A cell of a CSV."""
    return str(value).lower() if isinstance(value, bool) else csv_cell(value)
