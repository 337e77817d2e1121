"""Tables of cases, as CSV or Parquet: the columns case, image, image_2 .., reference, regions, and any others as groups."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from SegHiResCAMLib.records.study import Case
from SegHiResCAMLib.study.errors import StudyError

TABLES = (".csv", ".tsv", ".txt", ".parquet")
LARGEST = 2**27
"""Bytes of a table: some hundred thousand cases."""

MOST_CELLS = 10**7

_IMAGE = re.compile(r"image(?:_(\d+))?")


def read_table(source: str) -> list[Case]:
    """The cases of a table. Paths in it are relative to its folder; those on standard input to the current one.

    Raises:
        StudyError: `table-unreadable`, `table-columns`, `table-too-large`.
    """
    if source == "-":
        given = sys.stdin.read(LARGEST + 1)
        if len(given) > LARGEST:
            raise _too_large("standard input")
        return _cases(_csv_rows(given.removeprefix("\ufeff"), "standard input"), Path.cwd(), "standard input")
    path = Path(source)
    if path.stat().st_size > LARGEST:
        raise _too_large(f"'{path}'")
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(_text(path), str(path))
    return _cases(rows, path.absolute().parent, str(path))


def _too_large(name: str) -> StudyError:
    return StudyError(
        "table-too-large",
        f"{name} is larger than {LARGEST >> 20} MiB or {MOST_CELLS} cells, and tables of cases are not. Give the table of cases.",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise StudyError(
            "table-unreadable", f"'{path}' cannot be read as a table in UTF-8 ({problem}). Save it as CSV (UTF-8)."
        ) from problem


def _csv_rows(text: str, name: str) -> list[dict[str, str]]:
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        return [
            {key: value for key, value in row.items() if isinstance(key, str) and isinstance(value, str)}
            for row in csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
        ]
    except csv.Error as problem:
        raise StudyError("table-unreadable", f"'{name}' is not a table ({problem}). Save it as CSV.") from problem


def _parquet_rows(path: Path) -> list[dict[str, str]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            if table.metadata.num_rows * table.metadata.num_columns > MOST_CELLS:
                raise _too_large(f"'{path}'")
            rows = table.read().to_pylist()
    except (pyarrow.ArrowException, OSError) as problem:
        raise StudyError("table-unreadable", f"'{path}' cannot be read as Parquet ({problem}).") from problem
    return [{str(key): "" if value is None else str(value) for key, value in row.items()} for row in rows]


def _cases(rows: Sequence[Mapping[str, str]], folder: Path, name: str) -> list[Case]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    images = sorted((key for key in columns if _IMAGE.fullmatch(key.strip().lower())), key=_number)
    by_name = {key.strip().lower(): key for key in columns}
    if rows and ("case" not in by_name or not images):
        given = ", ".join(columns)
        raise StudyError(
            "table-columns",
            f"'{name}' must have the columns 'case' and 'image'; it has {given}. Add a first line that names them.",
        )
    own = {by_name[key] for key in ("case", "reference", "regions") if key in by_name} | set(images)

    def path_of(row: Mapping[str, str], key: str) -> str | None:
        text = row.get(by_name.get(key, ""), "").strip()
        return str(folder / Path(text).expanduser()) if text else None

    return [
        Case(
            name=row.get(by_name["case"], "").strip(),
            images=tuple(str(folder / Path(text).expanduser()) for key in images if (text := row.get(key, "").strip())),
            reference=path_of(row, "reference"),
            regions=path_of(row, "regions"),
            groups={key: row.get(key, "").strip() for key in columns if key not in own},
        )
        for row in rows
    ]


def _number(column: str) -> int:
    found = _IMAGE.fullmatch(column.strip().lower())
    return int(found[1] or 1) if found else 0
