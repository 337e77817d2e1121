"""What a user types for a region."""

from __future__ import annotations

import pytest
import typer

from SegHiResCAMLib.cli.region_text import region_of
from SegHiResCAMLib.records.regions import (
    Background,
    Box,
    Component,
    Empty,
    Points,
    PredictedSegment,
    Probable,
    Region,
    Released,
    Sphere,
    WholeImage,
)

WRITTEN = {
    "segment": PredictedSegment(),
    "probable": Probable(),
    "probable:0.9": Probable(0.9),
    "released": Released(),
    "component:1,-2.5,3": Component((1, -2.5, 3)),
    "component: 1 -2.5 3 ": Component((1, -2.5, 3)),
    "points:1,2,3": Points(((1, 2, 3),)),
    "points:1,2,3;4,5,6": Points(((1, 2, 3), (4, 5, 6))),
    "sphere:12.5,-40,88,15": Sphere((12.5, -40, 88), 15),
    "box:0,0,0,10,20,30": Box((0, 0, 0), (10, 20, 30)),
    "image": WholeImage(),
    "Background": Background(),
    "empty": Empty(),
    '{"kind": "sphere", "centre": [1, 2, 3], "radius": 4}': Sphere((1, 2, 3), 4),
}


@pytest.mark.parametrize(("text", "meant"), WRITTEN.items(), ids=WRITTEN)
def test_every_kind_can_be_typed(text: str, meant: Region) -> None:
    assert region_of(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ball:1,2,3,4",
        "sphere",
        "sphere:1,2,3",
        "sphere:1,2,3,4,5",
        "sphere:1,2,3,-4",
        "sphere:1,2,x,4",
        "sphere:1,2,nan,4",
        "component:1,2",
        "points:",
        "points:1,2",
        "segment:3",
        "{",
        '{"kind": "sphere"}',
        "[1]",
    ],
)
def test_anything_else_is_refused_with_a_message(text: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        region_of(text)
    assert "is not a region" in refused.value.message
    assert refused.value.message.endswith(".")
