"""Runs an `ExplainJob`: files in, files out. What the command does once, and a cohort for each of its cases."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.computers import Computer, ThisComputer
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.answer.mistakes import compare_with_reference, reference_labels
from SegHiResCAMLib.engine.answer.region_shares import predicted_regions, share_by_region
from SegHiResCAMLib.engine.cam.methods import METHODS, find_method
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.evidence.input_shares import input_shares
from SegHiResCAMLib.engine.images.dicom.write import check_source
from SegHiResCAMLib.engine.images.findings import ReadingWarning
from SegHiResCAMLib.engine.images.inputs import read_inputs_and_mask
from SegHiResCAMLib.engine.images.region_files import Regions, read_regions
from SegHiResCAMLib.engine.models import SegmentationModel
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.pages.self_contained import check_pages
from SegHiResCAMLib.pages.viewer import VIEWER
from SegHiResCAMLib.records.explain_job import EVERY, OWN_REGIONS, ExplainJob
from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.result_tables import AGREEMENT, CHECK, CHECK_FIGURE, INPUTS, MISTAKES, REGIONS
from SegHiResCAMLib.results import (
    DEVIATION,
    DICOM,
    NIFTI,
    NIFTI_LABELS,
    begin_result,
    check_room,
    folders_of,
    write_dicom_files,
    write_explanation,
    write_nifti,
    write_page,
)
from SegHiResCAMLib.writing.result import ResultFolder

if TYPE_CHECKING:
    from SegHiResCAMLib.engine.inference.segmentation import Segmentation

OpenScene = Callable[[], AbstractContextManager[Any]]
"""Opens an empty scene for figures, or None where there can be none."""

Report = Callable[[str], None]
"""Of a message about what was left out."""

Beside = Callable[[Path, ExplainRequest, list[list[Explanation]]], None]
"""Writes further files of a result into its folder, given what was asked and what was found for each segment."""


@dataclass(frozen=True)
class ExplainedFiles:
    """What a job gave.

    Attributes:
        files: In their places.
        by_segment: For each segment its explanation, and those by the methods that it is compared with.
    """

    files: list[Path]
    by_segment: list[list[Explanation]]

    def records(self) -> list[ExplanationRecord]:
        """One for each segment, as its `explanation.json` has it."""
        return [
            replace(first.record(), compared_with=tuple(one.record() for one in rest))
            for first, *rest in self.by_segment
        ]


def run_job(
    job: ExplainJob,
    folder: Path,
    open_scene: OpenScene,
    progress: Progress,
    report: Report,
    model: SegmentationModel | None = None,
    computer: Computer | None = None,
    *,
    beside: Beside | None = None,
    further: Sequence[str] = (),
    exclusive: bool = True,
) -> ExplainedFiles:
    """Explain, and put everything into `folder`, whole or not at all.

    Args:
        job: What is read and asked.
        folder: For the result; it need not exist.
        open_scene: For figures and the scene.
        progress: Told how far it is; may raise `Cancelled`.
        report: Told which of the methods to compare with were left out, and why.
        model: The job's, where it is open already.
        computer: That computes; None for this one.
        beside: Writes what belongs to the result, too.
        further: Names of the files that it writes.
        exclusive: Whether another run that writes to the same folder is refused.

    Raises:
        EngineError, SceneError, WritingError: Always with a message for the user.
    """
    progress(0.0, "Reading")
    others = _other_methods(job)
    computer = computer or ThisComputer()
    opened = model or computer.open_model(job.model)
    names = [opened.label(one).name for one in job.segments]
    region_file = None if job.regions == OWN_REGIONS else job.regions
    read = [None if job.mask is None else job.mask.path, region_file, job.reference, job.dicom]
    inputs = [*job.volumes, job.model, opened.source, *filter(None, read)]
    if job.html:
        check_pages()
    with closing(begin_result(folder, names, inputs, more=[*further, *_written(job)], exclusive=exclusive)) as result:
        request = _request(job, opened, part(progress, 0.0, 0.04))
        drawn = None if region_file is None else read_regions(region_file, part(progress, 0.04, 0.05))
        check_room(result, request.volume, len(names) * (1 + len(others)))
        by_segment = _explained(computer, request, job, others, part(progress, 0.05, 0.9), report)
        if request.reference is not None:
            by_segment = _compared(by_segment, request, progress)
        if job.regions is not None:
            by_segment = _with_regions(by_segment, drawn, opened, part(progress, 0.9, 0.95))
        if job.input_shares:
            by_segment = _shared(by_segment, request, job, part(progress, 0.55, 0.6))
        if job.check:
            by_segment = _checked(computer, by_segment, request, job, part(progress, 0.6, 0.95))
        progress(0.95, "Writing")
        _write(result, names, request, by_segment, job, open_scene)
        if beside is not None:
            beside(result.beside, request, by_segment)
        progress(0.99, "Putting the files in place")
        return ExplainedFiles(result.put_in_place(), by_segment)


def _written(job: ExplainJob) -> list[str]:
    """Files that are written beside those that every explanation has."""
    more = [NIFTI, NIFTI_LABELS] * job.nifti + [REGIONS] * (job.regions is not None) + [VIEWER] * job.html
    more += [AGREEMENT, MISTAKES] * (job.reference is not None) + [DEVIATION] * bool(job.question.smooth)
    return more + [CHECK, CHECK_FIGURE] * job.check + [INPUTS] * job.input_shares


def _request(job: ExplainJob, model: SegmentationModel, progress: Progress) -> ExplainRequest:
    """What is read; what is found meanwhile is part of each explanation, and not printed twice."""
    warnings.simplefilter("ignore", ReadingWarning)
    volume, marked = read_inputs_and_mask(job.volumes, job.series, job.mask, progress)
    if job.dicom is not None:
        check_source(volume, job.dicom, job.series)
    reference = (
        None if job.reference is None else reference_labels(read_regions(job.reference, may_be_empty=True), model)
    )
    question = replace(job.question, score_explained=job.question.score_explained or job.check)
    return ExplainRequest(volume, model, question, marked, reference)


def _other_methods(job: ExplainJob) -> list[str]:
    """The methods to compare with.

    Raises:
        EngineError: `method-unknown`.
    """
    others = [one for one in METHODS if one != job.question.method] if EVERY in job.compare else list(job.compare)
    for name in others:
        find_method(name)
    return others


def _explained(
    computer: Computer,
    request: ExplainRequest,
    job: ExplainJob,
    others: Sequence[str],
    progress: Progress,
    report: Report,
) -> list[list[Explanation]]:
    """For each segment, its explanation and those by the other methods; of all methods, those that do not suit the layer are left out."""
    share = 1 / (1 + len(others))
    found = [computer.explain_segments(request, list(job.segments), progress=part(progress, 0.0, share))]
    for number, name in enumerate(others, start=1):
        told = part(progress, number * share, (number + 1) * share)
        try:
            found.append(_also(computer, request, job, name, found[0][0].segmentation, told))
        except EngineError as problem:
            if EVERY not in job.compare:
                raise
            report(f"{name}. {problem.message}")
    return [list(explanations) for explanations in zip(*found, strict=True)]


def _also(
    computer: Computer,
    request: ExplainRequest,
    job: ExplainJob,
    method: str,
    segmentation: Segmentation | None,
    progress: Progress,
) -> list[Explanation]:
    """The same by another method."""
    other = replace(request.question, method=method, method_options={})
    return computer.explain_segments(replace(request, question=other), list(job.segments), segmentation, progress)


def _compared(
    by_segment: list[list[Explanation]], request: ExplainRequest, progress: Progress
) -> list[list[Explanation]]:
    """The explanations with how the segmentation differs from the reference."""
    segmentation = by_segment[0][0].segmentation
    assert segmentation is not None  # a job always asks for it
    assert request.reference is not None
    asked = [explanations[0].label.name for explanations in by_segment]
    comparison = compare_with_reference(
        segmentation.labels, request.reference, request.model, asked, part(progress, 0.9, 0.9)
    )
    return [[replace(one, comparison=comparison) for one in explanations] for explanations in by_segment]


def _shared(
    by_segment: list[list[Explanation]], request: ExplainRequest, job: ExplainJob, progress: Progress
) -> list[list[Explanation]]:
    """The explanations with how each score is divided among the input images; methods of one segment have one score."""
    found: list[list[Explanation]] = []
    for number, explanations in enumerate(by_segment):
        first = explanations[0]
        assert first.segmentation is not None  # a job always asks for it
        asked = replace(request, question=first.question)
        report = part(progress, number / len(by_segment), (number + 1) / len(by_segment))
        shares = input_shares(asked, first.segmentation, seed=job.seed, progress=report)
        found.append([replace(one, input_shares=shares) for one in explanations])
    return found


def _checked(
    computer: Computer,
    by_segment: list[list[Explanation]],
    request: ExplainRequest,
    job: ExplainJob,
    progress: Progress,
) -> list[list[Explanation]]:
    """The explanations, checked."""
    done, step = 0, 1 / sum(map(len, by_segment))
    found: list[list[Explanation]] = []
    for explanations in by_segment:
        found.append([])
        for one in explanations:
            report = part(progress, done * step, (done + 1) * step)
            checked = computer.check_map(request, one, explanations[0].segmentation, seed=job.seed, progress=report)
            found[-1].append(replace(one, check=checked))
            done += 1
    return found


def _with_regions(
    by_segment: list[list[Explanation]], drawn: Regions | None, model: SegmentationModel, progress: Progress
) -> list[list[Explanation]]:
    """The explanations with how their maps are spread over regions: those that are given, or where there are none, what the model segments."""
    done, step = 0, 1 / sum(map(len, by_segment))
    found: list[list[Explanation]] = []
    for explanations in by_segment:
        segmentation = explanations[0].segmentation
        regions = drawn if segmentation is None else drawn or predicted_regions(model, segmentation)
        assert regions is not None  # a job always asks for the segmentation
        found.append([])
        for one in explanations:
            shares = share_by_region(one.signed_map, regions, part(progress, done * step, (done + 1) * step))
            found[-1].append(replace(one, regions=shares))
            done += 1
    return found


def _write(
    result: ResultFolder,
    names: Sequence[str],
    request: ExplainRequest,
    by_segment: list[list[Explanation]],
    job: ExplainJob,
    open_scene: OpenScene,
) -> None:
    """All files, beside their places."""
    with open_scene() as scene:
        for folder, explanations in zip(folders_of(result, names), by_segment, strict=True):
            write_explanation(scene, folder, request.volume, request.model, explanations)
            if job.nifti:
                write_nifti(folder, explanations[0])
            if job.html:
                write_page(folder, request.volume, request.model, explanations[0])
            if job.dicom is not None:
                write_dicom_files(folder / DICOM, explanations[0], request.model, job.dicom, job.series)
