"""The cases of an input, whatever form it has, and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from SegHiResCAMLib.records.study import Case
from SegHiResCAMLib.study.case_table import TABLES, read_table
from SegHiResCAMLib.study.errors import StudyError
from SegHiResCAMLib.study.hashed_names import with_hashed_name
from SegHiResCAMLib.study.layouts import LAYOUTS


@dataclass(frozen=True)
class FoundCases:
    """What an input holds.

    Attributes:
        layout: As what it was recognised, for people.
        cases: In their order.
        problems: What is wrong with single cases, by their names.
    """

    layout: str
    cases: tuple[Case, ...]
    problems: dict[str, str]


def find_cases(source: str, key: bytes | None = None) -> FoundCases:
    """The cases of a table, or of a folder in one of the known layouts.

    Args:
        source: Path of a CSV or Parquet file or of a folder; "-" for CSV on standard input.
        key: That their names are hashed with; None to leave them as they are.

    Raises:
        StudyError: `cases-missing`, `cases-unknown`, `cases-none`, `case-twice`, and those of the readers.
        EngineError: A DICOM folder cannot be read.
    """
    path = Path(source)
    if source != "-" and not path.exists():
        raise StudyError(
            "cases-missing", f"'{source}' does not exist. Give a table (CSV, Parquet) or a folder of cases."
        )
    layout, cases = _of_folder(path) if path.is_dir() else ("table", read_table(source))
    if not cases:
        raise StudyError("cases-none", f"'{source}' holds no case ({layout}).")
    _check_names(cases, hidden=key is not None)
    if key is not None:
        cases = [with_hashed_name(one, key) for one in cases]
    return FoundCases(layout, tuple(cases), {one.name: text for one in cases if (text := problem_of(one))})


def problem_of(case: Case) -> str:
    """What is wrong with a case before anything is read; empty where nothing is."""
    missing = [one for one in case.files if not Path(one).exists()]
    if not case.images:
        return "No image is given."
    if missing:
        shown = "A file of it" if case.is_hashed else f"'{missing[0]}'"
        return f"{shown} does not exist."
    return ""


def part_of(cases: Sequence[Case], part: tuple[int, int]) -> list[Case]:
    """The cases of one part of several: by a hash of their names, so that a further case moves no other one."""
    number, parts = part
    return [one for one in cases if int(hashlib.sha256(one.name.encode()).hexdigest(), 16) % parts == number - 1]


def _of_folder(folder: Path) -> tuple[str, list[Case]]:
    for layout in LAYOUTS:
        if layout.recognises(folder):
            return layout.title, layout.cases(folder)
    known = "; ".join(f"{layout.title} ({layout.form})" for layout in LAYOUTS)
    tables = ", ".join(TABLES)
    raise StudyError(
        "cases-unknown",
        f"'{folder}' has none of the layouts that are recognised: {known}. Or give a table ({tables}) with the columns case and image.",
    )


def _check_names(cases: Sequence[Case], *, hidden: bool) -> None:
    seen: dict[str, int] = {}
    for number, case in enumerate(cases):
        if not case.name.strip():
            raise StudyError("case-twice", "A case has no name. Give each case a name of its own in the column 'case'.")
        first = seen.setdefault(case.name.casefold(), number)
        if first != number:
            other = cases[first].name
            alike = "" if other == case.name else f" and '{other}', which some file systems take for one name"
            which = (
                f"Cases {first + 1} and {number + 1} have the same name"
                if hidden
                else f"Two cases are called '{case.name}'{alike}"
            )
            raise StudyError("case-twice", f"{which}. Give each case a name of its own in the column 'case'.")
