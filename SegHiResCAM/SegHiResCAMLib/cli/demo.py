"""The main job on the sample patient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import job, open_scene, print_explanation, print_files, print_json
from SegHiResCAMLib.cli.options import JsonOption, utf_8_only
from SegHiResCAMLib.records.json_form import to_json


@app.command(epilog="Example: seghirescam demo -o my-demo")
def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", callback=utf_8_only, help="Folder for the results.")
    ] = Path("demo-output"),
    as_json: JsonOption = False,
) -> None:
    """Segment the sample patient and explain its tumour by two methods, side by side."""
    with job() as progress:
        from SegHiResCAMLib.demo import run_demo

        files, explanations = run_demo(open_scene, output, progress)
    if as_json:
        print_json(to_json(explanations[0].record()) | {"files": [str(file) for file in files]})
        return
    for explanation in explanations:
        print_explanation(explanation)
    print_files(files)
