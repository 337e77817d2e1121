"""The figure of a what-if: the same slices before and afterwards, with what the model segments in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from SegHiResCAMLib.records.evidence import WhatIfRecord
from SegHiResCAMLib.records.wording import change_words, number
from SegHiResCAMLib.scene import captions
from SegHiResCAMLib.scene.canvas import DIM, Canvas
from SegHiResCAMLib.scene.captions import MARGIN
from SegHiResCAMLib.scene.panels import Look, body_frame, cut_panel, draw_panel, outline_reader
from SegHiResCAMLib.scene.slices import VIEWS, body_search
from SegHiResCAMLib.scene.volumes import Array
from SegHiResCAMLib.turns import finish

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

_GAP, _PAGE = 12, 1500  # pixels

FILL_WORDS = {
    "shell": "mean of the tissue around",
    "patch": "tissue from elsewhere in the volume",
    "blur": "smoothed surroundings",
}


@dataclass(frozen=True)
class Shown:
    """The volume and what is segmented in it, before or afterwards."""

    title: str
    volume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode


def what_if_picture(path: Path, states: Sequence[Shown], position: Array, record: WhatIfRecord) -> None:
    """Draw a row of axial, coronal and sagittal slices through a position (RAS mm, (3,)) for each state, and the numbers below.

    Raises:
        SceneError: matplotlib is missing, or the file cannot be written.
    """
    first = states[0].volume
    frame = body_frame(first, body_search(first)(), position)
    scale = sum(frame.width(view) for view in VIEWS) / (_PAGE - 2 * _GAP)
    cuts = [frame.cut(view, scale) for view in VIEWS]
    height = max(where.shape[0] for where in cuts)
    top = 100
    page = Canvas(2 * MARGIN + _PAGE, top + len(states) * (height + 44) + 24 * len(record.segments) + 84)
    captions.title(
        page,
        ["What if it were not there?", record.region],
        [record.model.name, f"{number(record.removed_ml)} ml replaced: {FILL_WORDS[record.fill]}"],
    )
    names = []
    for row, state in enumerate(states):
        upper = top + row * (height + 44)
        page.text(MARGIN, upper + 8, state.title, 15, weight="bold")
        look = Look(state.volume, outline_reader(state.volume, state.segmentation, None)(), position)
        left = MARGIN
        for where in cuts:
            rows, columns = where.shape
            corner = (left, upper + 24 + (height - rows) // 2)
            names += draw_panel(page, look, finish(cut_panel(look, where, None)), corner)
            left += columns + _GAP
    below = top + len(states) * (height + 44) + 16
    for row, one in enumerate(record.segments):
        page.text(MARGIN, below + 24 * row, change_words(one), 14, DIM)
    captions.names(page, names, page.width - MARGIN, below)
    captions.finish(page, path)
