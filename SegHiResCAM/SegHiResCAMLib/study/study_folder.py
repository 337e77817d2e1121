"""The folder of a study: where its files lie, which cases are in it, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from SegHiResCAMLib.naming import case_folder
from SegHiResCAMLib.records.json_form import from_json, to_json
from SegHiResCAMLib.records.study import CaseOutcome, ListedCase, StudyRun
from SegHiResCAMLib.study.errors import StudyError
from SegHiResCAMLib.writing.commit import FACTS

CASES, OUTCOME, TABLE, RUN = "cases", "case.json", "cases", "run"
LARGEST = 2**26
"""Bytes of a JSON file of a study."""


@dataclass(frozen=True)
class Study:
    """A folder that a study is in, or will be.

    Attributes:
        folder: Its path.
    """

    folder: Path

    def folder_of(self, case: str) -> Path:
        """Where a case's results lie."""
        return self.folder / CASES / case_folder(case)

    def outcome(self, case: str) -> CaseOutcome | None:
        """What became of a case; None where it was not computed, or its file is not one of this program's."""
        text = small_text(self.folder_of(case) / OUTCOME)
        try:
            found = None if text is None else from_json(CaseOutcome, json.loads(text))
        except (ValueError, RecursionError):
            return None
        return found if found is not None and found.case == case else None

    def is_whole(self, outcome: CaseOutcome) -> bool:
        """Whether a case has results, and all of their files are there."""
        files = _listed(self.folder_of(outcome.case)) if outcome.status == "done" else []
        return bool(files) and all(one.is_file() for one in files)

    def is_current(self, outcome: CaseOutcome | None, options: str, stamp: str, *, retry: bool) -> bool:
        """Whether nothing is to be computed for a case: it has results, or failed and is not tried again."""
        if outcome is None or (outcome.options, outcome.stamp) != (options, stamp):
            return False
        return self.is_whole(outcome) if outcome.status == "done" else not retry

    def file(self, name: str, part: str, ending: str) -> Path:
        """A file of the study or, where `part` is for example "2/8", of that part."""
        which = f"-{part.replace('/', '-of-')}" if part else ""
        return self.folder / f"{name}{which}{ending}"

    def runs(self) -> list[StudyRun]:
        """The runs of the whole study and of its parts.

        Raises:
            StudyError: `study-missing`, there is none; `study-damaged`.
        """
        paths = [self.folder / f"{RUN}.json", *sorted(self.folder.glob(f"{RUN}-*-of-*.json"))]
        found = [_run(path) for path in paths if path.is_file()]
        if not found:
            raise StudyError(
                "study-missing", f"'{self.folder}' holds no study (no run.json). Compute one with 'seghirescam cohort'."
            )
        return found


@dataclass(frozen=True)
class StudyState:
    """How far a study is.

    Attributes:
        cases: All of them, in the order of the table.
        done: Outcomes of those with results, by name.
        failed: Outcomes of the others that were computed.
        missing: Names of those that were not.
    """

    cases: tuple[ListedCase, ...]
    done: Mapping[str, CaseOutcome]
    failed: Mapping[str, CaseOutcome]
    missing: tuple[str, ...]

    @property
    def outcomes(self) -> dict[str, CaseOutcome]:
        """Of all that were computed, in the order of the table."""
        computed = {**self.done, **self.failed}
        return {one.name: computed[one.name] for one in self.cases if one.name in computed}


def state_of(
    study: Study, cases: Sequence[ListedCase], options: str, fresh: Mapping[str, CaseOutcome] | None = None
) -> StudyState:
    """What became of these cases; results of other options are missing ones.

    Args:
        study: Whose files say it.
        cases: In the order of the table.
        options: Hash of what was asked.
        fresh: What is known of some of them, whether it could be written or not.
    """
    found = {one.name: (fresh or {}).get(one.name) or study.outcome(one.name) for one in cases}
    current = {name: one for name, one in found.items() if one is not None and one.options == options}
    return StudyState(
        tuple(cases),
        {name: one for name, one in current.items() if study.is_whole(one)},
        {name: one for name, one in current.items() if one.status == "failed"},
        tuple(
            name
            for name in found
            if name not in current or not (study.is_whole(current[name]) or current[name].status == "failed")
        ),
    )


def run_of(study: Study) -> StudyRun:
    """The run of the whole study, or one that stands for those of its parts.

    Raises:
        StudyError: There is no study, or its parts differ.
    """
    runs = study.runs()
    whole = [one for one in runs if not one.part]
    return whole[0] if whole else whole_run(runs)


def whole_run(runs: Sequence[StudyRun]) -> StudyRun:
    """One run that stands for those of all parts.

    Raises:
        StudyError: `parts-differ`, they were not asked the same, or not of the same cases.
    """
    first = runs[0]
    for run in runs[1:]:
        if (run.options, run.cases) != (first.options, first.cases):
            what = "cases" if run.options == first.options else "model or options"
            raise StudyError(
                "parts-differ",
                f"Part {run.part or 'of the whole'} and part {first.part or 'of the whole'} have different {what}, so they are not one study. "
                "Compute the parts with the same table, model and options.",
            )
    seconds = {name: value for run in runs for name, value in run.seconds.items()}
    machines = tuple(dict.fromkeys(one for run in runs for one in run.machines))
    started = min(run.started for run in runs)
    return replace(first, part="", seconds=seconds, machines=machines, started=started)


def missing_parts(runs: Sequence[StudyRun]) -> list[str]:
    """Parts of which there is no run: they were not started, or did not end; none where the whole study was computed or merged."""
    given = {run.part for run in runs}
    if "" in given:
        return []
    counts = {int(part.partition("/")[2]) for part in given if part}
    return [
        part
        for count in sorted(counts)
        for part in (f"{number}/{count}" for number in range(1, count + 1))
        if part not in given
    ]


def outcome_text(outcome: CaseOutcome) -> str:
    """The content of a `case.json`."""
    return _text(outcome)


def run_text(run: StudyRun) -> str:
    """The content of a `run.json`."""
    return _text(run)


def _text(record: object) -> str:
    return json.dumps(to_json(record), indent=2, allow_nan=False) + "\n"


def _run(path: Path) -> StudyRun:
    try:
        return from_json(StudyRun, json.loads(small_text(path) or ""))
    except (ValueError, RecursionError) as problem:
        raise StudyError(
            "study-damaged",
            f"'{path}' cannot be read ({problem}). Delete it, and run the same 'seghirescam cohort' again.",
        ) from problem


def _listed(folder: Path) -> list[Path]:
    """What the explanation.json of a case, or those of its segments, say that belongs to it."""
    found = []
    for path in [folder / FACTS, *sorted(folder.glob(f"*/{FACTS}"))]:
        try:
            found += [path.parent / name for name in json.loads(small_text(path) or "{}").get("files", [])]
        except (ValueError, AttributeError, TypeError, RecursionError):
            return []
    return found


def small_text(path: Path) -> str | None:
    """The text of a file of a study; None where there is none, or more than one of this program's would have."""
    try:
        return path.read_text(encoding="utf-8") if path.is_file() and path.stat().st_size <= LARGEST else None
    except (OSError, ValueError):
        return None
