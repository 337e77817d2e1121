"""How a place in the patient is written for people: letters with positive numbers, "L 103, P 177, S 98 mm".

Files and scripts keep RAS millimetres, in which right, anterior and superior are positive.
"""

from __future__ import annotations

from typing import Any, Protocol


class Point(Protocol):
    """Three numbers, in a sequence or an array."""

    def __getitem__(self, axis: int, /) -> Any: ...


_LETTERS = ("RL", "AP", "SI")


def place(ras: Point) -> str:
    """Write a point (3,) in RAS millimetres: "L 103, P 177, S 98 mm"."""
    return f"{coordinates(ras)} mm"


def coordinates(ras: Point) -> str:
    """The same without its unit, for a table that has a column of units."""
    return ", ".join(coordinate(ras, axis) for axis in range(3))


def coordinate(ras: Point, axis: int) -> str:
    """Write one coordinate, to whole millimetres: "L 103"."""
    millimetres = round(float(ras[axis]))
    return f"{_LETTERS[axis][millimetres < 0]} {abs(millimetres)}"
