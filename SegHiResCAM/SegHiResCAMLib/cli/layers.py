"""What a map can be made of: layers and methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import answer, job, note, print_json
from SegHiResCAMLib.cli.options import JsonOption, ModelArgument, OnOption
from SegHiResCAMLib.cli.plain_console import Cell, heading
from SegHiResCAMLib.cli.question_options import with_options
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.models import LayerList
from SegHiResCAMLib.records.question import SegmentOptions


@app.command(epilog="Example: seghirescam layers my-bundle --segment-size 9")
@with_options(SegmentOptions, "axis")
def layers(
    model: ModelArgument,
    volume: Annotated[
        list[str] | None,
        typer.Option("--volume", metavar="VOLUME", help="Show grids and spacing for this volume."),
    ] = None,
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
    on: OnOption = None,
    as_json: JsonOption = False,
    *,
    chosen: dict[str, Any],
) -> None:
    """List a model's layers as a tree: channels, grid, grid spacing, receptive field, and caveats."""
    with job() as progress:
        from SegHiResCAMLib.computers import computer
        from SegHiResCAMLib.engine.images.inputs import read_inputs

        with computer(on) as computing:
            opened = computing.open_model(model)
            progress(0.1, "Reading")
            read = read_inputs(volume, progress=progress) if volume else None
            listed = computing.layers(opened, read, chosen["axis"], size, progress)
    hidden = sum(bool(layer.reason) for layer in listed.layers)
    if not everything:
        listed = replace(listed, layers=tuple(layer for layer in listed.layers if not layer.reason))
    if as_json:
        print_json(to_json(listed))
        return
    caveats = {one.code: one for layer in listed.layers for one in layer.caveats}
    answer.print(opened.name, style="bold")
    answer.print()
    answer.print_rows(_tree(listed))
    answer.print()
    answer.print(f"Suggested: {listed.suggested}, {listed.reason}.")
    for one in caveats.values():
        if one.code != "grid-too-coarse":  # its message differs from layer to layer, and says no more
            note(one.title, one.message)
    if hidden and not everything:
        answer.print(
            f"{hidden} modules cannot be explained and are not listed; --all shows them with the reason.", style="dim"
        )


def _tree(listed: LayerList) -> list[list[Cell]]:
    rows: list[list[Cell]] = [heading("layer", "kind", "channels", "grid", "spacing, mm", "receptive field, mm", "")]
    above: list[str] = []
    for layer in listed.layers:
        above = [name for name in above if layer.name.startswith(f"{name}.")]
        name = "  " * len(above) + layer.name
        above.append(layer.name)
        if layer.reason:
            rows.append([(name, "dim"), (layer.kind, "dim"), "", "", "", "", (layer.reason, "dim")])
            continue
        marks = ", ".join(one.title for one in layer.caveats)
        is_suggested = layer.name == listed.suggested
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
        from SegHiResCAMLib.engine.cam.methods import method_summaries

        known = method_summaries()
    if as_json:
        print_json(to_json(known))
        return
    rows: list[list[Cell]] = [heading("method", "the map, its options, and its source")]
    for method in known:
        options = ", ".join(f"{option.name}={option.default}" for option in method.options)
        said = f"{method.summary} (options: {options})" if options else method.summary
        rows.append([method.identifier, f"{said}. {method.source}"])
    answer.print_rows(rows)
