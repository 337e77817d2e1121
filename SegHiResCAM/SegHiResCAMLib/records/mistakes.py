"""How a segmentation differs from a reference: numbers for each segment, and the places where it is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MistakeKind = Literal["false-positive", "false-negative"]


@dataclass(frozen=True)
class Mistake:
    """A connected part of what a model segmented and the reference did not (false positive), or the other way round (false negative).

    Attributes:
        segment: Name of the segment.
        mistake: "false-positive" or "false-negative".
        volume_ml: Of the part.
        point_ras_mm: The voxel of the part that is nearest to its centroid, RAS millimetres.
        is_separate: Whether it touches nothing that both have: a structure that was made up, or missed altogether, and not a border
            that runs elsewhere.
        instead: What most of its voxels are on the other side: a segment, or "background".
    """

    segment: str
    mistake: MistakeKind
    volume_ml: float
    point_ras_mm: tuple[float, float, float]
    is_separate: bool
    instead: str


@dataclass(frozen=True)
class Agreement:
    """Of one segment in a segmentation and in a reference. None: not defined, since one of them is empty.

    Attributes:
        segment: Its name.
        dice: 2 |A and B| / (|A| + |B|), 0 to 1; None where both are empty.
        mean_surface_distance_mm: Of all border voxels of both to the nearest border voxel of the other, in the patient.
        hausdorff_95_mm: The larger of the two 95th percentiles of these distances.
        volume_ml: Of the segment in the segmentation.
        reference_ml: Of the segment in the reference.
    """

    segment: str
    dice: float | None
    mean_surface_distance_mm: float | None
    hausdorff_95_mm: float | None
    volume_ml: float
    reference_ml: float


@dataclass(frozen=True)
class Comparison:
    """A segmentation and a reference.

    Attributes:
        agreements: One for each segment that the reference has.
        mistakes: The largest first.
        mistakes_left_out: Further, smaller ones.
    """

    agreements: tuple[Agreement, ...]
    mistakes: tuple[Mistake, ...]
    mistakes_left_out: int = 0
