"""Explain a segment."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.archives import DicomWebOption, StoreOption, store_objects, volumes_here
from SegHiResCAMLib.cli.console import (
    job,
    note,
    open_scene,
    print_comparison,
    print_explanation,
    print_files,
    print_json,
    told,
)
from SegHiResCAMLib.cli.options import (
    RESULTS,
    JsonOption,
    ModelOption,
    OnOption,
    SeriesOption,
    VolumesArgument,
    utf_8_only,
)
from SegHiResCAMLib.cli.question_options import with_options
from SegHiResCAMLib.records.explain_job import EVERY, OWN_REGIONS, ExplainJob, MaskFile
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.question import HOW, WHAT, Question
from SegHiResCAMLib.records.regions import Mask
from SegHiResCAMLib.user_error import UserError

if TYPE_CHECKING:
    from SegHiResCAMLib.explain_files import ExplainedFiles

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
MaskOption = Annotated[
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
RegionsFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Measure how the map is spread over the regions of a label map or segmentation file; "
        f"'{OWN_REGIONS}' for what the model segments.",
        rich_help_panel=RESULTS,
    ),
]
ReferenceFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="What should have been segmented, as label map (matched by value) or segmentation file (by name): Dice, surface distances, volumes, "
        "and a list of mistakes, which --region can then explain.",
        rich_help_panel=WHAT,
    ),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Check the map: whether what it marks matters, depends on what was learned, and is stable; at most 45 further passes.",
        rich_help_panel=RESULTS,
    ),
]
ShareInputs = Annotated[
    bool,
    typer.Option(
        "--input-shares",
        help="Of a model with several input images: exact Shapley values of the images, from predictions of all their combinations.",
        rich_help_panel=RESULTS,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Of every draw of --check.", rich_help_panel=RESULTS)]
AsNifti = Annotated[
    bool, typer.Option("--nifti", help="Heat map and label map as NIfTI, too.", rich_help_panel=RESULTS)
]
AsPage = Annotated[
    bool,
    typer.Option(
        "--html", help="A page for the browser, too: one file, which needs nothing else.", rich_help_panel=RESULTS
    ),
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
    mask: MaskOption = None,
    mask_value: MaskValue = None,
    mask_segment: MaskSegment = None,
    weighted: Weighted = False,
    compare: Compare = None,
    reference: ReferenceFile = None,
    regions: RegionsFile = None,
    check: Check = False,
    input_shares: ShareInputs = False,
    seed: Seed = 0,
    series: SeriesOption = None,
    nifti: AsNifti = False,
    html: AsPage = False,
    dicom: IntoDicom = None,
    dicomweb: DicomWebOption = None,
    store: StoreOption = False,
    on: OnOption = None,
    as_json: JsonOption = False,
    *,
    chosen: dict[str, Any],
) -> None:
    """Explain why a model segmented a structure: heat map, segmentation, figures, scene for 3D Slicer, and `explanation.json`."""
    with job() as progress:
        from SegHiResCAMLib.computers import computer
        from SegHiResCAMLib.engine.progress import part
        from SegHiResCAMLib.explain_files import run_job

        _check_computer(input_shares, on)
        question = Question(segment=segment[0], **chosen)
        fetching = volumes_here(volume, dicomweb, series, part(progress, 0.0, 0.1), store=store)
        with fetching as here, computer(on) as computing:
            asked = ExplainJob(
                volumes=tuple(here),
                model=model,
                segments=tuple(segment),
                question=question,
                mask=mask_of(question, mask, mask_value, mask_segment, weighted),
                compare=tuple(compare or ()),
                regions=regions,
                reference=reference,
                check=check,
                input_shares=input_shares,
                seed=seed,
                series=series if here == volume else None,
                nifti=nifti,
                html=html,
                dicom=dicom or (here[0] if store else None),
            )
            left_out = partial(note, "Left out", console=told)
            found = run_job(asked, output, open_scene, part(progress, 0.1, 1.0), left_out, computer=computing)
    if store and dicomweb:
        objects = [file for file in found.files if file.suffix == ".dcm"]
        store_objects(objects, output, dicomweb)
    _print(found, as_json=as_json)


def _check_computer(here_only: bool, on: str | None) -> None:
    """Refuse what only this computer can do, before anything is computed."""
    if here_only and on:
        message = "--input-shares cannot be computed on another computer yet. Leave out --on, or --input-shares."
        raise UserError("computed-elsewhere", message)


def _print(found: ExplainedFiles, *, as_json: bool) -> None:
    if as_json:
        facts = [to_json(one) for one in found.records()]
        files = [str(file) for file in found.files]
        print_json((facts[0] if len(facts) == 1 else {"segments": facts}) | {"files": files})
        return
    if found.by_segment[0][0].comparison:
        print_comparison(found.by_segment[0][0].comparison)
    for explanations in found.by_segment:
        for explanation in explanations:
            print_explanation(explanation)
    print_files(found.files)


def mask_of(
    question: Question, mask: str | None, value: int | None, segment: str | None, weighted: bool
) -> MaskFile | None:
    """The mask, unless one of the options would say nothing."""
    from SegHiResCAMLib.engine.errors import EngineError

    if mask is None and (value is not None or segment is not None or weighted):
        message = "--mask-value, --mask-segment and --weighted say how a mask is read, and there is none: give it with --mask, too."
        raise EngineError("mask-missing", message)
    if mask is not None and not isinstance(question.region, Mask | None):
        raise EngineError(
            "mask-and-region", "--mask and --region both say which voxels are explained: give one of them."
        )
    return None if mask is None else MaskFile(path=mask, value=value, segment=segment, weighted=weighted)
