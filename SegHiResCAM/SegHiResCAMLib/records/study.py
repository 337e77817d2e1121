"""A study: its cases, what became of each, and the run that computed them. Nothing here names a patient but what the user calls a case."""
# ruff: noqa: N815 - schemaVersion is what readers of JSON files look for

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from SegHiResCAMLib.records.explain_job import ExplainJob
from SegHiResCAMLib.records.explanation import ModelReference

STUDY_VERSION = 1
"""Of these forms."""

Cell = str | int | float | bool | None
"""Of the table of cases."""

Status = Literal["done", "failed"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One patient's images, as the table of a study has them.

    Attributes:
        name: Unique in the study, whatever the case of its letters.
        images: Paths, one for each of the model's inputs.
        reference: Path of the true label map; None for none.
        regions: Path of a label map of organs; None for none.
        series: SeriesInstanceUID, where the image is one series of a DICOM folder.
        groups: Further columns of the table, by name.
        is_hashed: Whether the name stands for another one or for identifiers of DICOM, so that no path may be shown either.
        own_name: What the user calls the case, where a hash stands for that; it is written nowhere.
        salt: Secret that hashes of the case's paths are made with; empty for none.
    """

    name: str
    images: tuple[str, ...]
    reference: str | None = None
    regions: str | None = None
    series: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    is_hashed: bool = False
    own_name: str = ""
    salt: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """All paths that are read."""
        return (*self.images, *(one for one in (self.reference, self.regions) if one is not None))


@dataclass(frozen=True, kw_only=True)
class CaseTask:
    """What a process needs to compute one case.

    Attributes:
        case: Whose paths every process can reach.
        job: What is asked of each case; its volumes are the case's.
        study: Path of the study's folder.
        options: Hash of everything but the case's own files; see `study/keys.py`.
        stamp: Of the case's files.
        memory: Bytes that the process may take; 0 for all there are.
        with_scene: Whether figures and a scene for 3D Slicer are written.
    """

    case: Case
    job: ExplainJob
    study: str
    options: str
    stamp: str
    memory: int = 0
    with_scene: bool = True


@dataclass(frozen=True, kw_only=True)
class CaseOutcome:
    """What became of a case: the file `case.json` beside its results.

    Attributes:
        schemaVersion: Of this form.
        case: Its name.
        status: Whether it has results.
        message: Why it has none.
        options: Hash of everything but the case's own files.
        inputs: Hash of their content.
        stamp: Hash of their paths, sizes and times.
        row: The case's numbers, by column.
        seconds: That it took.
        machine: What computed it.
    """

    schemaVersion: int = STUDY_VERSION
    case: str
    status: Status
    message: str = ""
    options: str = ""
    inputs: str = ""
    stamp: str = ""
    row: Mapping[str, Cell] = field(default_factory=dict)
    seconds: float = 0.0
    machine: str = ""


@dataclass(frozen=True, kw_only=True)
class ListedCase:
    """A case in the order of the study's table.

    Attributes:
        name: Of the case.
        groups: Its further columns.
    """

    name: str
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """How a study, or a part of it, was computed: `run.json`, or `run-2-of-8.json`.

    Attributes:
        schemaVersion: Of this form.
        input: The table or folder, as the user gave it.
        layout: As what it was recognised.
        model: Which model.
        job: What was asked of each case; it names no volumes.
        options: Hash of model and job.
        part: For example "2/8"; empty for the whole study.
        cases: All cases of the study, whatever the part.
        started: Local time with its zone, ISO 8601.
        seconds: That each case took, by its name.
        machines: That computed.
        versions: Of this program and of what it computes with.
    """

    schemaVersion: int = STUDY_VERSION
    input: str
    layout: str
    model: ModelReference
    job: ExplainJob
    options: str
    part: str = ""
    cases: tuple[ListedCase, ...]
    started: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    machines: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
