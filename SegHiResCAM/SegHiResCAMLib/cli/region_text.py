"""Explained regions as a user types them: `sphere:12.5,-40,88,15`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

import typer

from SegHiResCAMLib.records.json_form import MalformedError
from SegHiResCAMLib.records.regions import Region, region_from_json

REGION_HELP = (
    "Which voxels are explained: segment, probable:P (probability above P), component:R,A,S (the part at a point), "
    "true-positive, false-positive and false-negative (of --reference; with :R,A,S the part at a point), rim (just inside minus just outside), "
    "points:R,A,S;R,A,S, sphere:R,A,S,RADIUS, box:R,A,S,WIDTH,DEPTH,HEIGHT, image, background, released (rule of the paper's code), empty, "
    "or an object of JSON. Millimetres, right, anterior, superior."
)

# What the numbers after the colon are, in their order: names of fields, and how many numbers each takes (0 for a bare number).
NUMBERS: dict[str, tuple[tuple[str, int], ...]] = {
    "probable": (("above", 0),),
    "component": (("point", 3),),
    "false-positive": (("point", 3),),
    "false-negative": (("point", 3),),
    "sphere": (("centre", 3), ("radius", 0)),
    "box": (("centre", 3), ("size", 3)),
}


def region_of(text: str) -> Region:
    """The region that a user means.

    Raises:
        typer.BadParameter: It is not one.
    """
    try:
        return region_from_json(_json_of(text))
    except MalformedError as problem:
        raise typer.BadParameter(
            f"'{text}' is not a region: {problem}. --help lists the kinds.", param_hint="--region"
        ) from problem
    except (ValueError, RecursionError) as problem:
        raise typer.BadParameter(
            f"'{text}' is not a region. Write for example sphere:12.5,-40,88,15; --help lists the kinds.",
            param_hint="--region",
        ) from problem


def _json_of(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        data: dict[str, Any] = json.loads(text)
        return data
    kind, _, rest = text.partition(":")
    kind = kind.strip().casefold()
    if kind not in {one.kind for one in get_args(Region)}:
        return {"kind": kind}
    if kind == "points":
        return {"kind": kind, "points": [_numbers(point) for point in rest.split(";")]}
    return {"kind": kind} | _fields(NUMBERS.get(kind, ()), _numbers(rest) if rest.strip() else [])


def _fields(expected: Sequence[tuple[str, int]], given: list[float]) -> dict[str, Any]:
    """Numbers under the names of what they are; those that are left out stay out."""
    found: dict[str, Any] = {}
    for name, count in expected:
        if given:
            found[name] = given[:count] if count else given[0]
            given = given[max(count, 1) :]
    if given:
        raise ValueError(f"{len(given)} numbers too many")
    return found


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.replace(",", " ").split()]
