"""What a map can be made of: layers and methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import answer, job, print_json
from SegHiResCAMLib.cli.inputs import read_inputs
from SegHiResCAMLib.cli.options import Axis, AxisOption, JsonOption, ModelArgument

if TYPE_CHECKING:
    from SegHiResCAMLib.engine.cam.layers import Layer


@app.command(epilog="Example: seghirescam layers my-bundle --segment-size 9")
def layers(
    model: ModelArgument,
    volume: Annotated[
        list[str] | None,
        typer.Option("--volume", metavar="VOLUME", help="List them for the windows and spacing of this volume."),
    ] = None,
    axis: AxisOption = Axis.auto,
    size: Annotated[
        float | None,
        typer.Option("--segment-size", metavar="MM", min=0.01, help="Mark layers that are coarser than this segment."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that cannot be explained, with the reason.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List a model's layers as a tree: channels, grid, mm from position to position, mm that one position sees, and marks."""
    with job() as progress:
        from SegHiResCAMLib.engine.answer.model_layers import model_layers, volume_layers
        from SegHiResCAMLib.engine.cam.layers import suggest_layer
        from SegHiResCAMLib.engine.inference.preprocessing import prepare
        from SegHiResCAMLib.engine.models import open_model

        opened = open_model(model)
        if volume:
            progress(0.1, "Reading")
            listed = volume_layers(opened, prepare(opened, read_inputs(volume)), axis.value)
        else:
            listed = model_layers(opened)
        suggested, reason = suggest_layer(listed)
    hidden = sum(bool(layer.reason) for layer in listed)
    shown = listed if everything else [layer for layer in listed if not layer.reason]
    if as_json:
        facts = [layer.as_dict(size) for layer in shown]
        print_json({"suggested": suggested.name, "reason": reason, "layers": facts})
        return
    marks = {mark.title: mark.sentence for layer in shown for mark in layer.marks(size)}
    answer.print(f"[bold]{opened.name}[/bold]\n")
    answer.print(_tree(shown, suggested, size))
    answer.print(f"\nSuggested: {suggested.name}, {reason}.")
    for title, sentence in marks.items():
        if title != "coarser than the segment":  # its sentence differs from layer to layer, and says no more
            answer.print(f"[yellow]{title}[/yellow]: {sentence}")
    if hidden and not everything:
        answer.print(
            f"[dim]{hidden} modules that cannot be explained are left out; --all lists them with the reason.[/dim]"
        )


def _tree(shown: list[Layer], suggested: Layer, size: float | None) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("layer", "kind", "channels", "grid", "mm", "sees, mm", ""):
        table.add_column(column, overflow="fold", justify="right" if column == "channels" else "left")
    above: list[str] = []
    for layer in shown:
        above = [name for name in above if layer.name.startswith(f"{name}.")]
        name = "  " * len(above) + layer.name
        above.append(layer.name)
        if layer.reason:
            table.add_row(
                f"[dim]{name}[/dim]", f"[dim]{layer.kind}[/dim]", "", "", "", "", f"[dim]{layer.reason}[/dim]"
            )
            continue
        notes = [f"[yellow]{mark.title}[/yellow]" for mark in layer.marks(size)]
        if layer is suggested:
            name, notes = f"[bold]{name}[/bold]", ["[bold]← suggested[/bold]", *notes]
        table.add_row(
            name,
            layer.kind,
            str(layer.channels),
            _times(layer.grid),
            _times(layer.mm) or "as the volume",
            _times(layer.receptive_field_mm)
            or (_times(layer.receptive_field) and f"{_times(layer.receptive_field)} px")
            or "everything",
            ", ".join(notes),
        )
    return table


def _times(sizes: Sequence[float]) -> str:
    """As short as it can be: "6" where all axes agree."""
    written = [f"{size:.3g}" for size in sizes]
    return written[0] if len(set(written)) == 1 and len(written) > 1 else " x ".join(written)


@app.command(epilog="Example: seghirescam methods")
def methods(as_json: JsonOption = False) -> None:
    """List the methods: identifier, what each computes, and where it comes from."""
    with job():
        from SegHiResCAMLib.engine.cam.methods import METHODS
    if as_json:
        names = ("title", "summary", "source", "options")
        print_json({one: {name: getattr(method, name) for name in names} for one, method in METHODS.items()})
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("method", no_wrap=True)
    table.add_column("the map", overflow="fold")
    table.add_column("source", overflow="fold")
    for name, method in METHODS.items():
        options = ", ".join(f"{option}={default}" for option, default in method.options.items())
        table.add_row(name, method.summary + (f" [dim](options: {options})[/dim]" if options else ""), method.source)
    answer.print(table)
