"""Masks: which voxels of a file are meant. Segments of a segmentation file are chosen by name, labels of a label map by value."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.formats import kind_of
from SegHiResCAMLib.engine.images.nrrd_header import read_nrrd_header
from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.engine.progress import Progress, silent

LISTED = 20
"""Names or values that a message gives at most."""


class MaskSegment(NamedTuple):
    """A segment of a .seg.nrrd file.

    Attributes:
        id: Unique in the file.
        name: For people.
        value: Its voxels' value in its layer.
        layer: Number of the channel.
    """

    id: str
    name: str
    value: int
    layer: int


def read_mask(
    path: str | os.PathLike[str],
    *,
    segment: str | None = None,
    value: int | None = None,
    weighted: bool = False,
    progress: Progress = silent,
) -> MetaTensor:
    """The voxels that a file marks.

    Args:
        path: A label map, a mask, or a segmentation file of 3D Slicer (.seg.nrrd).
        segment: Name or ID of the segment, in a segmentation file of several.
        value: The label, in a label map of several; left out, all voxels above 0 are taken, with a warning where they have several values.
        weighted: Whether the values say how much each voxel counts.
        progress: As `read_volume` takes it.

    Returns:
        (1, i, j, k): boolean, or the weights.

    Raises:
        EngineError: `mask-segment`, `mask-value`, `mask-negative`, `mask-channels`, the codes of `read_volume`.
    """
    name = os.fspath(path)
    segments = segments_of(name) if Path(path).is_file() else ()
    if segments and not weighted:
        chosen = _chosen(segments, segment, value, name)
        drawn = read_volume(path, progress=progress)
        if chosen.layer >= len(drawn):
            raise EngineError(
                "mask-segment",
                f"{name} places the segment {chosen.name!r} in layer {chosen.layer}, but has only {len(drawn)} layer(s). Export it again.",
            )
        return drawn[chosen.layer : chosen.layer + 1] == chosen.value
    if segment is not None:
        raise EngineError(
            "mask-segment",
            f"{name} has no segments by name{' that weights could have' if weighted else ''}. Choose a label by its value, or give a .seg.nrrd file.",
        )
    return _from_labels(read_volume(path, progress=progress), value, weighted, name)


def segments_of(path: str | os.PathLike[str]) -> tuple[MaskSegment, ...]:
    """The segments of a .seg.nrrd file, in its order; none where it is another kind of file.

    Raises:
        EngineError: Those of `kind_of`, `file-damaged`.
    """
    name = os.fspath(path)
    if kind_of(Path(path), name) != "nrrd":
        return ()
    header = read_nrrd_header(Path(path), name)
    numbers = sorted({int(found[1]) for key in header.pairs if (found := re.fullmatch(r"Segment([0-9]{1,6})_ID", key))})
    # Files of before 2020 have a layer for each segment, and do not say so.
    layers = "none" in header.fields.get("spacedirections", "").lower()
    return tuple(_segment(header.pairs, number, number if layers else 0) for number in numbers)


def _segment(pairs: dict[str, str], number: int, layer: int) -> MaskSegment:
    def entry(key: str, default: str) -> str:
        return pairs.get(f"Segment{number}_{key}", default).strip()

    def whole(key: str, default: int) -> int:
        text = entry(key, "")
        return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else default

    identifier = entry("ID", "")
    return MaskSegment(identifier, entry("Name", "") or identifier, whole("LabelValue", 1), whole("Layer", layer))


def _chosen(segments: tuple[MaskSegment, ...], wanted: str | None, value: int | None, name: str) -> MaskSegment:
    """The one segment that is meant."""
    found = [one for one in segments if value is None or one.value == value]
    if wanted is not None:
        found = (
            [one for one in found if one.id == wanted]
            or [one for one in found if one.name == wanted]
            or [one for one in found if one.name.casefold() == wanted.casefold()]
        )
    if len(found) == 1:
        return found[0]
    same = len({one.name for one in found}) < len(found)
    listed = ", ".join(
        f"{one.name!r} (ID {one.id!r})" if same else repr(one.name) for one in (found or segments)[:LISTED]
    )
    asked = f"segment {wanted!r}" if wanted is not None else f"segment of value {value}"
    if not found:
        raise EngineError("mask-segment", f"{name} has no {asked}. Its segments: {listed}.")
    raise EngineError(
        "mask-segment",
        f"{name} holds {len(found)} segments{'' if wanted is None else f' called {wanted!r}'}, and one is needed: {listed}. Choose one by name or "
        "ID with --mask-segment.",
    )


def _from_labels(drawn: MetaTensor, value: int | None, weighted: bool, name: str) -> MetaTensor:
    if len(drawn) > 1:
        raise EngineError(
            "mask-channels", f"{name} has {len(drawn)} channels, but a mask has one. Save one of them as its own file."
        )
    if weighted:
        if float(drawn.min()) < 0:
            raise EngineError("mask-negative", f"{name} has values below 0, which cannot say how much a voxel counts.")
        return drawn
    if value is None:
        labels = _labels(drawn)
        if 1 < len(labels) <= LISTED:
            warnings.warn(
                f"{name} holds the labels {_listed(labels)}, which are explained together. Choose one with --mask-value.",
                stacklevel=3,
            )
        return drawn > 0
    chosen = drawn == value
    if not bool(chosen.any()):
        held = torch.unique(drawn.as_tensor())[:LISTED].tolist()
        raise EngineError("mask-value", f"{name} has no voxel of value {value}. Its values: {_listed(held)}.")
    return chosen


def _labels(drawn: MetaTensor) -> list[float]:
    """The labels of a label map, in a pass over its planes; none where values are not whole numbers, as in a map of probabilities."""
    found = np.zeros(2**16, bool)
    for plane in drawn.numpy()[0]:
        whole = plane.clip(0, 2**16 - 1).astype(np.uint16)
        if not np.array_equal(whole, plane):
            return []
        found |= np.bincount(whole.ravel(), minlength=2**16) > 0
    return [float(one) for one in np.flatnonzero(found) if one]


def _listed(values: list[float]) -> str:
    return ", ".join(f"{one:g}" for one in values)
