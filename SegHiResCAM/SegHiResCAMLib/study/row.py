"""An explanation as one row of numbers: whatever fields its record has, by their types, so that a new one is a column at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_type_hints

from SegHiResCAMLib.records.explanation import ExplanationRecord, Finding
from SegHiResCAMLib.records.map_check import MapCheck
from SegHiResCAMLib.records.mistakes import Comparison
from SegHiResCAMLib.records.study import Cell

LEFT_OUT = {
    *("schemaVersion", "question", "model", "method", "region", "mode", "units"),
    *("comparison", "timings_s", "versions", "compared_with", "files", "result_folders"),
}
"""Fields that are the same for all cases of a study (`run.json` has them), or are not numbers of the case."""

AXES = ("r", "a", "s")
NAMES = ("name", "segment", "code", "title", "label")
"""Fields of a record in a list that say which one it is."""


_ASKED_FOR = {
    name
    for name, hint in get_type_hints(ExplanationRecord).items()
    if type(None) in get_args(hint) and not set(get_args(hint)) <= {float, int, str, type(None)}
}
"""Fields that are records, and there only where somebody asked for them; a number that is not known is an empty cell."""


def row_of(records: Sequence[ExplanationRecord]) -> dict[str, Cell]:
    """The columns of a case.

    Args:
        records: One for each segment, with those that it is compared with.

    Returns:
        By name; where there are several segments, the segment stands before each: "tumour.score". The numbers of a further method follow
        its name: "tumour.seg-grad-cam.score".
    """
    found: dict[str, Cell] = dict(_agreement(records[0].comparison))
    for record in records:
        segment = f"{record.question.segment}." if len(records) > 1 else ""
        found |= {f"{segment}{name}": value for name, value in _flat(record)}
        for other in record.compared_with:
            found |= {f"{segment}{other.question.method}.{name}": value for name, value in _flat(other)}
    return found


def _agreement(comparison: Comparison | None) -> Iterator[tuple[str, Cell]]:
    """Of the segmentation with a reference: for each segment, and all mistakes together; the same for all maps of a case."""
    if comparison is None:
        return
    for one in comparison.agreements:
        for name in ("dice", "mean_surface_distance_mm", "hausdorff_95_mm", "reference_ml"):
            yield f"{name}.{one.segment}", getattr(one, name)
    yield "mistakes", len(comparison.mistakes) + comparison.mistakes_left_out


def _flat(record: ExplanationRecord) -> Iterator[tuple[str, Cell]]:
    for one in dataclasses.fields(record):
        value = getattr(record, one.name)
        if value is None and one.name in _ASKED_FOR:
            continue
        if one.name == "layer":
            yield "layer", record.layer.name
        elif one.name == "measurements":
            yield from _cells("", value)
        elif one.name == "check":
            yield from _checked(value)
        elif one.name not in LEFT_OUT:
            yield from _cells(one.name, value)


def _checked(check: MapCheck) -> Iterator[tuple[str, Cell]]:
    """The check's numbers, and in place of its lists what is said of them."""
    yield from (cell for cell in _cells("check", check) if cell[0] not in ("check.weights", "check.noise"))
    yield "check.removal.insertion_minus_deletion", check.removal.insertion_minus_deletion
    yield "check.weights.similarity", None if check.weights is None else check.weights.similarity
    yield "check.noise.similarity", None if check.noise is None else check.noise.similarity
    yield "check.noise.change", None if check.noise is None else check.noise.change


def _cells(name: str, value: Any) -> Iterator[tuple[str, Cell]]:
    """The columns of a value of any type that records have."""
    start = f"{name}." if name else ""
    if dataclasses.is_dataclass(value):
        for one in dataclasses.fields(value):
            yield from _cells(f"{start}{one.name}", getattr(value, one.name))
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _cells(f"{start}{key}", one)
    elif isinstance(value, list | tuple):
        yield from _listed(name, value)
    elif value is None and name.endswith("_ras_mm"):
        return  # of a blank map; the record itself has the place of its maximum
    elif value is None or isinstance(value, str | int | float | bool):
        yield name, value


def _listed(name: str, values: Sequence[Any]) -> Iterator[tuple[str, Cell]]:
    """Findings are their codes, positions three columns, named records a group of columns each; lists of anything else are left out."""
    if name == "findings":
        yield name, " ".join(one.code for one in values if isinstance(one, Finding))
    elif name.endswith("_ras_mm") and len(values) == len(AXES):
        yield from (
            (f"{name.removesuffix('_ras_mm')}_{axis}_mm", value) for axis, value in zip(AXES, values, strict=True)
        )
    else:
        for one in values:
            title = next((getattr(one, key) for key in NAMES if hasattr(one, key)), None)
            if dataclasses.is_dataclass(one) and isinstance(title, str):
                yield from ((key, cell) for key, cell in _cells(f"{name}.{title}", one) if not isinstance(cell, str))
