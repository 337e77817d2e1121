"""Outline in a volume what a model knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.archives import DicomWebOption, volumes_here
from SegHiResCAMLib.cli.console import answer, job, note, print_files, print_json
from SegHiResCAMLib.cli.options import (
    RESULTS,
    JsonOption,
    ModelOption,
    OnOption,
    SeriesOption,
    VolumesArgument,
)
from SegHiResCAMLib.cli.question_options import with_options
from SegHiResCAMLib.records.question import SegmentOptions


@app.command(epilog="Example: seghirescam segment ct.nii.gz --model my-bundle -o ct.seg.nrrd")
@with_options(SegmentOptions)
def segment(
    volume: VolumesArgument,
    model: ModelOption,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="A .seg.nrrd, .nrrd, .nii.gz, .nii or .mha file.",
            rich_help_panel=RESULTS,
        ),
    ],
    series: SeriesOption = None,
    dicomweb: DicomWebOption = None,
    on: OnOption = None,
    as_json: JsonOption = False,
    *,
    chosen: dict[str, Any],
) -> None:
    """Segment a volume with a model, on the volume's own grid."""
    with job() as progress:
        import numpy as np

        from SegHiResCAMLib.computers import computer
        from SegHiResCAMLib.engine.images.inputs import read_inputs
        from SegHiResCAMLib.engine.progress import part
        from SegHiResCAMLib.results import check_segmentation, write_segmentation

        progress(0.0, "Reading")
        with volumes_here(volume, dicomweb, series, part(progress, 0.0, 0.05)) as here, computer(on) as computing:
            opened = computing.open_model(model)
            check_segmentation(output, [*here, model, opened.source])
            read = read_inputs(here, series if here == volume else None, part(progress, 0.05, 0.1))
            found = computing.segment(opened, read, SegmentOptions(**chosen), part(progress, 0.1, 0.95))
        millilitres = float(np.abs(np.linalg.det(read.affine.numpy()[:3, :3]))) / 1000
        volumes = {
            label.name: int((found.labels == label.value).count_nonzero()) * millilitres for label in opened.labels
        }
        progress(0.95, "Writing")
        write_segmentation(output, opened, found)
    if as_json:
        print_json({"file": str(output), "volumes_ml": volumes, "engine": found.engine, "notes": list(opened.notes)})
        return
    for one in opened.notes:
        note("Note", one)
    for name, amount in volumes.items():
        answer.print(f"{name}: {amount:.1f} ml")
    answer.print(f"Segmented by {found.engine}")
    print_files([output])
