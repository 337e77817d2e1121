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
    from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
    from SegHiResCAMLib.engine.inference.segmentation import Segmentation
    from SegHiResCAMLib.engine.progress import Progress

EVERY = "all"
"""Stands for every method in --compare."""


@app.command(epilog="Example: seghirescam explain ct-dicom/ --model my-bundle --segment tumour -o why-tumour")
@with_options(Question)
def explain(
    volume: VolumesArgument,
    model: ModelOption,
    segment: Annotated[
        list[str],
        typer.Option(
            "--segment",
            "-s",
            metavar="NAME",
            help="The segment to explain; several share the forward passes.",
            rich_help_panel=WHAT,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            callback=utf_8_only,
            help="Folder for the results.",
            rich_help_panel=RESULTS,
        ),
    ],
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Explain these voxels (above 0) in place of the predicted segment.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    mask_value: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of a mask with several labels, the one to explain.", rich_help_panel=WHAT),
    ] = None,
    mask_segment: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of a mask that is a segmentation file of several segments, the one to explain: name or ID.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    weighted: Annotated[
        bool,
        typer.Option("--weighted", help="The mask's values say how much each voxel counts.", rich_help_panel=WHAT),
    ] = False,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD",
            help=f"Another method to compare with, as often as you like; '{EVERY}' for all.",
            rich_help_panel=HOW,
        ),
    ] = None,
    series: SeriesOption = None,
    nifti: Annotated[
        bool, typer.Option("--nifti", help="Heat map and label map as NIfTI, too.", rich_help_panel=RESULTS)
    ] = False,
    dicom: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Write DICOM, too, into the study of this folder's series, from which the volume comes.",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    as_json: JsonOption = False,
    *,
    chosen: dict[str, Any],
) -> None:
    """Explain why a model segmented a structure: heat map, segmentation, figures, scene for 3D Slicer, and `explanation.json`."""
    with job() as progress:
        from SegHiResCAMLib.engine.answer.explain import explain_segments
        from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
        from SegHiResCAMLib.engine.cam.methods import METHODS, find_method
        from SegHiResCAMLib.engine.images.dicom.write import check_source
        from SegHiResCAMLib.engine.images.findings import ReadingWarning
        from SegHiResCAMLib.engine.images.masks import read_mask
        from SegHiResCAMLib.engine.models import open_model
        from SegHiResCAMLib.engine.progress import part
        from SegHiResCAMLib.results import (
            DICOM,
            NIFTI,
            NIFTI_LABELS,
            begin_result,
            check_room,
            folders_of,
            write_dicom_files,
            write_explanation,
            write_nifti,
        )

        warnings.simplefilter("ignore", ReadingWarning)  # each explanation lists these findings
        question = Question(segment=segment[0], **chosen)
        _check_mask_options(question, mask, mask_value, mask_segment, weighted)
        progress(0.0, "Reading")
        every = EVERY in (compare or [])
        others = [one for one in METHODS if one != question.method] if every else list(compare or [])
        for name in others:
            find_method(name)
        opened = open_model(model)
        names = [opened.label(one).name for one in segment]
        inputs = [*volume, model, opened.source, *filter(None, [mask, dicom])]
        with closing(begin_result(output, names, inputs, more=[NIFTI, NIFTI_LABELS] if nifti else [])) as result:
            request = ExplainRequest(
                volume=read_inputs(volume, series, part(progress, 0.0, 0.04)),
                model=opened,
                question=question,
                mask=None
                if mask is None
                else read_mask(
                    mask,
                    segment=mask_segment,
                    value=mask_value,
                    weighted=weighted,
                    progress=part(progress, 0.04, 0.05),
                ),
            )
            if dicom is not None:
                check_source(request.volume, dicom, series)
            check_room(result, request.volume, len(segment) * (1 + len(others)))
            share = 0.9 / (1 + len(others))
            found = [explain_segments(request, segment, progress=part(progress, 0.05, 0.05 + share))]
            for number, name in enumerate(others, start=1):
                report = part(progress, 0.05 + number * share, 0.05 + (number + 1) * share)
                found += _also(request, segment, name, found[0][0].segmentation, report, skip=every)
            progress(0.95, "Writing")
            by_segment = [list(explanations) for explanations in zip(*found, strict=True)]
            with open_scene() as scene:
                for folder, explanations in zip(folders_of(result, names), by_segment, strict=True):
                    write_explanation(scene, folder, request.volume, opened, explanations)
                    if nifti:
                        write_nifti(folder, explanations[0])
                    if dicom is not None:
                        write_dicom_files(folder / DICOM, explanations[0], opened, dicom, series)
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
