"""Models: which there are, what one is, and a description for one that has none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from SegHiResCAMLib.cli.application import Commands, app
from SegHiResCAMLib.cli.console import answer, job, print_json
from SegHiResCAMLib.cli.options import JsonOption, ModelArgument, OnOption
from SegHiResCAMLib.cli.plain_console import Cell, heading
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.models import Label, LayerList, ModelSummary

catalogue_app = typer.Typer(cls=Commands, invoke_without_command=True, rich_markup_mode="rich")
app.add_typer(
    catalogue_app,
    name="models",
    epilog="Example: seghirescam models, then seghirescam info kidney-phantom-3d",
    help="List the models of the catalogue; download, add and remove them.",
)
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the model, as 'seghirescam models' lists it.")
]


@catalogue_app.callback()
def models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the models of the catalogue; download, add and remove them."""
    if context.invoked_subcommand:
        return
    with job():
        from SegHiResCAMLib.engine.models.catalogue.catalogue import cache_size, entries
        from SegHiResCAMLib.model_folders import cache_folder, user_catalogue
        from SegHiResCAMLib.writing.errors import readable

        known, taken = entries(), cache_size()
    if as_json:
        facts = [
            {**entry.content, "location": str(entry.location), "present": entry.is_present} for entry in known.values()
        ]
        print_json(
            {"models": facts, "catalogue": str(user_catalogue()), "cache": str(cache_folder()), "cache_bytes": taken}
        )
        return
    rows: list[list[Cell]] = [heading("model", "licence", "location", "segments")]
    for entry in known.values():
        where = (
            "this computer"
            if entry.is_present
            else "missing"
            if entry.path
            else f"not downloaded, {readable(entry.size)}"
            if entry.size
            else "not downloaded"
        )
        segments = ", ".join(label["name"] for label in entry.content["labels"])
        rows.append([(entry.name, "bold"), entry.content["licence"] or "not stated", where, segments])
    answer.print_rows(rows)
    answer.print()
    answer.print("Use a name wherever a command takes a MODEL; 'seghirescam info NAME' shows details.")
    answer.print_whole(f"Your own catalogue: {user_catalogue()}", style="dim")
    answer.print_whole(f"Downloaded models: {readable(taken)} in {cache_folder()}", style="dim")


@catalogue_app.command(epilog="Example: seghirescam models get my-hospitals-liver")
def get(name: NameArgument) -> None:
    """Download a model; an interrupted download continues where it stopped."""
    with job() as progress:
        from SegHiResCAMLib.engine.models.catalogue.catalogue import get as fetch

        place = fetch(name, progress)
    answer.print_whole(f"'{name}' is ready: {place}")


@catalogue_app.command(epilog="Example: seghirescam models add ~/models/liver-bundle --name liver")
def add(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="File or folder of a model on this computer.")],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name in the catalogue. Default: made from the file's or folder's name."),
    ] = None,
    source: Annotated[
        str, typer.Option(metavar="TEXT", help="Where the model comes from, such as the address of a publication.")
    ] = "",
) -> None:
    """Add a model on this computer to your own catalogue, so that it can be used by name."""
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
    answer.print_whole(f"'{opened.name}' is now called '{chosen}' (in {catalogue}).")


@catalogue_app.command(epilog="Example: seghirescam models remove liver")
def remove(name: NameArgument) -> None:
    """Remove a model from your own catalogue; its files are kept."""
    with job():
        from SegHiResCAMLib.engine.models.catalogue.catalogue import remove as take_out

        take_out(name)
    answer.print(f"'{name}' was removed from the catalogue. Its files were kept.")


@catalogue_app.command(epilog="Example: seghirescam models clear")
def clear() -> None:
    """Delete all downloaded models from the cache folder."""
    with job():
        from SegHiResCAMLib.engine.models.catalogue.catalogue import empty_cache
        from SegHiResCAMLib.model_folders import cache_folder
        from SegHiResCAMLib.writing.errors import readable

        freed = empty_cache()
    answer.print_whole(f"{readable(freed)} were freed in {cache_folder()}.")


@app.command(epilog="Example: seghirescam info kidney-phantom-3d")
def info(model: ModelArgument, on: OnOption = None, as_json: JsonOption = False) -> None:
    """Show a model's format, network, inputs, preprocessing, labels with their codes, suggested layers and licence."""
    with job() as progress:
        from SegHiResCAMLib.computers import computer
        from SegHiResCAMLib.engine.errors import EngineError

        with computer(on) as computing:
            opened = computing.open_model(model)
            summary = computing.summary(opened)
            try:
                layers = computing.layers(opened, None, "auto", None, progress)
            except EngineError as problem:  # of a model whose layers cannot be explained there is as much to know
                layers = LayerList(reason=problem.message)
    if as_json:
        print_json({"model": to_json(summary), "layers": to_json(layers)})
        return
    answer.print(summary.name, style="bold")
    if summary.description:
        answer.print(summary.description)
    answer.print()
    answer.print_rows([[(title, "dim"), text] for title, text in _about(summary)])
    answer.print()
    answer.print_rows(_labels(summary.labels))
    answer.print()
    if layers.layers:
        answer.print_rows(_layers(layers))
    answer.print(f"{'Suggested: ' if layers.layers else ''}{layers.reason.rstrip('.')}.", style="dim")


@app.command(epilog="Example: seghirescam describe model.pt, then fill in what model.json lists under to_do")
def describe(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A .pt, .pth, .ckpt, .bin or .safetensors file.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The description to write. Default: beside the checkpoint, with the same name.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Recognise a checkpoint's network and write a draft of the description that is needed to open it."""
    with job():
        from SegHiResCAMLib.engine.models.describe import describe_checkpoint, write_draft
        from SegHiResCAMLib.engine.models.plain import description_of
        from SegHiResCAMLib.writing.inputs import check_outputs

        file = output or description_of(Path(checkpoint))
        check_outputs([file], [Path(checkpoint)], beside=False)
        draft = describe_checkpoint(checkpoint)
        write_draft(draft, file, replace=force)
    network = draft.content["network"]
    if as_json:
        print_json({"file": str(file), "parameters": draft.parameters, **draft.content})
        return
    answer.print(f"{network['class']} with {draft.parameters:,} parameters: all weights fit by name and shape.")
    answer.print_rows([[(f"  {name}", "dim"), str(value)] for name, value in network["arguments"].items()])
    answer.print()
    answer.print("The weights do not say the following. Decide each in the file, then delete 'to_do':")
    answer.print_rows([["  •", item] for item in draft.content["to_do"]])
    answer.print()
    answer.print("Written:")
    answer.print_whole(f"  {file}")


def _about(model: ModelSummary) -> list[tuple[str, str]]:
    window = f"{_times(model.window)}, overlap {_times(model.overlap)}" if model.window else "the whole image at once"
    inputs = f"{model.in_channels} channel(s)" + (f": {', '.join(model.inputs)}" if model.inputs else "")
    return [
        ("format", model.format),
        ("network", f"{model.network}, {model.spatial_dims}D, {model.parameters:,} parameters"),
        ("inputs", inputs),
        ("spacing", f"{_times(model.spacing_mm)} mm" if model.spacing_mm else "as the volume"),
        ("orientation", model.orientation or "as the volume"),
        ("intensities", "; ".join(model.intensities) or "as the volume"),
        ("window", window),
        ("output", model.activation + (", largest component of each" if model.largest_component else "")),
        ("licence", model.licence or "not stated"),
        ("SHA-256", model.sha256),
        ("file", model.source),
        *([("weights", model.weights_file)] if model.weights_file else []),
        *(("note", note) for note in model.notes),
    ]


def _labels(labels: Sequence[Label]) -> list[list[Cell]]:
    rows: list[list[Cell]] = [heading("", "label", "value", "SNOMED CT")]
    for label in labels:
        code, known = "none", label.terminology
        if known is not None:
            parts = [part for part in (known.modifier, known.type, known.region) if part is not None]
            code = ", ".join(f"{part.meaning} {part.value}" for part in parts)
        red, green, blue = (round(255 * part) for part in label.color)
        rows.append([("■", f"rgb({red},{green},{blue})"), label.name, str(label.value), code])
    return rows


def _layers(listed: LayerList) -> list[list[Cell]]:
    """The suggested layer, and the largest building blocks without caveats, from the input to the output."""
    blocks = [one for one in listed.layers if not one.reason and one.is_block and not one.caveats]
    names = {one.name for one in blocks if not any(one.name.startswith(f"{other.name}.") for other in blocks)}
    shown = [one for one in listed.layers if one.name in names | {listed.suggested}]
    rows: list[list[Cell]] = [heading("main layers", "channels", "grid", "spacing, mm", "")]
    for layer in sorted(shown, key=lambda one: one.order):
        style = "bold" if layer.name == listed.suggested else ""
        notes = [*layer.aliases, *(["← suggested"] if style else [])]
        mm = _times(layer.mm) or "as the volume"
        rows.append([(layer.name, style), str(layer.channels), _times(layer.grid), mm, (", ".join(notes), style)])
    return rows


def _times(sizes: Sequence[float | None]) -> str:
    return " x ".join("all" if size is None else f"{size:.3g}" for size in sizes)
