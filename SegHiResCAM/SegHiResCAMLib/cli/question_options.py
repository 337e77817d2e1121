"""The options of a command that come from a record: one for each of its fields, with its type, limits and help."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field
from functools import wraps
from typing import Annotated, Any, Union, get_origin, get_type_hints

import typer

from SegHiResCAMLib.cli.region_text import REGION_HELP, region_of
from SegHiResCAMLib.records.question import options_of

FLAGS: dict[str, tuple[str, ...]] = {"method_options": ("--set",), "region": ("--region", "--pixels")}
"""Of options that are not called as their field is."""


def with_options(record: type[Any], *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a command that takes a record's options, and gets them by their fields' names, as one dictionary called `chosen`.

    Args:
        record: A record whose fields have what a form needs.
        names: Of the fields that the command takes; none for all.
    """
    offered = {name: one for name, one in options_of(record).items() if name in names or not names}
    hints = get_type_hints(record)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(command, eval_str=True)
        parameters = [one for one in own.parameters.values() if one.name != "chosen"]
        parameters += [_parameter(one, hints[name]) for name, one in offered.items()]

        @wraps(command)
        def run(**given: Any) -> Any:
            chosen = {name: _read(name, given.pop(name)) for name in offered}
            return command(**given, chosen={name: value for name, value in chosen.items() if value is not None})

        run.__signature__ = own.replace(parameters=[one.replace(kind=one.KEYWORD_ONLY) for one in parameters])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _parameter(one: Field[Any], hint: Any) -> inspect.Parameter:
    """How typer is told of a field."""
    limits = one.metadata["limits"] or (None, None)
    option = typer.Option(
        *FLAGS.get(one.name, (f"--{one.name.replace('_', '-')}",)),
        help=REGION_HELP if one.name == "region" else one.metadata["summary"],
        rich_help_panel=one.metadata["group"],
        metavar=METAVARS.get(one.name),
        min=limits[0],
        max=limits[1],
    )
    default = None if one.default is MISSING or one.default == () else one.default
    annotation = Annotated[_typed(hint), option]  # type: ignore[valid-type]
    return inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


METAVARS = {
    "method": "METHOD",
    "method_options": "NAME=VALUE",
    "layer": "NAME",
    "refine_with": "NAME",
    "region": "REGION",
    "contrast": "NAME",
}


def _typed(hint: Any) -> Any:
    """The type that typer reads for a field: texts for what only `_read` can read."""
    if get_origin(hint) in (tuple, dict, Mapping):
        return list[str] | None
    if get_origin(hint) in (Union, types.UnionType):
        return str | None
    return hint


def _read(name: str, given: Any) -> Any:
    """What a user typed, as its field takes it; None for what was left out."""
    if given is None or given == []:
        return None
    if name == "method_options":
        return _settings(given)
    if name == "region":
        return region_of(given)
    return tuple(given) if isinstance(given, list) else given


def _settings(texts: list[str]) -> dict[str, Any]:
    """NAME=VALUE by name; values as Python literals, else as text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise typer.BadParameter(f"'{text}' is not of the form NAME=VALUE, such as pool=4.", param_hint="--set")
        try:
            found[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            found[name.strip()] = value.strip()
    return found
