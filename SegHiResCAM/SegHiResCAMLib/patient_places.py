"""How a place in the patient is written for people: letters with positive numbers, "L 103, P 177, S 98 mm".

Files and scripts keep RAS millimetres, in which right, anterior and superior are positive.
"""

from __future__ import annotations

from collections.abc import Iterable

_LETTERS = ("RL", "AP", "SI")


def place(ras: Iterable[float]) -> str:
    """Write a point (3,) in RAS millimetres: "L 103, P 177, S 98 mm"."""
    return f"{coordinates(ras)} mm"


def coordinates(ras: Iterable[float]) -> str:
    """The same without its unit, for a table that has a column of units."""
    return ", ".join(coordinate(value, axis) for axis, value in enumerate(ras))


def coordinate(value: float, axis: int) -> str:
    """Write one coordinate, to whole millimetres: "L 103"."""
    millimetres = round(float(value))
    return f"{_LETTERS[axis][millimetres < 0]} {abs(millimetres)}"
