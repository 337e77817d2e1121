"""What a map can be made of: layers and methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import answer, job, print_json
from SegHiResCAMLib.cli.options import JsonOption

if TYPE_CHECKING:
    from SegHiResCAMLib.engine.cam.layers import Layer


@app.command(epilog="Example: seghirescam layers my-bundle")
def layers(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a MONAI bundle.")],
    as_json: JsonOption = False,
) -> None:
    """List a model's layers: name, channels, grid, millimetres from position to position, or why one cannot be explained."""
    with job():
        from SegHiResCAMLib.engine.cam.layers import suggest_layer
        from SegHiResCAMLib.engine.explain import model_layers
        from SegHiResCAMLib.engine.models import open_model

        opened = open_model(model)
        listed = model_layers(opened)
        suggested, reason = suggest_layer(listed)
    if as_json:
        facts = [_layer_facts(layer) for layer in listed]
        print_json({"suggested": suggested.name, "reason": reason, "layers": facts})
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
    with job():
        from SegHiResCAMLib.engine.cam.methods import METHODS
    if as_json:
        print_json({name: {"title": m.title, "summary": m.summary, "source": m.source} for name, m in METHODS.items()})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("method", "the map", "source"):
        table.add_column(column, overflow="fold")
    for name, method in METHODS.items():
        table.add_row(name, method.summary, method.source)
    answer.print(table)


def _layer_facts(layer: Layer) -> dict[str, Any]:
    facts = {"name": layer.name, "kind": layer.kind}
    if layer.reason:
        return facts | {"reason": layer.reason}
    return facts | {"channels": layer.channels, "grid": list(layer.grid), "mm": list(layer.mm)}
