"""Computes a study: finds what is missing, has it computed, and writes the table."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.engine.progress import Progress
from SegHiResCAMLib.pages.report import REPORT
from SegHiResCAMLib.pages.self_contained import check_pages
from SegHiResCAMLib.records.explain_job import OWN_REGIONS, ExplainJob
from SegHiResCAMLib.records.explanation import ModelReference
from SegHiResCAMLib.records.json_form import from_json, to_json
from SegHiResCAMLib.records.study import Case, CaseOutcome, CaseTask, ListedCase, StudyRun
from SegHiResCAMLib.study.cases import FoundCases, part_of, problem_of
from SegHiResCAMLib.study.errors import StudyError
from SegHiResCAMLib.study.hashed_names import without_names
from SegHiResCAMLib.study.keys import options_key, stamp_of
from SegHiResCAMLib.study.processes import Cluster, Processes, cluster_of
from SegHiResCAMLib.study.rows_table import rows_of, write_table
from SegHiResCAMLib.study.similar_maps import with_similarities
from SegHiResCAMLib.study.study_folder import (
    CASES,
    RUN,
    TABLE,
    Study,
    StudyState,
    missing_parts,
    run_of,
    run_text,
    state_of,
    whole_run,
)
from SegHiResCAMLib.study.study_report import study_report
from SegHiResCAMLib.study.work import compute_case, put_outcome
from SegHiResCAMLib.writing.errors import WritingError
from SegHiResCAMLib.writing.inputs import check_outputs
from SegHiResCAMLib.writing.result import check_folder
from SegHiResCAMLib.writing.sweeping import sweep_folder
from SegHiResCAMLib.writing.whole_file import make_folder, write_text

PATIENCE_S = 5.0
"""Seconds without a case that ends, after which it is looked whether any worker is there."""

RESTARTING_S = 120.0
"""Seconds in which a process of the embedded cluster that has ended must be there again."""

NO_WORKER = (
    "No worker is connected that may take one. Start workers with the same certificates, with a GPU as a resource where the others have one; "
    "cancelling keeps what is done."
)

OptionalText = TypeVar("OptionalText", str, "str | None")


@dataclass(frozen=True)
class CohortRequest:
    """What is to be computed.

    Attributes:
        source: The input, as the user gave it.
        found: Its cases.
        job: What is asked of each.
        folder: Of the study.
        part: (2, 8) for the second of eight parts; None for all.
        retry: Whether cases that failed are tried again.
        with_scene: Whether figures and scenes are written.
        processes: Who computes.
    """

    source: str
    found: FoundCases
    job: ExplainJob
    folder: Path
    part: tuple[int, int] | None = None
    retry: bool = False
    with_scene: bool = True
    processes: Processes = field(default_factory=Processes)


@dataclass(frozen=True)
class CohortResult:
    """What became of it.

    Attributes:
        state: Of the cases that this run was about.
        computed: How many of them it computed; the others had been computed before.
        files: Table and run.
    """

    state: StudyState
    computed: int
    files: list[Path]


def run_cohort(request: CohortRequest, progress: Progress) -> CohortResult:
    """Compute the cases that are missing, and write the table.

    Raises:
        StudyError, EngineError, PageError, WritingError: Nothing can be computed at all; what is wrong with one case is its row.
    """
    progress(0.0, "Opening the model")
    check_folder(request.folder)
    model = open_model(request.job.model)
    _check(request, model)
    study, run = Study(request.folder.absolute()), _run_of(request, model)
    _check_outputs(study, run.part, request)
    make_folder(study.folder / CASES)
    sweep_folder(study.folder / CASES)
    chosen = list(request.found.cases) if request.part is None else part_of(request.found.cases, request.part)
    tasks, fresh = _missing(study, chosen, run.options, request, progress)
    write_text(study.file(RUN, run.part, ".json"), run_text(run))
    _compute(study, tasks, request, fresh, progress)
    listed = _listed(chosen)
    state = state_of(study, listed, run.options, fresh)
    return CohortResult(state, len(tasks), _write(study, _with_outcomes(run, state), state))


def merge_study(folder: Path) -> CohortResult:
    """Bring the parts of a study together: one table, one run.

    Raises:
        StudyError: There is no study, or its parts differ.
        WritingError: The files cannot be written.
    """
    study = Study(folder)
    runs = study.runs()
    run = whole_run([one for one in runs if one.part] or runs)
    for case in run.cases:
        sweep_folder(study.folder_of(case.name))
    state = state_of(study, run.cases, run.options)
    return CohortResult(state, 0, _write(study, _with_outcomes(run, state), state))


def _write(study: Study, run: StudyRun, state: StudyState) -> list[Path]:
    """Table, run and, of a whole study, the report."""
    state = with_similarities(study, state) if run.job.check else state
    files = write_table(rows_of(state), study.file(TABLE, run.part, ""))
    path = study.file(RUN, run.part, ".json")
    write_text(path, run_text(run))
    if run.part:
        return [*files, path]
    write_text(study.folder / REPORT, study_report(study, run, state))
    return [*files, path, study.folder / REPORT]


def study_state(folder: Path) -> tuple[StudyState, list[str]]:
    """How far a study is, and which of its parts have not been started.

    Raises:
        StudyError: There is no study, or its parts differ.
    """
    study = Study(folder)
    run = run_of(study)
    return state_of(study, run.cases, run.options), missing_parts(study.runs())


def _check(request: CohortRequest, model: SegmentationModel) -> None:
    """Refuse what would fail in every case, before anything is computed."""
    if request.job.html and request.processes.scheduler is None:
        check_pages()
    for segment in request.job.segments:
        model.label(segment)
    counts = {len(case.images) for case in request.found.cases if case.images}
    if counts and min(counts) > model.in_channels:
        raise StudyError(
            "images-too-many",
            f"The cases have {min(counts)} images each, and '{model.name}' has {model.in_channels} inputs. Give a table with the images "
            "that it needs.",
        )


def _check_outputs(study: Study, part: str, request: CohortRequest) -> None:
    """Refuse a study whose table, run or report would replace what it reads; of a part, those of the whole are written later."""
    outputs = [study.file(TABLE, which, ending) for which in {"", part} for ending in (".csv", ".parquet")]
    outputs += [study.file(RUN, which, ".json") for which in {"", part}]
    read = [request.source, request.job.regions or "", *(one for case in request.found.cases for one in case.files)]
    files = [path for one in read if (path := Path(one)).is_file()]
    try:
        check_outputs([*outputs, study.folder / REPORT], files, beside=False)
    except WritingError as problem:
        message = problem.message
        for case in request.found.cases:
            message = without_names(message, case)
        raise WritingError(problem.code, message) from problem


def _run_of(request: CohortRequest, model: SegmentationModel) -> StudyRun:
    job = replace(request.job, volumes=())
    return StudyRun(
        input=request.source,
        layout=request.found.layout,
        model=ModelReference(model.name, model.sha256),
        job=job,
        options=options_key(job, Path(model.source), with_scene=request.with_scene),
        part="" if request.part is None else f"{request.part[0]}/{request.part[1]}",
        cases=tuple(_listed(request.found.cases)),
        started=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in ("seghirescam", "torch", "monai", "numpy", "distributed")},
        },
    )


def _missing(
    study: Study, cases: Sequence[Case], options: str, request: CohortRequest, progress: Progress
) -> tuple[list[CaseTask], dict[str, CaseOutcome]]:
    """What is to be computed; and the outcomes of cases whose files are not there, which fail at once."""
    regions = request.job.regions
    job = replace(
        request.job,
        model=_absolute(request.job.model),
        regions=regions if regions == OWN_REGIONS else _absolute(regions),
    )
    tasks, lost = [], {}
    for number, case in enumerate(cases):
        progress(0.0, f"Looking for results: {number} of {len(cases)} cases")
        sweep_folder(study.folder_of(case.name))
        stamp, problem = stamp_of(case), problem_of(case)
        if study.is_current(study.outcome(case.name), options, stamp, retry=request.retry):
            continue
        if problem:
            failed = CaseOutcome(case=case.name, status="failed", message=problem, options=options, stamp=stamp)
            lost[case.name] = _noted(study, failed, case)
            continue
        absolute = replace(
            case,
            images=tuple(str(Path(one).absolute()) for one in case.images),
            reference=_absolute(case.reference),
            regions=_absolute(case.regions),
        )
        tasks.append(
            CaseTask(
                case=absolute,
                job=job,
                study=str(study.folder),
                options=options,
                stamp=stamp,
                with_scene=request.with_scene,
            )
        )
    return tasks, lost


def _noted(study: Study, failed: CaseOutcome, case: Case) -> CaseOutcome:
    """A failure, in the case's folder as well unless that cannot be written to, or holds what the case is made of."""
    with suppress(WritingError, OSError):
        put_outcome(study, failed, case.files)
    return failed


def _absolute(name: OptionalText) -> OptionalText:
    """The absolute path of what exists; other names, as of a model of the catalogue, stay as they are."""
    return str(Path(name).absolute()) if isinstance(name, str) and Path(name).exists() else name


def _compute(
    study: Study, tasks: Sequence[CaseTask], request: CohortRequest, fresh: dict[str, CaseOutcome], progress: Progress
) -> None:
    """Compute cases into `fresh`. An embedded cluster whose processes did not come back is replaced, as long as that helps.

    Raises:
        StudyError: `workers-lost`, `scheduler-lost`, and those of `cluster_of`.
    """
    left, number = list(tasks), 0
    while left:
        with cluster_of(request.processes) as cluster:
            for outcome in _computed(cluster, study, left):
                if outcome is None:
                    progress(number / len(tasks), f"{number} of {len(tasks)} cases. {NO_WORKER}")
                    continue
                number += 1
                fresh[outcome.case] = outcome
                failed = f" ({outcome.case}: {outcome.message})" if outcome.status == "failed" else ""
                progress(number / len(tasks), f"{number} of {len(tasks)} cases{failed}")
        before, left = len(left), [one for one in left if one.case.name not in fresh]
        if len(left) == before:
            raise StudyError(
                "workers-lost",
                "The processes that compute ended and did not start again. The cases that are done are kept: start the same command again, "
                "with fewer --workers if memory is short.",
            )


def _computed(cluster: Cluster, study: Study, tasks: Sequence[CaseTask]) -> Iterator[CaseOutcome | None]:
    """The outcomes, as they come, and None as long as no worker can take a case; an embedded cluster that has lost its processes ends it. No more cases are under way than processes: when one of these dies, only its own case is suspected."""
    from distributed import as_completed

    once, waiting = uuid4().hex[:8], iter(enumerate(tasks))
    submit: Callable[..., Any] = cluster.client.submit
    by_future: dict[Any, CaseTask] = {}
    with _connected():
        running = as_completed([], loop=cluster.client.loop)

        def start_more() -> None:
            room = max(len(cluster.client.nthreads()), 1) - running.count()
            for number, task in islice(waiting, max(room, 0)):
                future = submit(
                    compute_case,
                    to_json(replace(task, memory=cluster.memory)),
                    key=f"case-{number}-{once}",
                    resources=cluster.resources,
                    pure=False,
                )
                by_future[future] = task
                running.add(future)

        start_more()
        empty = 0.0  # since when there is no worker
        while by_future:
            if not _is_one_ready(running):
                empty = 0.0 if cluster.workers() else empty or time.monotonic()
                if empty and cluster.is_own and time.monotonic() - empty > RESTARTING_S:
                    return
                if empty:
                    yield None
                start_more()
                continue
            future = next(running)
            if future.status == "lost":
                # Its worker ended before the answer was fetched: the scheduler has it computed again.
                running.add(future)
                continue
            task = by_future.pop(future)
            if future.status == "cancelled":
                raise _scheduler_lost()
            problem = future.exception() if future.status == "error" else None
            outcome = _lost(study, task, problem) if problem else from_json(CaseOutcome, future.result())
            start_more()
            yield outcome


def _is_one_ready(running: Any) -> bool:
    """Whether a case has ended, which is waited for for a while; `as_completed` itself waits for ever, and silently, where no worker is."""
    end = time.monotonic() + PATIENCE_S
    while not (ready := running.has_ready()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(ready)


@contextmanager
def _connected() -> Iterator[None]:
    """Give one message for a connection that broke: the library raises what the network raised, depending on when it broke."""
    try:
        yield
    except (OSError, CancelledError) as problem:
        raise _scheduler_lost() from problem


def _scheduler_lost() -> StudyError:
    return StudyError(
        "scheduler-lost",
        "The connection to the scheduler was lost. The cases that are done are kept: start the same command again to compute the others.",
    )


def _lost(study: Study, task: CaseTask, problem: BaseException) -> CaseOutcome:
    """A case whose process was ended, mostly because it took more memory than it may."""
    from distributed.scheduler import KilledWorker

    message = without_names(f"The process that computed it failed ({type(problem).__name__}: {problem}).", task.case)
    if isinstance(problem, KilledWorker):
        message = (
            "The processes that computed it ended without an answer, which happens when a case needs more memory than a worker may take. "
            "Give a worker more memory (fewer --workers, or --worker-memory), then use --retry-failed."
        )
    failed = CaseOutcome(case=task.case.name, status="failed", message=message, options=task.options, stamp=task.stamp)
    return _noted(study, failed, task.case)


def _with_outcomes(run: StudyRun, state: StudyState) -> StudyRun:
    """The run with what its cases took; those that were computed earlier are in it, too."""
    outcomes = state.outcomes
    return replace(
        run,
        seconds={name: one.seconds for name, one in outcomes.items()},
        machines=tuple(dict.fromkeys(one.machine for one in outcomes.values() if one.machine)),
    )


def _listed(cases: Sequence[Case]) -> list[ListedCase]:
    return [ListedCase(name=one.name, groups=one.groups) for one in cases]
