"""The maps of several models of one case."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import answer, job, open_scene, print_files, print_json
from SegHiResCAMLib.cli.explain import MaskOption, MaskSegment, MaskValue, Output, mask_of
from SegHiResCAMLib.cli.options import JsonOption, ModelOption, SeriesOption, VolumesArgument
from SegHiResCAMLib.cli.plain_console import heading
from SegHiResCAMLib.cli.question_options import with_options
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.model_maps import ModelMapsRecord
from SegHiResCAMLib.records.question import WHAT, Question
from SegHiResCAMLib.records.wording import number

Others = Annotated[
    list[str],
    typer.Option(
        "--with",
        metavar="MODEL",
        help="A further model, as often as you like: another checkpoint, or the folder of another fold.",
        rich_help_panel=WHAT,
    ),
]
Segment = Annotated[
    str, typer.Option("--segment", "-s", metavar="NAME", help="The segment to explain.", rich_help_panel=WHAT)
]


@app.command(
    "compare-models",
    epilog="Example: seghirescam compare-models ct.nii.gz -m results/fold_0 --with results/fold_1 -s tumour -o folds",
)
@with_options(Question, "region", "contrast", "method", "layer", "mode", "axis", "device", "engine")
def compare_models(
    volume: VolumesArgument,
    model: ModelOption,
    others: Others,
    segment: Segment,
    output: Output,
    mask: MaskOption = None,
    mask_value: MaskValue = None,
    mask_segment: MaskSegment = None,
    series: SeriesOption = None,
    as_json: JsonOption = False,
    *,
    chosen: dict[str, Any],
) -> None:
    """Explain the same voxels by several models, such as folds or checkpoints: mean and standard deviation of the maps, and the difference of two."""
    with job() as progress:
        from SegHiResCAMLib.model_maps_files import run_model_maps
        from SegHiResCAMLib.records.model_maps import ModelMapsJob

        question = Question(segment=segment, **chosen)
        asked = ModelMapsJob(
            volumes=tuple(volume),
            models=(model, *others),
            question=question,
            mask=mask_of(question, mask, mask_value, mask_segment, False),
            series=series,
        )
        record, files = run_model_maps(asked, output, open_scene, progress)
    if as_json:
        print_json(to_json(record) | {"files": [str(file) for file in files]})
        return
    _print_record(record)
    print_files(files)


def _print_record(record: ModelMapsRecord) -> None:
    answer.print()
    answer.print(f"{record.segment}: {record.region}, {record.method}", style="bold")
    rows = [heading("  model", "layer", "score", "mean probability", "maximum")]
    for one in record.models:
        probability = "" if one.mean_probability is None else f"{one.mean_probability:.3f}"
        rows.append([f"  {one.model.name}", one.layer, number(one.score, 4), probability, number(one.maximum, 4)])
    answer.print_rows(rows)
    for title, value in (("standard deviation", record.deviation), ("difference", record.difference)):
        if value is not None:
            answer.print(f"  {title}: {100 * value:.1f} % of the map")
