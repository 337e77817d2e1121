"""Explain a segment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import job, open_scene, print_explanation, print_files, print_json
from SegHiResCAMLib.cli.options import (
    Axis,
    AxisOption,
    Device,
    DeviceOption,
    JsonOption,
    Mode,
    ModelOption,
    ModeOption,
    SeriesOption,
    VolumeArgument,
)


@app.command(epilog="Example: seghirescam explain ct-dicom/ --model my-bundle --segment tumour -o why-tumour")
def explain(
    volume: VolumeArgument,
    model: ModelOption,
    segment: Annotated[str, typer.Option("--segment", "-s", metavar="NAME", help="The segment to explain.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")],
    method: Annotated[str, typer.Option(help="See 'methods'.")] = "seg-hires-grad-cam",
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="See 'layers'; left out, one is suggested.")] = None,
    mode: ModeOption = Mode.auto,
    axis: AxisOption = Axis.axial,
    device: DeviceOption = Device.auto,
    mask: Annotated[
        str | None, typer.Option(metavar="FILE", help="Explain these voxels (above 0), not those the model outlines.")
    ] = None,
    series: SeriesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain why a model outlined a segment: heat map, segmentation, picture, scene for 3D Slicer, and the facts."""
    with job() as progress, open_scene() as scene:
        from SegHiResCAMLib.engine.explain import explain as run
        from SegHiResCAMLib.engine.explanation import ExplainRequest
        from SegHiResCAMLib.engine.models import open_model
        from SegHiResCAMLib.engine.progress import part
        from SegHiResCAMLib.engine.volume import read_volume
        from SegHiResCAMLib.results import write_explanations

        progress(0.0, "Reading")
        opened = open_model(model)
        request = ExplainRequest(
            volume=read_volume(volume, series=series),
            model=opened,
            segment=segment,
            method=method,
            layer=layer,
            mode=mode.value,
            axis=axis.value,
            device=device.value,
        )
        if mask is not None:
            drawn = read_volume(mask)
            request = replace(request, mask=drawn > 0)
        found = run(request, progress=part(progress, 0.05, 0.95))
        progress(0.95, "Writing")
        files = write_explanations(scene, output, request.volume, opened, [found])
    if as_json:
        print_json(found.as_dict() | {"files": [str(file) for file in files]})
        return
    print_explanation(found)
    print_files(files)
