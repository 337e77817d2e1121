"""Records as a CSV table: a column a field, a row a record, as spreadsheets and statistics programs read it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from SegHiResCAMLib.records.json_form import to_json, written_fields

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins so is a formula for a spreadsheet; names come from files."""


def records_csv(records: Sequence[Any]) -> str:
    """A header and a row for each of some records of one type, whose fields are texts and numbers; None is an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    names = [one.name for one in written_fields(records[0])]
    rows.writerow(names)
    rows.writerows([[csv_cell(to_json(getattr(one, name))) for name in names] for one in records])
    return written.getvalue()


def csv_cell(value: Any) -> Any:
    """A value as a table may hold it: an apostrophe goes before a text that a spreadsheet would take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
