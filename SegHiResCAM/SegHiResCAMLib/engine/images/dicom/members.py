"""Which images of a series belong to its volume: consoles store screens, localisers and projections beside the slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydicom import Dataset
from pydicom.uid import (
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from SegHiResCAMLib.engine.images.dicom.geometry import corners_apart, has_position, plane, size
from SegHiResCAMLib.engine.images.dicom.pixels import Slice

SMALLEST_VOLUME = 3
"""Slices; fewer are taken for scouts where there is exactly one larger volume."""

SCREENS = (
    SecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)

PROJECTIONS = ("PROJECTION IMAGE", "MIP", "MINIP", "MINIMUM IP", "MAXIMUM IP")


def _of_type(*words: str) -> Callable[[Dataset], bool]:
    return lambda header: any(str(word) in words for word in header.get("ImageType") or ())


ASIDE: dict[str, Callable[[Dataset], bool]] = {
    "without a position in the patient": lambda header: not has_position(header),
    "screen save": lambda header: header.get("SOPClassUID") in SCREENS or _of_type("SCREEN SAVE")(header),
    "localiser": _of_type("LOCALIZER"),
    "projection": _of_type(*PROJECTIONS),
}
"""What is no slice of a volume, where enough others in the series are."""

Aside = list[tuple[Slice, str]]


def members(slices: Sequence[Slice]) -> tuple[list[Slice], Aside]:
    """The slices of the volume, and what was left out and why. Where no volume stands out, everything is kept, to be refused or read as it is."""
    kept, aside = list(slices), Aside()
    for reason, is_aside in ASIDE.items():
        others = [item for item in kept if not is_aside(item.header)]
        if SMALLEST_VOLUME <= len(others) < len(kept):
            aside += [(item, reason) for item in kept if is_aside(item.header)]
            kept = others
    groups = sorted(_alike(kept), key=len, reverse=True) if all(has_position(item.header) for item in kept) else [kept]
    if len(groups[0]) >= SMALLEST_VOLUME > max(map(len, groups[1:]), default=0):
        aside += [(item, "of other size or orientation") for group in groups[1:] for item in group]
        kept = groups[0]
    return kept, aside


def can_be_volume(slices: Sequence[Slice]) -> bool:
    """Whether a series has enough slices with a place in the patient, not all of them localisers."""
    headers = [item.header for item in slices]
    placed = [header for header in headers if has_position(header) and not ASIDE["localiser"](header)]
    return len(placed) >= SMALLEST_VOLUME


def _alike(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices of one size whose directions and spacings displace no corner by more than a pixel: more than that is another plane, not rounding."""
    groups: list[list[Slice]] = []
    for one_size in {size(item.header): None for item in slices}:
        left = [item for item in slices if size(item.header) == one_size]
        planes = np.array([plane(item.header) for item in left])
        planes[:, :3, 3] = 0
        while left:
            pixel = np.linalg.norm(planes[0, :3, :2], axis=0).min()
            same = corners_apart(planes, planes[0], one_size[:2]) <= pixel
            same[0] = True  # whatever its numbers are
            groups.append([item for item, belongs in zip(left, same, strict=True) if belongs])
            left = [item for item, belongs in zip(left, same, strict=True) if not belongs]
            planes = planes[~same]
    return groups
