"""Models: which there are, what one is, and a description for one that has none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import answer, job, print_json
from SegHiResCAMLib.cli.options import JsonOption, ModelArgument

catalogue_app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich")
app.add_typer(
    catalogue_app,
    name="models",
    epilog="Example: seghirescam models, then seghirescam info kidney-phantom-3d",
    help="List the models that are known by name; get, add and remove them.",
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As 'seghirescam models' lists it.")]


@catalogue_app.callback()
def models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the models that are known by name; get, add and remove them."""
    if context.invoked_subcommand:
        return
    with job():
        from SegHiResCAMLib.engine.models.catalogue.catalogue import cache_size, entries
        from SegHiResCAMLib.engine.models.catalogue.download import readable
        from SegHiResCAMLib.model_folders import cache_folder, user_catalogue

        known, taken = entries(), cache_size()
    if as_json:
        facts = [
            {**entry.content, "location": str(entry.location), "present": entry.is_present} for entry in known.values()
        ]
        print_json(
            {"models": facts, "catalogue": str(user_catalogue()), "cache": str(cache_folder()), "cache_bytes": taken}
        )
        return
    table = _table("model", "outlines", "licence", "where")
    for entry in known.values():
        where = (
            "here"
            if entry.is_present
            else "missing"
            if entry.path
            else f"to get, {readable(entry.size)}"
            if entry.size
            else "to get"
        )
        outlines = ", ".join(label["name"] for label in entry.content["labels"])
        table.add_row(
            f"[bold]{entry.name}[/bold]", escape(_short(outlines)), escape(entry.content["licence"]) or "unknown", where
        )
    answer.print(table)
    answer.print("\nEach name can stand wherever a command takes a MODEL; 'seghirescam info NAME' tells more.")
    answer.print(f"[dim]Your own catalogue: {user_catalogue()}[/dim]", soft_wrap=True)
    answer.print(f"[dim]Downloaded models: {readable(taken)} in {cache_folder()}[/dim]", soft_wrap=True)


@catalogue_app.command(epilog="Example: seghirescam models get my-hospitals-liver")
def get(name: NameArgument) -> None:
    """Download a model; an interrupted download goes on where it broke off."""
    with job() as progress:
        from SegHiResCAMLib.engine.models.catalogue.catalogue import get as fetch

        place = fetch(name, progress)
    answer.print(f"'{name}' is here: {place}", soft_wrap=True)


@catalogue_app.command(epilog="Example: seghirescam models add ~/models/liver-bundle --name liver")
def add(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="File or folder of a model on this machine.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Left out, made of the file's or folder's name.")
    ] = None,
    source: Annotated[str, typer.Option(metavar="TEXT", help="Where it comes from.")] = "",
) -> None:
    """Put a model that lies on this machine into your own catalogue, so that its name suffices."""
    with job():
        from SegHiResCAMLib.engine.models import open_model
        from SegHiResCAMLib.engine.models.catalogue.catalogue import add as put

        opened = open_model(model)
        chosen = name or Path(model).resolve().stem.casefold().replace(" ", "-")
        labels = [
            {"name": label.name} | ({"snomed": label.terminology.type.value} if label.terminology else {})
            for label in opened.labels
        ]
        facts = {"title": opened.name, "description": opened.description, "licence": opened.licence, "source": source}
        catalogue = put(model, chosen, {**facts, "labels": labels, "sha256": opened.sha256})
    answer.print(f"'{opened.name}' is now called '{chosen}' (in {catalogue}).", soft_wrap=True)


@catalogue_app.command(epilog="Example: seghirescam models remove liver")
def remove(name: NameArgument) -> None:
    """Take a model out of your own catalogue; its files stay where they are."""
    with job():
        from SegHiResCAMLib.engine.models.catalogue.catalogue import remove as take_out

        take_out(name)
    answer.print(f"'{name}' is out of the catalogue.")


@catalogue_app.command(epilog="Example: seghirescam models clear")
def clear() -> None:
    """Delete all downloaded models from the cache folder."""
    with job():
        from SegHiResCAMLib.engine.models.catalogue.catalogue import empty_cache
        from SegHiResCAMLib.engine.models.catalogue.download import readable
        from SegHiResCAMLib.model_folders import cache_folder

        freed = empty_cache()
    answer.print(f"{readable(freed)} are free again in {cache_folder()}.", soft_wrap=True)


@app.command(epilog="Example: seghirescam info kidney-phantom-3d")
def info(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Tell what a model is: format, network, inputs, labels with their codes, layers worth explaining, licence."""
    with job():
        from SegHiResCAMLib.engine.answer.model_facts import model_facts
        from SegHiResCAMLib.engine.models import open_model

        facts = model_facts(open_model(model))
    if as_json:
        print_json(facts)
        return
    answer.print(f"[bold]{escape(facts['name'])}[/bold]")
    if facts["description"]:
        answer.print(escape(facts["description"]))
    answer.print()
    rows = Table(box=None, pad_edge=False, show_header=False)
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for title, text in _about(facts):
        rows.add_row(title, escape(text))
    answer.print(rows)
    answer.print()
    answer.print(_labels(facts["labels"]))
    answer.print()
    if facts["layers"]:
        answer.print(_layers(facts))
    answer.print(f"[dim]{'Suggested: ' if facts['layers'] else ''}{escape(facts['layers_reason'].rstrip('.'))}.[/dim]")


@app.command(epilog="Example: seghirescam describe model.pt, then fill in what model.json lists under to_do")
def describe(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A .pt, .pth, .ckpt, .bin or .safetensors file.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Left out, beside the checkpoint under its name."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Recognise a checkpoint's network and write a first draft of the description that it needs to be opened."""
    with job():
        from SegHiResCAMLib.engine.models.describe import describe_checkpoint, write_draft
        from SegHiResCAMLib.engine.models.plain import description_of

        draft = describe_checkpoint(checkpoint)
        file = output or description_of(Path(checkpoint))
        write_draft(draft, file, replace=force)
    network = draft.content["network"]
    if as_json:
        print_json({"file": str(file), "parameters": draft.parameters, **draft.content})
        return
    answer.print(
        f"[bold]{network['class']}[/bold] with {draft.parameters:,} parameters: all weights fit by name and shape."
    )
    rows = Table(box=None, pad_edge=False, show_header=False)
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for name, value in network["arguments"].items():
        rows.add_row(f"  {name}", escape(str(value)))
    answer.print(rows)
    answer.print("\nThe weights do not say the following. Settle each in the file, then take 'to_do' out:")
    open_questions = Table(box=None, pad_edge=False, show_header=False)
    for item in draft.content["to_do"]:
        open_questions.add_row("  •", escape(item))
    answer.print(open_questions)
    answer.print(f"\nWritten:\n  {file}", soft_wrap=True)


def _about(facts: dict[str, Any]) -> list[tuple[str, str]]:
    window = (
        f"{_times(facts['window'])}, overlap {facts['overlap']:g}" if facts["window"] else "the whole image at once"
    )
    inputs = f"{facts['in_channels']} channel(s)" + (f": {', '.join(facts['inputs'])}" if facts["inputs"] else "")
    return [
        ("format", facts["format"]),
        ("network", f"{facts['network']}, {facts['spatial_dims']}D, {facts['parameters']:,} parameters"),
        ("inputs", inputs),
        ("spacing", f"{_times(facts['spacing_mm'])} mm" if facts["spacing_mm"] else "as the volume"),
        ("window", window),
        ("output", facts["activation"] + (", largest component of each" if facts["largest_component"] else "")),
        ("licence", facts["licence"] or "unknown"),
        ("SHA-256", facts["sha256"]),
        ("file", facts["source"]),
        *([("weights", facts["weights_file"])] if facts["weights_file"] else []),
        *(("note", note) for note in facts["notes"]),
    ]


def _labels(labels: list[dict[str, Any]]) -> Table:
    table = _table("", "label", "value", "SNOMED CT")
    for label in labels:
        code = "unknown"
        if label["type"]:
            parts = [label["modifier"], label["type"], label["region"]]
            code = ", ".join(f"{part['meaning']} {part['value']}" for part in parts if part)
        red, green, blue = label["color"]
        table.add_row(f"[rgb({red},{green},{blue})]■[/]", escape(label["name"]), str(label["value"]), escape(code))
    return table


def _layers(facts: dict[str, Any]) -> Table:
    table = _table("layers worth explaining", "channels", "grid", "mm", "")
    for layer in facts["layers"]:
        suggested = layer["name"] == facts["suggested_layer"]
        notes = [*layer["aliases"], *(["[bold]← suggested[/bold]"] if suggested else [])]
        name = f"[bold]{layer['name']}[/bold]" if suggested else layer["name"]
        mm = _times(layer["mm"]) or "as the volume"
        table.add_row(name, str(layer["channels"]), _times(layer["grid"]), mm, ", ".join(notes))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _times(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:.3g}" for size in sizes)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
