"""Which voxels are explained: the kinds of explained regions (pixel sets), in patient millimetres or by the network's own prediction.

Points are right, anterior, superior, in millimetres. What each kind means on a model's grid stands in `engine/answer/pixel_sets.py`; a new
kind is a record here, its name in `Region`, and a function there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from SegHiResCAMLib.records.json_form import MalformedError, value_from_json

Point = tuple[float, float, float]
AXES: tuple[Point, Point, Point] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
ORTHOGONAL = 1e-4
"""How far the scalar products of a box's axes may be from those of orthogonal unit vectors: they are written with a few digits."""


@dataclass(frozen=True)
class PredictedSegment:
    """What the model segments: the voxels that it gives the segment's label."""

    kind: ClassVar = "segment"
    title: ClassVar = "predicted segment"


@dataclass(frozen=True)
class Probable:
    """Voxels where the segment's probability is above `above`."""

    kind: ClassVar = "probable"
    above: float = 0.5

    @property
    def title(self) -> str:
        """For people."""
        return f"probability above {self.above:g}"


@dataclass(frozen=True)
class Released:
    """The rule of the code released with Seg-HiRes-Grad CAM, so that its figures can be reproduced."""

    kind: ClassVar = "released"
    title: ClassVar = "rule of the released code"


@dataclass(frozen=True)
class Mask:
    """What the user drew, or how much each voxel counts: the mask that comes with the question."""

    kind: ClassVar = "mask"
    title: ClassVar = "mask given by the user"


@dataclass(frozen=True)
class Component:
    """The connected part of the predicted segment at a point; neighbours share a face, an edge or a corner."""

    kind: ClassVar = "component"
    title: ClassVar = "connected component"
    point: Point


@dataclass(frozen=True)
class TruePositive:
    """What both the model and the reference segment; the reference comes with the question."""

    kind: ClassVar = "true-positive"
    title: ClassVar = "true positive"


@dataclass(frozen=True)
class FalsePositive:
    """What the model segments and the reference does not: all of it, or the connected part at a point."""

    kind: ClassVar = "false-positive"
    title: ClassVar = "false positive"
    point: Point | None = None


@dataclass(frozen=True)
class FalseNegative:
    """What the reference has and the model does not segment: all of it, or the connected part at a point."""

    kind: ClassVar = "false-negative"
    title: ClassVar = "false negative"
    point: Point | None = None


@dataclass(frozen=True)
class Rim:
    """The voxels just inside the predicted segment's border minus those just outside: why does the border run here?"""

    kind: ClassVar = "rim"
    title: ClassVar = "rim (inside minus outside)"


@dataclass(frozen=True)
class Points:
    """The voxels nearest to some points."""

    kind: ClassVar = "points"
    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise MalformedError("points", "must have one point or more")

    @property
    def title(self) -> str:
        """For people."""
        return "point" if len(self.points) == 1 else f"{len(self.points)} points"


@dataclass(frozen=True)
class Sphere:
    """Everything within `radius` mm of `centre`."""

    kind: ClassVar = "sphere"
    title: ClassVar = "sphere"
    centre: Point
    radius: float

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise MalformedError("radius", f"must be above 0 mm, not {self.radius}")


@dataclass(frozen=True)
class Box:
    """A box of edges `size` mm around `centre`, along `axes` (three orthogonal unit vectors)."""

    kind: ClassVar = "box"
    title: ClassVar = "box"
    centre: Point
    size: Point
    axes: tuple[Point, Point, Point] = AXES

    def __post_init__(self) -> None:
        if not all(edge > 0 for edge in self.size):
            raise MalformedError("size", f"must be above 0 mm along every axis, not {self.size}")
        for row, one in enumerate(self.axes):
            for column, other in enumerate(self.axes):
                product = sum(a * b for a, b in zip(one, other, strict=True))
                if not math.isclose(product, float(row == column), abs_tol=ORTHOGONAL):
                    raise MalformedError("axes", "must be three orthogonal vectors of length 1")


@dataclass(frozen=True)
class WholeImage:
    """Every voxel."""

    kind: ClassVar = "image"
    title: ClassVar = "whole image"


@dataclass(frozen=True)
class Background:
    """Voxels that the model gives no label."""

    kind: ClassVar = "background"
    title: ClassVar = "background"


@dataclass(frozen=True)
class Empty:
    """No voxel at all: a sanity check, since nothing should be explained."""

    kind: ClassVar = "empty"
    title: ClassVar = "empty set (sanity check)"


Region = (
    PredictedSegment
    | Probable
    | Released
    | Mask
    | Component
    | TruePositive
    | FalsePositive
    | FalseNegative
    | Rim
    | Points
    | Sphere
    | Box
    | WholeImage
    | Background
    | Empty
)


def region_from_json(data: Any, where: str = "region") -> Region:
    """A region from its JSON form: `{"kind": "sphere", "centre": [12.5, -40, 88], "radius": 15}`.

    Raises:
        MalformedError: What is wrong, and where.
    """
    if not isinstance(data, Mapping):
        raise MalformedError(where, "must be an object with a 'kind'")
    region: Region = value_from_json(Region, data, where)
    return region
