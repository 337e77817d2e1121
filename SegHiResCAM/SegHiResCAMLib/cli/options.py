"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from SegHiResCAMLib.records.question import WHERE

INPUT, RESULTS = "Input", "Results"
"""Groups of options in --help, beside those of the question."""


def utf_8_only(folder: Path) -> Path:
    """A folder for scenes, if its name is UTF-8: MRML's writers know no other, and end the program over one."""
    name = str(folder.absolute())
    if not name.isascii() and name != name.encode("utf-8", "replace").decode("utf-8"):
        raise typer.BadParameter(
            f"The name of '{name}' is not UTF-8, so no scene can be written there. Choose another folder."
        )
    return folder


VolumesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="VOLUME...",
        help="NIfTI, NRRD, MetaImage, image file, or DICOM folder. For a model with several inputs: one for each, in the model's order.",
    ),
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="File, folder or catalogue name of a model.")]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model", "-m", metavar="MODEL", help="File, folder or catalogue name of a model.", rich_help_panel=INPUT
    ),
]
SeriesOption = Annotated[
    str | None,
    typer.Option(
        metavar="UID",
        help="SeriesInstanceUID of the series to read, if the folder holds several.",
        rich_help_panel=INPUT,
    ),
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="USER@HOST",
        help="Compute on another computer, over ssh; files are read and written here.",
        rich_help_panel=WHERE,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON on standard output, for programs.", rich_help_panel=RESULTS),
]
