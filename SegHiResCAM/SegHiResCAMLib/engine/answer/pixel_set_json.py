"""Pixel sets as JSON: `{"kind": "sphere", "centre": [12.5, -40, 88], "radius": 15}`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from SegHiResCAMLib.engine.answer.pixel_sets import (
    Background,
    Box,
    Component,
    Empty,
    Mask,
    PixelSet,
    Points,
    PredictedSegment,
    Probable,
    Released,
    Sphere,
    WholeImage,
)
from SegHiResCAMLib.engine.errors import EngineError

KINDS: dict[str, type[PixelSet]] = {
    "segment": PredictedSegment,
    "probable": Probable,
    "released": Released,
    "mask": Mask,
    "component": Component,
    "points": Points,
    "sphere": Sphere,
    "box": Box,
    "image": WholeImage,
    "background": Background,
    "empty": Empty,
}
"""Names on the command line and in JSON."""

SHAPES: dict[str, tuple[int, ...]] = {"point": (3,), "centre": (3,), "size": (3,), "axes": (3, 3)}
POSITIVE = {"size", "radius"}


def pixel_set_from_json(data: Mapping[str, Any]) -> PixelSet:
    """A pixel set from its JSON form.

    Raises:
        EngineError: `pixel-set-unknown`, `pixel-set-malformed`.
    """
    kind = KINDS.get(str(data.get("kind")))
    if kind is None:
        raise EngineError(
            "pixel-set-unknown", f"There is no pixel set of kind '{data.get('kind')}'. Known kinds: {', '.join(KINDS)}."
        )
    given = {key: _tuples(value) for key, value in data.items() if key != "kind"}
    fields = {one.name: one for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    missing = [name for name, one in fields.items() if one.default is dataclasses.MISSING and name not in given]
    if missing or set(given) - set(fields):
        raise EngineError(
            "pixel-set-malformed",
            f"A pixel set of kind '{data['kind']}' takes {', '.join(fields) or 'nothing'}, and was given {', '.join(given) or 'nothing'}.",
        )
    for name, value in given.items():
        if not _well_formed(name, value):
            raise EngineError(
                "pixel-set-malformed",
                f"A pixel set of kind '{data['kind']}' cannot have {name} {data[name]!r}. Points are three numbers (right, anterior, "
                "superior, in mm), lengths are above 0 mm.",
            )
    return kind(**given)


def pixel_set_to_json(pixel_set: PixelSet) -> dict[str, Any]:
    """The JSON form of a pixel set."""
    (name,) = (name for name, kind in KINDS.items() if kind is type(pixel_set))
    return {"kind": name, **dataclasses.asdict(pixel_set)}  # type: ignore[call-overload]


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value


def _well_formed(name: str, value: Any) -> bool:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    if numbers.shape != SHAPES.get(name, ()) and not (name == "points" and numbers.shape == (len(numbers), 3)):
        return False
    if not np.isfinite(numbers).all() or (name in POSITIVE and not (numbers > 0).all()):
        return False
    return name != "axes" or bool(np.allclose(numbers @ numbers.T, np.eye(3), atol=1e-4))
