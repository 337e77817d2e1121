"""What readers have said: a row for each answer, appended to a file of the reader's own, and on the disk before the next case is shown."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from SegHiResCAMLib.naming import case_folder
from SegHiResCAMLib.records.csv_form import csv_cell
from SegHiResCAMLib.review.errors import ReviewError
from SegHiResCAMLib.review.form import ReviewForm
from SegHiResCAMLib.writing.errors import cannot_write
from SegHiResCAMLib.writing.whole_file import make_folder

FOLDER = "reviews"
LARGEST = 2**26


@dataclass(frozen=True)
class RatingFacts:
    """What is kept of an answer beside the answer itself.

    Attributes:
        time: When it was saved: local time with its zone, ISO 8601.
        reader: Who gave it.
        case: That it is about.
        position: Of the case in the reader's order, from 1.
        map: "hidden" or "shown": how the heat map was when the case was opened.
        seconds: From then until the answer was saved.
        seconds_hidden: From then until the reader first saw the map; empty where that never was.
        options: Hash of how the maps were made.
    """

    time: str
    reader: str
    case: str
    position: int
    map: str
    seconds: float
    seconds_hidden: float | None
    options: str


@dataclass(frozen=True)
class AnswerFile:
    """A reader's answers about a study.

    Attributes:
        path: Of the file: a CSV, to which rows are only ever appended. Of several rows about a case, the last one counts.
        form: What is asked.
    """

    path: Path
    form: ReviewForm

    @property
    def columns(self) -> list[str]:
        """Of the file."""
        return [*(one.name for one in fields(RatingFacts)), *(one.name for one in self.form.questions)]

    def read(self) -> dict[str, dict[str, str]]:
        """The last answer about each case, by its name; a row that was torn by a crash is none.

        Raises:
            ReviewError: `answers-unreadable`, `answers-of-another-form`.
        """
        if not self.path.exists():
            return {}
        try:
            with self.path.open("rb") as file:
                content = file.read(LARGEST + 1)
            text = content.decode("utf-8")
            rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""), strict=True))
        except (OSError, ValueError, csv.Error) as problem:
            raise ReviewError(
                "answers-unreadable", f"'{self.path}' cannot be read. Give another name as reader, or move the file."
            ) from problem
        titles = _line([csv_cell(one) for one in self.columns])
        if not content.startswith(titles) and not titles.startswith(content):  # a crash may have torn the titles
            raise ReviewError(
                "answers-of-another-form",
                f"'{self.path}' has answers to other questions. Give another name as reader, or move the file.",
            )
        complete = [dict(zip(self.columns, row, strict=True)) for row in rows[1:] if len(row) == len(self.columns)]
        return {_plain(row["case"]): row for row in complete}

    def append(self, facts: RatingFacts, answers: Mapping[str, str]) -> None:
        """Put an answer on the disk; it is whole there, or not at all for whoever reads it.

        Raises:
            WritingError: It cannot be written.
        """
        row = [_cell(getattr(facts, one.name)) for one in fields(facts)]
        row += [_cell(answers.get(one.name, "")) for one in self.form.questions]
        make_folder(self.path.parent)
        try:
            with self.path.open("r+b" if self.path.exists() else "x+b") as file:
                whole = file.read().rfind(b"\n") + 1
                file.truncate(whole)  # of a row that a crash has torn, nobody was told that it is saved
                file.seek(whole)
                titles = b"" if whole else _line([csv_cell(one) for one in self.columns])
                file.write(titles + _line(row))
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            raise cannot_write(self.path, problem) from problem


def answers_of(folder: Path, reader: str, form: ReviewForm) -> AnswerFile:
    """A reader's file in a study's folder.

    Raises:
        ReviewError: `answers-outside`, it is a link that leads out of the study, as one from a stranger may have.
    """
    path = folder / FOLDER / f"{case_folder(reader)}.csv"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ReviewError(
            "answers-outside",
            f"'{path}' is a link that leads out of the study's folder, so nothing is written there. Remove the link, or give another name as reader.",
        )
    return AnswerFile(path, form)


def _cell(value: object) -> str:
    """One line each, since a torn row is known by its missing end."""
    if value is None:
        return ""
    text = f"{value:.1f}" if isinstance(value, float) else " / ".join(str(value).splitlines())
    return str(csv_cell(text))


def _line(cells: list[str]) -> bytes:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(cells)
    return written.getvalue().encode("utf-8")


def _plain(cell: str) -> str:
    """A text without the apostrophe that keeps a spreadsheet from taking it for a formula."""
    return cell[1:] if cell.startswith("'") and csv_cell(cell[1:]) == cell else cell
