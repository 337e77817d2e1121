"""The command `seghirescam`; may import engine and scene, both only when a command needs them, so that --help is instant."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from SegHiResCAMLib.engine.cam.layers import Layer
    from SegHiResCAMLib.engine.explanation import Explanation

DEBUG = "SEGHIRESCAM_DEBUG"
RESEARCH_ONLY = "For research use. A heat map shows what a network's output depended on; it is no diagnosis."

app = typer.Typer(
    name="seghirescam",
    help=f"Why did the network outline this? Class activation maps for segmentation networks.\n\n{RESEARCH_ONLY}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
told = Console(stderr=True, highlight=False)
answer = Console(highlight=False)


class Mode(str, Enum):  # noqa: D101 - the help of the option says it
    auto = "auto"
    slice_wise = "slice-wise"
    volumetric = "volumetric"


class Axis(str, Enum):  # noqa: D101
    axial = "axial"
    coronal = "coronal"
    sagittal = "sagittal"


class Device(str, Enum):  # noqa: D101
    auto = "auto"
    cuda = "cuda"
    mps = "mps"
    cpu = "cpu"


VolumeArgument = Annotated[
    str, typer.Argument(metavar="VOLUME", help="NIfTI, NRRD, MetaImage, picture, or DICOM folder.")
]
ModelOption = Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help="Folder of a MONAI bundle.")]
ModeOption = Annotated[Mode, typer.Option(help="How the network goes through the volume; auto fits the network.")]
AxisOption = Annotated[Axis, typer.Option(help="Direction of slices, for 2D networks, in patient space.")]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto takes a GPU where there is one.")]
SeriesOption = Annotated[
    str | None, typer.Option(metavar="UID", help="SeriesInstanceUID, for a folder of several series.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the facts as JSON on standard output, for programs.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        answer.print(f"seghirescam {version('seghirescam')}")
        raise typer.Exit


@app.callback()
def _general(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: seghirescam demo -o my-demo")
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")] = Path(
        "demo-output"
    ),
    as_json: JsonOption = False,
) -> None:
    """Explain the tumour of a phantom patient that comes with the program, with both methods side by side."""
    with _job() as progress, _scene() as scene:
        from SegHiResCAMLib.demo import run_demo

        files, explanations, dice = run_demo(scene, output, progress)
    if as_json:
        _print_json(explanations[0].as_dict() | {"dice": dice, "files": [str(file) for file in files]})
        return
    scores = ", ".join(f"{name} {score:.2f}" for name, score in dice.items())
    answer.print(f"The network outlined a phantom patient (Dice against the truth: {scores}).")
    for explanation in explanations:
        _print_explanation(explanation)
    _print_files(files)


@app.command(epilog="Example: seghirescam layers my-bundle")
def layers(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a MONAI bundle.")],
    as_json: JsonOption = False,
) -> None:
    """List a model's layers: name, channels, grid, millimetres from position to position, or why one cannot be explained."""
    with _job():
        from SegHiResCAMLib.engine.cam.layers import suggest_layer
        from SegHiResCAMLib.engine.explain import model_layers
        from SegHiResCAMLib.engine.models import open_model

        opened = open_model(model)
        listed = model_layers(opened)
        suggested, reason = suggest_layer(listed)
    if as_json:
        facts = [_layer_facts(layer) for layer in listed]
        _print_json({"suggested": suggested.name, "reason": reason, "layers": facts})
        return
    table = Table(title=f"{opened.name}: layers", title_justify="left", box=None, pad_edge=False)
    for column in ("layer", "kind", "channels", "grid", "mm"):
        table.add_column(column, overflow="fold", justify="right" if column == "channels" else "left")
    for layer in listed:
        name = f"[bold]{layer.name}  ← suggested[/bold]" if layer is suggested else layer.name
        if layer.reason:
            table.add_row(f"[dim]{name}[/dim]", f"[dim]{layer.kind}[/dim]", "", f"[dim]{layer.reason}[/dim]", "")
        else:
            grid, mm = (" x ".join(f"{value:g}" for value in values) for values in (layer.grid, layer.mm))
            table.add_row(name, layer.kind, str(layer.channels), grid, mm or "as the volume")
    answer.print(table)
    answer.print(f"\nSuggested: {suggested.name}, {reason}.")


@app.command(epilog="Example: seghirescam methods")
def methods(as_json: JsonOption = False) -> None:
    """List the methods: identifier, what each computes, and where it comes from."""
    with _job():
        from SegHiResCAMLib.engine.cam.methods import METHODS
    if as_json:
        _print_json({name: {"title": m.title, "summary": m.summary, "source": m.source} for name, m in METHODS.items()})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("method", "the map", "source"):
        table.add_column(column, overflow="fold")
    for name, method in METHODS.items():
        table.add_row(name, method.summary, method.source)
    answer.print(table)


@app.command(epilog="Example: seghirescam segment ct.nii.gz --model my-bundle -o ct.seg.nrrd")
def segment(
    volume: VolumeArgument,
    model: ModelOption,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="A .seg.nrrd, .nrrd, .nii.gz, .nii or .mha file.")
    ],
    mode: ModeOption = Mode.auto,
    axis: AxisOption = Axis.axial,
    device: DeviceOption = Device.auto,
    series: SeriesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Outline in a volume what a model knows, on the volume's own grid."""
    with _job() as progress, _scene() as scene:
        import numpy as np

        from SegHiResCAMLib.engine.models import open_model
        from SegHiResCAMLib.engine.segmentation import segment as run
        from SegHiResCAMLib.engine.volume import read_volume
        from SegHiResCAMLib.results import check_segmentation_name, write_segmentation

        check_segmentation_name(output)
        progress(0.0, "Reading")
        opened, read = open_model(model), read_volume(volume, series=series)
        found = run(opened, read, mode=mode.value, axis=axis.value, device=device.value, progress=progress)
        write_segmentation(scene, output, read, opened, found)
        millilitres = float(np.abs(np.linalg.det(read.affine.numpy()[:3, :3]))) / 1000
        volumes = {one.name: int((found.labels == one.value).sum()) * millilitres for one in opened.labels}
    if as_json:
        _print_json({"file": str(output), "volumes_ml": volumes})
        return
    for name, amount in volumes.items():
        answer.print(f"{name}: {amount:.1f} ml")
    _print_files([output])


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
    with _job() as progress, _scene() as scene:
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
        _print_json(found.as_dict() | {"files": [str(file) for file in files]})
        return
    _print_explanation(found)
    _print_files(files)


def main() -> None:
    """Entry point."""
    app()


@contextmanager
def _job() -> Iterator[Callable[[float, str], None]]:
    """A progress bar, and one sentence with exit code 1 for whatever goes wrong."""
    # Libraries warn developers; what this program has to say to users comes from its own modules.
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", module="SegHiResCAMLib")
    warnings.showwarning = lambda message, *_: told.print(f"[yellow]Note:[/yellow] {message}")
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=told,
        transient=True,
        disable=not told.is_terminal,
    )
    task = bar.add_task("Starting", total=1.0)
    try:
        with bar:
            yield lambda fraction, text: bar.update(task, completed=fraction, description=text)
    except (typer.Exit, SystemExit):
        raise
    except KeyboardInterrupt:
        _fail("Cancelled. No file was left half written.")
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        sentence = getattr(error, "sentence", None)
        if sentence is None:
            kind = type(error).__name__
            sentence = f"This should not have happened ({kind}: {error}). With {DEBUG}=1 in the environment, the trace is shown."
        _fail(sentence)


@contextmanager
def _scene() -> Iterator[Any]:
    from SegHiResCAMLib.scene.headless import headless_application

    with headless_application() as application:
        yield application.scene


def _fail(sentence: str) -> None:
    told.print(f"[red]{sentence}[/red]", soft_wrap=True)
    raise typer.Exit(1)


def _print_json(facts: Any) -> None:
    sys.stdout.write(json.dumps(facts, indent=2, allow_nan=False) + "\n")


def _print_explanation(explanation: Explanation) -> None:
    facts = explanation.provenance
    maximum, (right, front, up) = explanation.peak
    answer.print(
        f"\n[bold]{facts['method']}[/bold] of '{facts['segment']}' at layer {facts['layer']} "
        f"({explanation.layer_reason})\n"
        f"  peak {maximum:.4g} logit units at R {right:.1f}, A {front:.1f}, S {up:.1f} mm; "
        f"score {explanation.score:.4g} over {explanation.pixel_count} positions; "
        f"{explanation.windows_touched} of {explanation.windows} windows explained"
    )
    for diagnosis in explanation.diagnoses:
        answer.print(f"  [yellow]Note:[/yellow] {diagnosis.sentence}")


def _print_files(files: list[Path]) -> None:
    answer.print("\nWritten:")
    for file in files:
        answer.print(f"  {file}", soft_wrap=True)
    answer.print(f"\n[dim]{RESEARCH_ONLY}[/dim]")


def _layer_facts(layer: Layer) -> dict[str, Any]:
    facts = {"name": layer.name, "kind": layer.kind}
    if layer.reason:
        return facts | {"reason": layer.reason}
    return facts | {"channels": layer.channels, "grid": list(layer.grid), "mm": list(layer.mm)}
