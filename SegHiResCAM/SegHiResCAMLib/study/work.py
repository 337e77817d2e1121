"""One case, computed by whichever process is given it: a function of paths, whose results are files and a small record."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.free_memory import limit_memory
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.engine.progress import silent
from SegHiResCAMLib.explain_files import run_job
from SegHiResCAMLib.kept_memory import keep_memory
from SegHiResCAMLib.records.json_form import from_json, to_json
from SegHiResCAMLib.records.study import CaseOutcome, CaseTask, Cell
from SegHiResCAMLib.study.hashed_names import failure_of, linked
from SegHiResCAMLib.study.keys import content_of
from SegHiResCAMLib.study.row import row_of
from SegHiResCAMLib.study.similar_maps import AROUND, keep_around
from SegHiResCAMLib.study.study_folder import OUTCOME, Study, outcome_text
from SegHiResCAMLib.writing.result import ResultFolder
from SegHiResCAMLib.writing.whole_file import write_text

_ALONE = Lock()
"""A case has its process for itself, whatever threads a worker has: they share the model, and one scene."""


def compute_case(task: dict[str, Any]) -> dict[str, Any]:
    """Compute a case, unless its inputs have the content that its results were made from.

    Args:
        task: A `CaseTask` as JSON has it: nothing but paths and options travels.

    Returns:
        A `CaseOutcome` as JSON has it. It is in the case's folder, too, unless that cannot be written to.
    """
    with _ALONE, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, to programmers; what concerns a case is among its findings
        return _case(from_json(CaseTask, task))


def _case(given: CaseTask) -> dict[str, Any]:
    begin = time.monotonic()
    keep_memory()
    limit_memory(given.memory)
    # Sums of floats depend on how many threads they are cut up for.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    study = Study(Path(given.study))
    before = study.outcome(given.case.name)
    made = CaseOutcome(
        case=given.case.name, status="failed", options=given.options, stamp=given.stamp, machine=machine()
    )
    try:
        made = replace(made, inputs=content_of(given.case))
        if (
            before is not None
            and study.is_whole(before)
            and (before.options, before.inputs) == (made.options, made.inputs)
        ):
            made = replace(before, stamp=given.stamp)
            write_text(study.folder_of(given.case.name) / OUTCOME, outcome_text(made))
        else:
            made = _computed(given, study, made, begin)
    except Exception as problem:  # noqa: BLE001 - whatever is wrong with one case, the others go on
        made = replace(made, message=failure_of(problem, given.case), seconds=time.monotonic() - begin)
        with suppress(Exception):
            _put_failure(study, given, made)
    result: dict[str, Any] = to_json(made)
    return result


def machine() -> str:
    """What computes here, for people; neither its name nor its user's."""
    processor = torch.cuda.get_device_name(0) if torch.cuda.is_available() else platform.machine()
    return f"{platform.system()} {platform.release()}, {processor}, Python {platform.python_version()}"


def put_outcome(study: Study, outcome: CaseOutcome, inputs: Sequence[str]) -> None:
    """Note why a case has no results, in place of those that it may have had.

    Raises:
        WritingError: The case's folder cannot be written to.
    """
    folder = study.folder_of(outcome.case)
    with closing(ResultFolder(folder, [OUTCOME], [Path(one) for one in inputs], exclusive=False)) as result:
        (result.beside / OUTCOME).write_text(outcome_text(outcome), encoding="utf-8")
        result.put_in_place()


def _computed(task: CaseTask, study: Study, made: CaseOutcome, begin: float) -> CaseOutcome:
    found: list[CaseOutcome] = []

    def beside(folder: Path, request: ExplainRequest, by_segment: list[list[Explanation]]) -> None:
        records = [
            replace(first.record(), compared_with=tuple(one.record() for one in rest)) for first, *rest in by_segment
        ]
        row = _volumes(request, by_segment[0][0]) | row_of(records)
        if task.job.check:
            keep_around(folder, [first for first, *_ in by_segment])
        found.append(replace(made, status="done", row=row, seconds=time.monotonic() - begin))
        (folder / OUTCOME).write_text(outcome_text(found[0]), encoding="utf-8")

    with linked(task.case) as case:
        run_job(
            replace(
                task.job,
                volumes=case.images,
                series=case.series,
                regions=case.regions or task.job.regions,
                reference=case.reference or task.job.reference,
            ),
            study.folder_of(task.case.name),
            _open_scene if task.with_scene else nullcontext,
            silent,
            lambda _text: None,
            _opened(task.job.model, task.options),
            beside=beside,
            further=[OUTCOME] + [AROUND] * task.job.check,
            exclusive=False,
        )
    return found[0]


def _volumes(request: ExplainRequest, explanation: Explanation) -> dict[str, Cell]:
    """Millilitres of what the model segments, on the volume's own grid."""
    if explanation.segmentation is None:
        return {}
    labels = explanation.segmentation.labels
    millilitres = abs(float(torch.linalg.det(labels.affine[:3, :3].double()))) / 1000
    return {
        f"volume_ml.{one.name}": int((labels.as_tensor() == one.value).count_nonzero()) * millilitres
        for one in request.model.labels
    }


@lru_cache(maxsize=1)
def _opened(model: str, _options: str) -> SegmentationModel:
    """The study's model, which stays open from case to case."""
    return open_model(model)


@contextmanager
def _open_scene() -> Iterator[Any]:
    """A scene for figures; None where the packages for it are missing."""
    from SegHiResCAMLib.scene.headless import headless_application, missing_packages

    if missing_packages():
        yield None
        return
    with headless_application() as application:
        yield application.scene


def _put_failure(study: Study, task: CaseTask, outcome: CaseOutcome) -> None:
    put_outcome(study, outcome, [*task.case.files, task.job.model])
