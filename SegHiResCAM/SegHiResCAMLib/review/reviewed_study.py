"""A study's cases as a reader meets them: those that have a scene, with the columns of the table, in a seeded order."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from SegHiResCAMLib.naming import case_folder
from SegHiResCAMLib.records.json_form import from_json
from SegHiResCAMLib.records.study import StudyRun
from SegHiResCAMLib.review.errors import ReviewError

RUN, TABLE, CASES, SCENE = "run.json", "cases.csv", "cases", "scene.mrb"
LARGEST = 2**27
"""Bytes of a study's table or run: some hundred thousand cases."""


MOST_CELLS = 10**6
"""Of a table: some thousand cases with all their columns."""


@dataclass(frozen=True)
class ReviewCase:
    """A case that can be looked at.

    Attributes:
        name: Of the case.
        scene: Its image, segmentation and heat map, as `seghirescam explain` saves them.
        cells: Of its row, in the order of the columns.
    """

    name: str
    scene: Path
    cells: tuple[str, ...]


@dataclass(frozen=True)
class ReviewedStudy:
    """A study that is opened for review.

    Attributes:
        folder: Of the study.
        segments: That its heat maps explain, for people.
        options: Hash of how the maps were made; an answer is about maps of these options.
        columns: Of the table.
        cases: Those with a scene, in the order of the table.
        left_out: How many others there are.
    """

    folder: Path
    segments: str
    options: str
    columns: tuple[str, ...]
    cases: tuple[ReviewCase, ...]
    left_out: int


def open_study(folder: Path) -> ReviewedStudy:
    """The study in a folder.

    Raises:
        ReviewError: `study-missing`, `study-damaged`, `study-too-large`, `study-without-scenes`.
    """
    if not (folder / RUN).is_file():
        raise ReviewError(
            "study-missing",
            f"'{folder}' holds no study (no {RUN}). Choose the folder that 'seghirescam cohort' has written; parts are put together by 'seghirescam cohort merge'.",
        )
    try:
        run = from_json(StudyRun, json.loads(_text(folder / RUN)))
        rows = list(csv.DictReader(_text(folder / TABLE).splitlines(keepends=True)))
    except (OSError, ValueError, RecursionError, csv.Error) as problem:
        raise ReviewError(
            "study-damaged",
            f"The study in '{folder}' cannot be read ({RUN}, {TABLE}). Run 'seghirescam cohort' once more.",
        ) from problem
    columns = tuple(one for one in rows[0] if isinstance(one, str)) if rows else ()
    if len(columns) * len(rows) > MOST_CELLS:
        raise ReviewError(
            "study-too-large",
            f"The table of '{folder}' has {len(rows)} rows and {len(columns)} columns, more than a panel can show. Review a part of the study.",
        )
    cases = [_case(folder, row, columns) for row in rows if row.get("case")]
    there = tuple(one for one in cases if one.scene.is_file())
    if not there:
        raise ReviewError(
            "study-without-scenes",
            f"No case of '{folder}' has a scene to look at ({CASES}/.../{SCENE}). Run 'seghirescam cohort' where the packages for scenes are installed (extra 'scene').",
        )
    return ReviewedStudy(folder, ", ".join(run.job.segments), run.options, columns, there, len(cases) - len(there))


def in_order(cases: Iterable[ReviewCase], seed: int) -> list[ReviewCase]:
    """The cases in an order that anyone can make again: by the hash of seed and name; as they are for 0."""
    if not seed:
        return list(cases)
    return sorted(cases, key=lambda one: hashlib.sha256(f"{seed}\0{one.name}".encode()).digest())


def _case(folder: Path, row: dict[str, str], columns: tuple[str, ...]) -> ReviewCase:
    name = row["case"]
    own = folder / CASES / case_folder(name)
    scenes = [own / SCENE, *sorted(own.glob(f"*/{SCENE}"))]  # several segments have a folder each
    scene = next((one for one in scenes if one.is_file()), scenes[0])
    return ReviewCase(name, scene, tuple(str(row.get(column) or "") for column in columns))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(path.name)
    return content.decode("utf-8")
