"""How a heat map is spread over anatomical regions: one record a region, the shells around them, and the rest of the volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Part = Literal["region", "shell", "elsewhere"]


@dataclass(frozen=True)
class RegionShare:
    """Of one part of the volume. The parts do not overlap and cover the volume, so each kind of share adds up to 1. None: not defined.

    Attributes:
        name: Of the region: "kidney"; of the other parts: "0 to 5 mm around", "5 to 10 mm around", "elsewhere".
        part: "region", "shell" (around all regions together) or "elsewhere".
        volume_ml: Of the part.
        share_of_volume: Of the whole volume, 0 to 1.
        positive: Share of the map's positive evidence, 0 to 1; None for a map without any.
        negative: Share of the map's negative evidence, 0 to 1; None for a map without any.
        enrichment: `positive` divided by `share_of_volume`: 1 where the part has what a uniform map would have there.
        positive_within_5_mm: Of a region: the share in it and up to 5 mm away, whatever lies there; overlaps with the other parts.
        positive_within_10_mm: The same up to 10 mm.
        negative_within_5_mm: As `positive_within_5_mm`, of the negative evidence.
        negative_within_10_mm: The same up to 10 mm.
    """

    name: str
    part: Part
    volume_ml: float
    share_of_volume: float
    positive: float | None
    negative: float | None
    enrichment: float | None
    positive_within_5_mm: float | None = None
    positive_within_10_mm: float | None = None
    negative_within_5_mm: float | None = None
    negative_within_10_mm: float | None = None


def by_share(regions: Sequence[RegionShare]) -> list[RegionShare]:
    """The regions with the most positive evidence first, then the shells and the rest."""
    own = sorted((one for one in regions if one.part == "region"), key=lambda one: -(one.positive or 0.0))
    return [*own, *(one for one in regions if one.part != "region")]
