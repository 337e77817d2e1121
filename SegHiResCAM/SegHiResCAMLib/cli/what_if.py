"""Remove a region and segment again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import answer, job, open_scene, print_files, print_json
from SegHiResCAMLib.cli.explain import MaskSegment, MaskValue, Output, mask_of
from SegHiResCAMLib.cli.options import JsonOption, ModelOption, SeriesOption, VolumesArgument
from SegHiResCAMLib.cli.plain_console import heading
from SegHiResCAMLib.cli.question_options import with_options
from SegHiResCAMLib.records.evidence import WhatIfRecord
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.map_check import Fill
from SegHiResCAMLib.records.question import WHAT, Question
from SegHiResCAMLib.records.wording import number

Segment = Annotated[
    str | None,
    typer.Option(
        "--segment",
        "-s",
        metavar="NAME",
        help="The segment that --region speaks of; default: the model's first.",
        rich_help_panel=WHAT,
    ),
]
MaskToRemove = Annotated[
    str | None,
    typer.Option("--mask", metavar="FILE", help="Remove these voxels (above 0).", rich_help_panel=WHAT),
]
FillOption = Annotated[
    Fill,
    typer.Option(
        help="What takes its place: shell, the mean of the tissue around; patch, real tissue from elsewhere in the volume; blur, the smoothed "
        "surroundings.",
        rich_help_panel=WHAT,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Of the choice of tissue from elsewhere.", rich_help_panel=WHAT)]


@app.command(
    "what-if", epilog="Example: seghirescam what-if ct.nii.gz -m my-bundle --region sphere:12.5,-40,88,15 -o without-it"
)
@with_options(Question, "region", "mode", "axis", "device", "engine")
def what_if(
    volume: VolumesArgument,
    model: ModelOption,
    output: Output,
    segment: Segment = None,
    mask: MaskToRemove = None,
    mask_value: MaskValue = None,
    mask_segment: MaskSegment = None,
    fill: FillOption = "shell",
    seed: Seed = 0,
    series: SeriesOption = None,
    as_json: JsonOption = False,
    *,
    chosen: dict[str, Any],
) -> None:
    """Replace a region by other tissue and segment again: what would the model segment if it were not there?"""
    with job() as progress:
        from SegHiResCAMLib.records.what_if_job import WhatIfJob
        from SegHiResCAMLib.what_if_files import run_what_if

        question = Question(segment=segment or "", **chosen)
        asked = WhatIfJob(
            volumes=tuple(volume),
            model=model,
            question=question,
            mask=mask_of(question, mask, mask_value, mask_segment, False),
            fill=fill,
            seed=seed,
            series=series,
        )
        record, files = run_what_if(asked, output, open_scene, progress)
    if as_json:
        print_json(to_json(record) | {"files": [str(file) for file in files]})
        return
    _print_record(record)
    print_files(files)


def _print_record(record: WhatIfRecord) -> None:
    answer.print()
    answer.print(f"{record.region} replaced ({record.fill}): {number(record.removed_ml)} ml", style="bold")
    answer.print(
        f"  {record.windows_touched} of {record.windows} windows changed; {record.windows_computed} were computed"
    )
    rows = [heading("  segment", "before, ml", "afterwards, ml", "Dice", "score before", "score afterwards")]
    for one in record.segments:
        numbers = (one.before_ml, one.after_ml, one.dice, one.score_before, one.score_after)
        rows.append([f"  {one.segment}", *("" if value is None else number(value, 4) for value in numbers)])
    answer.print_rows(rows)
