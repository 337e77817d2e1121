"""Anatomical regions out of a file: the labels of a label map, or the segments of a segmentation file, as one label map with names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.masks import MaskSegment, segments_of
from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.engine.progress import Progress, silent
from SegHiResCAMLib.naming import unique
from SegHiResCAMLib.plain_text import plain

MOST = 1000
"""Regions of a file at most: a label map that has more is an image."""

LONGEST = 100
"""Letters of a region's name."""


@dataclass(frozen=True)
class Regions:
    """Regions that do not overlap.

    Attributes:
        labels: (1, i, j, k), int16, in any geometry; 0 lies in no region.
        names: What each other value is called, in the order in which regions are listed.
        has_names: Whether the names are those of segments, and not made of the values.
    """

    labels: MetaTensor
    names: Mapping[int, str]
    has_names: bool = True


def read_regions(path: str | os.PathLike[str], progress: Progress = silent, *, may_be_empty: bool = False) -> Regions:
    """The regions of a label map (every value above 0 is one) or a segmentation file of 3D Slicer (.seg.nrrd: every segment is one).

    A voxel in several segments belongs to the smallest of them, so that a tumour that is drawn inside a whole kidney counts as tumour.

    Args:
        path: The file.
        progress: Called while it is read; may raise `Cancelled`.
        may_be_empty: Whether a file without a voxel above 0, and a segment without one, is taken as it is: a reference says so of a healthy patient.

    Raises:
        EngineError: `regions-not-labels`, `regions-empty`, the codes of `read_volume` and `segments_of`.
    """
    name = os.fspath(path)
    segments = segments_of(name) if Path(path).is_file() else ()
    drawn = read_volume(path, progress=progress)
    labels, names = _of_segments(drawn, segments, name, may_be_empty) if segments else _of_label_map(drawn, name)
    if not names and not may_be_empty:
        raise EngineError("regions-empty", f"{name} has no region: all its voxels are 0. Give a file with labels.")
    shown = unique(plain(text)[:LONGEST] for text in names.values())
    return Regions(MetaTensor(labels[None], affine=drawn.affine), dict(zip(names, shown, strict=True)), bool(segments))


def _of_segments(
    drawn: MetaTensor, segments: tuple[MaskSegment, ...], name: str, may_be_empty: bool
) -> tuple[torch.Tensor, dict[int, str]]:
    """Values are the segments' numbers from 1 on; the largest is put down first."""
    if len(segments) > MOST:
        raise _not_labels(name, f"it has {len(segments)} segments, more than {MOST}")
    present = [one for one in segments if one.layer < len(drawn)]
    sizes = [int((drawn.as_tensor()[one.layer] == one.value).count_nonzero()) for one in present]
    labels = torch.zeros(drawn.shape[1:], dtype=torch.int16)
    for number in sorted(range(len(present)), key=lambda one: -sizes[one]):
        labels[drawn.as_tensor()[present[number].layer] == present[number].value] = number + 1
    return labels, {number + 1: one.name for number, one in enumerate(present) if sizes[number] or may_be_empty}


def _of_label_map(drawn: MetaTensor, name: str) -> tuple[torch.Tensor, dict[int, str]]:
    if len(drawn) > 1:
        raise _not_labels(name, f"it has {len(drawn)} channels")
    highest = np.iinfo(np.int16).max
    counts = np.zeros(highest + 1, np.int64)
    for plane in drawn.numpy()[0]:
        whole = plane.clip(0, highest).astype(np.int16)
        if not np.array_equal(whole, plane):
            raise _not_labels(name, f"its values are not whole numbers from 0 to {highest}")
        counts += np.bincount(whole.ravel(), minlength=highest + 1)
    values = [int(one) for one in np.flatnonzero(counts) if one]
    if len(values) > MOST:
        raise _not_labels(name, f"it has {len(values)} different values, more than {MOST}")
    return drawn.as_tensor()[0].to(torch.int16), {value: f"label {value}" for value in values}


def _not_labels(name: str, why: str) -> EngineError:
    message = f"{name} does not hold regions: {why}. Give a label map or a segmentation file (.seg.nrrd)."
    return EngineError("regions-not-labels", message)
