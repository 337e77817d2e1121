"""Explain a segment."""

from __future__ import annotations

import ast
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import job, note, open_scene, print_explanation, print_files, print_json, told
from SegHiResCAMLib.cli.inputs import read_inputs
from SegHiResCAMLib.cli.options import (
    COMPUTING,
    METHOD,
    QUESTION,
    RESULTS,
    Axis,
    AxisOption,
    Combine,
    Device,
    DeviceOption,
    JsonOption,
    Mode,
    ModelOption,
    ModeOption,
    Precision,
    SeriesOption,
    VolumesArgument,
    utf_8_only,
)
from SegHiResCAMLib.cli.pixel_sets import PIXELS_HELP, pixel_set_of

if TYPE_CHECKING:
    from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
    from SegHiResCAMLib.engine.inference.segmentation import Segmentation
    from SegHiResCAMLib.engine.progress import Progress

EVERY = "all"
"""Stands for every method in --compare."""


@app.command(epilog="Example: seghirescam explain ct-dicom/ --model my-bundle --segment tumour -o why-tumour")
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
            rich_help_panel=QUESTION,
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
    method: Annotated[
        str, typer.Option(metavar="METHOD", help="See 'methods'.", rich_help_panel=METHOD)
    ] = "seg-hires-grad-cam",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An option of the method, as 'methods' lists them.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD",
            help=f"Another method to set beside it, as often as you like; '{EVERY}' for all.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="See 'layers'; left out, one is suggested.", rich_help_panel=METHOD),
    ] = None,
    refine_with: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A further layer, whose map is combined with the first one's.", rich_help_panel=METHOD
        ),
    ] = None,
    refine: Annotated[
        Combine, typer.Option(help="How the maps of several layers are combined.", rich_help_panel=METHOD)
    ] = Combine.product,
    pixels: Annotated[str | None, typer.Option(metavar="SET", help=PIXELS_HELP, rich_help_panel=QUESTION)] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Explain these voxels (above 0), not those the model outlines.",
            rich_help_panel=QUESTION,
        ),
    ] = None,
    mask_value: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of a mask with several labels, the one to explain.", rich_help_panel=QUESTION),
    ] = None,
    mask_segment: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of a mask that is a segmentation file of several segments, the one to explain: name or ID.",
            rich_help_panel=QUESTION,
        ),
    ] = None,
    weighted: Annotated[
        bool,
        typer.Option("--weighted", help="The mask's values say how much each voxel counts.", rich_help_panel=QUESTION),
    ] = False,
    contrast: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Why the segment rather than this one? A segment's name, or 'background'.",
            rich_help_panel=QUESTION,
        ),
    ] = None,
    contrast_weight: Annotated[
        float, typer.Option(metavar="W", help="How much the other segment counts.", rich_help_panel=QUESTION)
    ] = 1.0,
    mode: ModeOption = Mode.auto,
    axis: AxisOption = Axis.auto,
    device: DeviceOption = Device.auto,
    precision: Annotated[
        Precision,
        typer.Option(help="mixed: a faster preview on a GPU, whose map differs a little.", rich_help_panel=COMPUTING),
    ] = Precision.full,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="The same numbers bit for bit every time on this machine; may be slower.",
            rich_help_panel=COMPUTING,
        ),
    ] = False,
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
) -> None:
    """Explain why a model outlined a segment: heat map, segmentation, picture, scene for 3D Slicer, and the facts."""
    with job() as progress:
        from SegHiResCAMLib.engine.answer.explain import explain_segments
        from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
        from SegHiResCAMLib.engine.cam.methods import METHODS, find_method
        from SegHiResCAMLib.engine.images.dicom.write import check_source
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

        _check_mask_options(pixels, mask, mask_value, mask_segment, weighted)
        progress(0.0, "Reading")
        every = EVERY in (compare or [])
        others = [one for one in METHODS if one != method] if every else list(compare or [])
        for name in others:
            find_method(name)
        opened = open_model(model)
        names = [opened.label(one).name for one in segment]
        inputs = [*volume, model, opened.source, *filter(None, [mask, dicom])]
        with closing(begin_result(output, names, inputs, more=[NIFTI, NIFTI_LABELS] if nifti else [])) as result:
            request = ExplainRequest(
                volume=read_inputs(volume, series),
                model=opened,
                segment=segment[0],
                method=method,
                method_options=_options_of(settings or []),
                layer=layer,
                refine_with=tuple(refine_with or ()),
                refine=refine.value,
                pixel_set=None if pixels is None else pixel_set_of(pixels),
                mask=None
                if mask is None
                else read_mask(mask, segment=mask_segment, value=mask_value, weighted=weighted),
                contrast=contrast,
                contrast_weight=contrast_weight,
                mode=mode.value,
                axis=axis.value,
                device=device.value,
                precision=precision.value,
                deterministic=deterministic,
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
        facts = [
            explanations[0].as_dict() | {"compared_with": [one.as_dict() for one in explanations[1:]]}
            for explanations in by_segment
        ]
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

    try:
        return [explain_segments(replace(request, method=method, method_options={}), segments, segmentation, progress)]
    except EngineError as problem:
        if not skip:
            raise
        note("Left out", f"{method}. {problem.sentence}", told)
        return []


def _options_of(settings: list[str]) -> dict[str, Any]:
    """`["pool=4", "mode=max"]` as a dictionary; values are numbers where they look like numbers."""
    from SegHiResCAMLib.engine.errors import EngineError

    found: dict[str, Any] = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign:
            raise EngineError(
                "method-option", f"'{setting}' sets nothing: write an option as name=value, such as pool=4."
            )
        try:
            found[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            found[name.strip()] = value.strip()
    return found


def _check_mask_options(
    pixels: str | None, mask: str | None, value: int | None, segment: str | None, weighted: bool
) -> None:
    """Refuse options of which one would say nothing."""
    from SegHiResCAMLib.engine.errors import EngineError

    if mask is None and (value is not None or segment is not None or weighted):
        sentence = "--mask-value, --mask-segment and --weighted say how a mask is read, and there is none: give it with --mask, too."
        raise EngineError("mask-missing", sentence)
    if mask is not None and pixels not in (None, "mask"):
        raise EngineError(
            "mask-and-pixels", "--mask and --pixels both say which voxels are explained: give one of them."
        )
