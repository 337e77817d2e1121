"""Explain a segment."""

from __future__ import annotations

import warnings
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import job, note, open_scene, print_explanation, print_files, print_json, told
from SegHiResCAMLib.cli.inputs import read_inputs
from SegHiResCAMLib.cli.options import (
    RESULTS,
    JsonOption,
    ModelOption,
    SeriesOption,
    VolumesArgument,
    utf_8_only,
)
from SegHiResCAMLib.cli.question_options import with_options
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.question import HOW, WHAT, Question
from SegHiResCAMLib.records.regions import Mask

if TYPE_CHECKING:
    from monai.data import MetaTensor

    from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
    from SegHiResCAMLib.engine.inference.segmentation import Segmentation
    from SegHiResCAMLib.engine.progress import Progress
    from SegHiResCAMLib.writing.result import Result

EVERY = "all"
"""Stands for every method in --compare."""


Segments = Annotated[
    list[str],
    typer.Option(
        "--segment",
        "-s",
        metavar="NAME",
        help="The segment to explain; several share the forward passes.",
        rich_help_panel=WHAT,
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        callback=utf_8_only,
        help="Folder for the results.",
        rich_help_panel=RESULTS,
    ),
]
MaskFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Explain these voxels (above 0) in place of the predicted segment.",
        rich_help_panel=WHAT,
    ),
]
MaskValue = Annotated[
    int | None,
    typer.Option(metavar="N", help="Of a mask with several labels, the one to explain.", rich_help_panel=WHAT),
]
MaskSegment = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Of a mask that is a segmentation file of several segments, the one to explain: name or ID.",
        rich_help_panel=WHAT,
    ),
]
Weighted = Annotated[
    bool,
    typer.Option("--weighted", help="The mask's values say how much each voxel counts.", rich_help_panel=WHAT),
]
Compare = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METHOD",
        help=f"Another method to compare with, as often as you like; '{EVERY}' for all.",
        rich_help_panel=HOW,
    ),
]
AsNifti = Annotated[
    bool, typer.Option("--nifti", help="Heat map and label map as NIfTI, too.", rich_help_panel=RESULTS)
]
IntoDicom = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Write DICOM, too, into the study of this folder's series, from which the volume comes.",
        rich_help_panel=RESULTS,
    ),
]


@app.command(epilog="Example: seghirescam explain ct-dicom/ --model my-bundle --segment tumour -o why-tumour")
@with_options(Question)
def explain(
    volume: VolumesArgument,
    model: ModelOption,
    segment: Segments,
    output: Output,
    mask: MaskFile = None,
    mask_value: MaskValue = None,
    mask_segment: MaskSegment = None,
    weighted: Weighted = False,
    compare: Compare = None,
    series: SeriesOption = None,
    nifti: AsNifti = False,
    dicom: IntoDicom = None,
    as_json: JsonOption = False,
    *,
    chosen: dict[str, Any],
) -> None:
    """Explain why a model segmented a structure: heat map, segmentation, figures, scene for 3D Slicer, and `explanation.json`."""
    with job() as progress:
        from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
        from SegHiResCAMLib.engine.images.dicom.write import check_source
        from SegHiResCAMLib.engine.models import open_model
        from SegHiResCAMLib.engine.progress import part
        from SegHiResCAMLib.results import NIFTI, NIFTI_LABELS, begin_result, check_room

        question = Question(segment=segment[0], **chosen)
        _check_mask_options(question, mask, mask_value, mask_segment, weighted)
        progress(0.0, "Reading")
        others = _other_methods(question, compare or [])
        opened = open_model(model)
        names = [opened.label(one).name for one in segment]
        inputs = [*volume, model, opened.source, *filter(None, [mask, dicom])]
        with closing(begin_result(output, names, inputs, more=[NIFTI, NIFTI_LABELS] if nifti else [])) as result:
            marked = None
            read = _read_inputs(volume, series, part(progress, 0.0, 0.04))
            if mask is not None:
                marked = _read_mask(mask, mask_segment, mask_value, weighted, part(progress, 0.04, 0.05))
            if dicom is not None:
                check_source(read, dicom, series)
            check_room(result, read, len(segment) * (1 + len(others)))
            request = ExplainRequest(read, opened, question, marked)
            by_segment = _explained(request, segment, others, EVERY in (compare or []), part(progress, 0.05, 0.95))
            progress(0.95, "Writing")
            _write(result, names, request, by_segment, nifti, dicom, series)
            progress(0.99, "Putting the files in place")
            written = result.put_in_place()
    if as_json:
        records = [
            replace(first.record(), compared_with=tuple(one.record() for one in rest)) for first, *rest in by_segment
        ]
        facts = [to_json(one) for one in records]
        files = [str(file) for file in written]
        print_json((facts[0] if len(facts) == 1 else {"segments": facts}) | {"files": files})
        return
    for explanations in by_segment:
        for explanation in explanations:
            print_explanation(explanation)
    print_files(written)


def _other_methods(question: Question, compare: list[str]) -> list[str]:
    """The methods to compare with.

    Raises:
        EngineError: `method-unknown`.
    """
    from SegHiResCAMLib.engine.cam.methods import METHODS, find_method

    others = [one for one in METHODS if one != question.method] if EVERY in compare else compare
    for name in others:
        find_method(name)
    return others


def _read_inputs(volume: list[str], series: str | None, progress: Progress) -> MetaTensor:
    """The volume; what is found while it is read is part of each explanation, and not printed twice."""
    from SegHiResCAMLib.engine.images.findings import ReadingWarning

    warnings.simplefilter("ignore", ReadingWarning)
    return read_inputs(volume, series, progress)


def _read_mask(path: str, segment: str | None, value: int | None, weighted: bool, progress: Progress) -> MetaTensor:
    from SegHiResCAMLib.engine.images.masks import read_mask

    return read_mask(path, segment=segment, value=value, weighted=weighted, progress=progress)


def _explained(
    request: ExplainRequest, segments: list[str], others: list[str], skip: bool, progress: Progress
) -> list[list[Explanation]]:
    """For each segment, its explanation and those by the other methods; `skip` leaves out methods that do not suit the layer."""
    from SegHiResCAMLib.engine.answer.explain import explain_segments
    from SegHiResCAMLib.engine.progress import part

    share = 1 / (1 + len(others))
    found = [explain_segments(request, segments, progress=part(progress, 0.0, share))]
    for number, name in enumerate(others, start=1):
        report = part(progress, number * share, (number + 1) * share)
        found += _also(request, segments, name, found[0][0].segmentation, report, skip=skip)
    return [list(explanations) for explanations in zip(*found, strict=True)]


def _write(
    result: Result,
    names: list[str],
    request: ExplainRequest,
    by_segment: list[list[Explanation]],
    nifti: bool,
    dicom: str | None,
    series: str | None,
) -> None:
    """All files, beside their places."""
    from SegHiResCAMLib.results import DICOM, folders_of, write_dicom_files, write_explanation, write_nifti

    with open_scene() as scene:
        for folder, explanations in zip(folders_of(result, names), by_segment, strict=True):
            write_explanation(scene, folder, request.volume, request.model, explanations)
            if nifti:
                write_nifti(folder, explanations[0])
            if dicom is not None:
                write_dicom_files(folder / DICOM, explanations[0], request.model, dicom, series)


def _also(
    request: ExplainRequest,
    segments: list[str],
    method: str,
    segmentation: Segmentation | None,
    progress: Progress,
    skip: bool,
) -> list[list[Explanation]]:
    """The same by another method; nothing, and the reason told, where it does not fit the layer and may be skipped."""
    from SegHiResCAMLib.engine.answer.explain import explain_segments
    from SegHiResCAMLib.engine.errors import EngineError

    other = replace(request.question, method=method, method_options={})
    try:
        return [explain_segments(replace(request, question=other), segments, segmentation, progress)]
    except EngineError as problem:
        if not skip:
            raise
        note("Left out", f"{method}. {problem.sentence}", told)
        return []


def _check_mask_options(
    question: Question, mask: str | None, value: int | None, segment: str | None, weighted: bool
) -> None:
    """Refuse options of which one would say nothing."""
    from SegHiResCAMLib.engine.errors import EngineError

    if mask is None and (value is not None or segment is not None or weighted):
        sentence = "--mask-value, --mask-segment and --weighted say how a mask is read, and there is none: give it with --mask, too."
        raise EngineError("mask-missing", sentence)
    if mask is not None and not isinstance(question.region, Mask | None):
        raise EngineError(
            "mask-and-region", "--mask and --region both say which voxels are explained: give one of them."
        )
