"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

INPUT, QUESTION, METHOD = "Input", "What is explained", "Method and layer"
COMPUTING, RESULTS = "Computing", "Results"
"""Groups of options in --help."""


def utf_8_only(folder: Path) -> Path:
    """A folder for scenes, if its name is UTF-8: MRML's writers know no other, and end the program over one."""
    name = str(folder.absolute())
    if not name.isascii() and name != name.encode("utf-8", "replace").decode("utf-8"):
        raise typer.BadParameter(
            f"The name of '{name}' is not UTF-8, so no scene can be written there. Choose another folder."
        )
    return folder


class Mode(str, Enum):  # noqa: D101 - the help of the option says it
    auto = "auto"
    slice_wise = "slice-wise"
    volumetric = "volumetric"


class Axis(str, Enum):  # noqa: D101
    auto = "auto"
    axial = "axial"
    coronal = "coronal"
    sagittal = "sagittal"


class Combine(str, Enum):  # noqa: D101
    product = "product"
    mean = "mean"


class Precision(str, Enum):  # noqa: D101
    full = "full"
    mixed = "mixed"


class Device(str, Enum):  # noqa: D101
    auto = "auto"
    cuda = "cuda"
    mps = "mps"
    cpu = "cpu"


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
ModeOption = Annotated[
    Mode,
    typer.Option(
        help="slice-wise for 2D networks, volumetric for 3D networks; auto chooses.", rich_help_panel=COMPUTING
    ),
]
AxisOption = Annotated[
    Axis,
    typer.Option(
        help="Orientation of the slices in the patient, for 2D networks; auto: as the model's description says, otherwise axial.",
        rich_help_panel=COMPUTING,
    ),
]
DeviceOption = Annotated[
    Device, typer.Option(help="Where to compute; auto: the GPU if there is one.", rich_help_panel=COMPUTING)
]
SeriesOption = Annotated[
    str | None,
    typer.Option(
        metavar="UID",
        help="SeriesInstanceUID of the series to read, if the folder holds several.",
        rich_help_panel=INPUT,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON on standard output, for programs.", rich_help_panel=RESULTS),
]
