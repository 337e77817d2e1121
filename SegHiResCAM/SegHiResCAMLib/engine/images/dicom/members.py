"""Which images of a series belong to its volume: consoles store screens, localisers and projections beside the slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.uid import (
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from SegHiResCAMLib.engine.images.dicom.geometry import SPACINGS, corners_apart, has_position, plane, size
from SegHiResCAMLib.engine.images.dicom.pixels import StoredSlice

SMALLEST_VOLUME = 3
"""Slices; fewer are taken for scouts where there is exactly one larger volume."""

SCREENS = (
    SecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)

PLANE = ("Rows", "Columns", "SamplesPerPixel", "ImageOrientationPatient", *SPACINGS)
"""What tells planes apart."""

SAME_PLANE = 0.1
"""Share of the image's diagonal that directions and spacings may displace a corner by: whether it is rounding, `geometry.py` decides."""

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

Aside = list[tuple[StoredSlice, str]]


def members(slices: Sequence[StoredSlice]) -> tuple[list[StoredSlice], Aside]:
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


def can_be_volume(slices: Sequence[StoredSlice]) -> bool:
    """Whether a series has enough slices with a place in the patient, not all of them localisers."""
    headers = [item.header for item in slices]
    placed = [header for header in headers if has_position(header) and not ASIDE["localiser"](header)]
    return len(placed) >= SMALLEST_VOLUME


def _alike(slices: Sequence[StoredSlice]) -> list[list[StoredSlice]]:
    """Slices of one size in one plane."""
    same_words: dict[str, list[StoredSlice]] = {}
    for item in slices:
        same_words.setdefault(str([item.header.get(keyword) for keyword in PLANE]), []).append(item)
    groups: list[tuple[tuple[int, ...], npt.NDArray[np.float64], list[StoredSlice]]] = []
    for some in same_words.values():
        one_size, one = size(some[0].header), plane(some[0].header)
        one[:3, 3] = 0
        diagonal = float(np.linalg.norm(np.linalg.norm(one[:3, :2], axis=0) * one_size[:2]))
        for other_size, other, group in groups:
            if one_size == other_size and corners_apart(one[None], other, one_size[:2])[0] <= SAME_PLANE * diagonal:
                group.extend(some)
                break
        else:
            groups.append((one_size, one, list(some)))
    return [group for _, _, group in groups]
