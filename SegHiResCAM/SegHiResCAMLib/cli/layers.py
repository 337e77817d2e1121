"""What a map can be made of: layers and methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import answer, job, note, print_json
from SegHiResCAMLib.cli.inputs import read_inputs
from SegHiResCAMLib.cli.options import Axis, AxisOption, JsonOption, ModelArgument
from SegHiResCAMLib.cli.plain_console import Cell, heading

if TYPE_CHECKING:
    from SegHiResCAMLib.engine.cam.layers import Layer


@app.command(epilog="Example: seghirescam layers my-bundle --segment-size 9")
def layers(
    model: ModelArgument,
    volume: Annotated[
        list[str] | None,
        typer.Option("--volume", metavar="VOLUME", help="Show grids and spacing for this volume."),
    ] = None,
    axis: AxisOption = Axis.auto,
    size: Annotated[
        float | None,
        typer.Option(
            "--segment-size",
            metavar="MM",
            min=0.01,
            help="Diameter of the segment to explain, in mm: layers with a coarser grid are marked.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also list modules that cannot be explained, with the reason.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List a model's layers as a tree: channels, grid, grid spacing, receptive field, and caveats."""
    with job() as progress:
        from SegHiResCAMLib.engine.answer.model_layers import model_layers, volume_layers
        from SegHiResCAMLib.engine.cam.layers import suggest_layer
        from SegHiResCAMLib.engine.inference.preprocessing import prepare
        from SegHiResCAMLib.engine.models import open_model

        opened = open_model(model)
        if volume:
            progress(0.1, "Reading")
            listed = volume_layers(opened, prepare(opened, read_inputs(volume, progress=progress)), axis.value)
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
    answer.print(opened.name, style="bold")
    answer.print()
    answer.print_rows(_tree(shown, suggested, size))
    answer.print()
    answer.print(f"Suggested: {suggested.name}, {reason}.")
    for title, sentence in marks.items():
        if title != "coarser than the segment":  # its sentence differs from layer to layer, and says no more
            note(title, sentence)
    if hidden and not everything:
        answer.print(
            f"{hidden} modules cannot be explained and are not listed; --all shows them with the reason.", style="dim"
        )


def _tree(shown: list[Layer], suggested: Layer, size: float | None) -> list[list[Cell]]:
    rows: list[list[Cell]] = [heading("layer", "kind", "channels", "grid", "spacing, mm", "receptive field, mm", "")]
    above: list[str] = []
    for layer in shown:
        above = [name for name in above if layer.name.startswith(f"{name}.")]
        name = "  " * len(above) + layer.name
        above.append(layer.name)
        if layer.reason:
            rows.append([(name, "dim"), (layer.kind, "dim"), "", "", "", "", (layer.reason, "dim")])
            continue
        marks = ", ".join(mark.title for mark in layer.marks(size))
        is_suggested = layer is suggested
        row: list[Cell] = [
            (name, "bold" if is_suggested else ""),
            layer.kind,
            str(layer.channels),
            _times(layer.grid),
            _times(layer.mm) or "as the volume",
            _times(layer.receptive_field_mm)
            or (_times(layer.receptive_field) and f"{_times(layer.receptive_field)} px")
            or "whole image",
            ("← suggested" + (f", {marks}" if marks else ""), "bold") if is_suggested else (marks, "yellow"),
        ]
        rows.append(row)
    return rows


def _times(sizes: Sequence[float]) -> str:
    """As short as it can be: "6" where all axes agree."""
    written = [f"{size:.3g}" for size in sizes]
    return written[0] if len(set(written)) == 1 and len(written) > 1 else " x ".join(written)


@app.command(epilog="Example: seghirescam methods")
def methods(as_json: JsonOption = False) -> None:
    """List the methods: identifier, what each computes, its options and its source."""
    with job():
        from SegHiResCAMLib.engine.cam.methods import METHODS
    if as_json:
        names = ("title", "summary", "source", "options")
        print_json({one: {name: getattr(method, name) for name in names} for one, method in METHODS.items()})
        return
    rows: list[list[Cell]] = [heading("method", "the map, its options, and its source")]
    for name, method in METHODS.items():
        options = ", ".join(f"{option}={default}" for option, default in method.options.items())
        rows.append([name, method.summary + (f" (options: {options})" if options else "") + f". {method.source}"])
    answer.print_rows(rows)
