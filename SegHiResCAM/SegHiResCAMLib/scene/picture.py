"""Pictures of heat maps for reports and papers, as PNG: slices through the peak, one map or several side by side.

The slices are what Slicer's slice views show (see `slices`); matplotlib adds outlines, letters and the legend.

Colours run from 0 to each map's own maximum over the whole volume, as its display node says, so that slices of one map
compare. The legend's ticks are in raw units, since a map whose maximum is 1e-6 of another's would otherwise look just as
convincing. To compare maps in absolute terms, give them one range with `heatmap.set_display_range` first.

In all of them `volume` is the background's volume node, shown as its display node has it, `segmentation` the segmentation node to outline
(None for no outline), and `segments` the identifiers of those segments that are outlined (None for all).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.previous import record_of_texts
from SegHiResCAMLib.records.wording import asked
from SegHiResCAMLib.scene import captions
from SegHiResCAMLib.scene.canvas import DIM, Canvas, import_matplotlib
from SegHiResCAMLib.scene.captions import MARGIN
from SegHiResCAMLib.scene.heatmap import explanation_of, peak_position
from SegHiResCAMLib.scene.panels import Look, Outline, body_frame, cut_panel, draw_panel, outline_reader
from SegHiResCAMLib.scene.region_chart import chart_height, draw_chart
from SegHiResCAMLib.scene.slices import AXIAL, VIEWS, body_search
from SegHiResCAMLib.turns import Steps, finish

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

BARE = "Image and segment"
"""Title of the slices without a heat map."""

_GAP = 12  # pixels
_PAGE = 1500  # pixels that the panels share in width
_TILE, _TILES = 288, 5  # of a gallery: pixels across, and tiles in a row
_COLUMN = (280, 460)  # narrowest and widest column of a comparison, in pixels: its legend must fit


def slice_picture_steps(
    path: Path,
    volume: vtkMRMLScalarVolumeNode,
    heatmap: vtkMRMLScalarVolumeNode,
    segmentation: vtkMRMLSegmentationNode | None = None,
    *,
    segments: Sequence[str] | None = None,
    opacity: float = 0.5,
) -> Steps:
    """Draw the axial, coronal and sagittal slice through a heat map's peak side by side, the map at an opacity from 0 to 1.

    Raises:
        SceneError: matplotlib is missing, a segment is unknown, or the file cannot be written.
    """
    yield import_matplotlib
    position = peak_position(heatmap).position
    read, search = outline_reader(volume, segmentation, segments), body_search(volume)
    found, box = yield lambda: (read(), search())
    look = Look(volume, found, position, opacity)
    frame = body_frame(volume, box, position)
    scale = sum(frame.width(view) for view in VIEWS) / (_PAGE - 2 * _GAP)
    cuts = [frame.cut(view, scale) for view in VIEWS]
    shown = []
    for where in cuts:
        shown.append((yield from cut_panel(look, where, heatmap)))
    top, height = 88, max(where.shape[0] for where in cuts)
    record = _record(heatmap)
    page = Canvas(2 * MARGIN + _PAGE, top + height + 148 + chart_height(record.regions))
    captions.title(
        page, [record.method, record.question.segment], [record.model.name, record.layer.name, *asked(record)]
    )
    yield None
    captions.legend(page, heatmap, MARGIN, top + height + 22, 420)
    yield None
    captions.notes(page, heatmap, MARGIN + 460, top + height + 30, page.width - 3 * MARGIN - 660, 4)

    def draw() -> None:
        left = MARGIN
        drawn: list[Outline] = []
        for one in shown:
            rows, columns = one.where.shape
            drawn.extend(draw_panel(page, look, one, (left, top + (height - rows) // 2)))
            left += columns + _GAP
        captions.names(page, drawn, page.width - MARGIN, top + height + 30)
        draw_chart(page, record.regions, MARGIN, top + height + 118, _PAGE)
        captions.finish(page, path)

    yield draw


def comparison_picture(
    path: Path,
    volume: vtkMRMLScalarVolumeNode,
    heatmaps: Sequence[vtkMRMLScalarVolumeNode],
    segmentation: vtkMRMLSegmentationNode | None = None,
    *,
    segments: Sequence[str] | None = None,
) -> None:
    """Draw several heat maps in the slices through the first one's peak: a column each beside the bare image, rows axial, coronal, sagittal.

    Raises:
        SceneError: As `slice_picture_steps`.
    """
    position, records = peak_position(heatmaps[0]).position, [_record(one) for one in heatmaps]
    look = Look(volume, outline_reader(volume, segmentation, segments)(), position)
    frame = body_frame(volume, body_search(volume)(), position)
    column = int(np.clip(_PAGE // (1 + len(heatmaps)), *_COLUMN))
    scale = max(frame.width(view) for view in VIEWS) / column
    cuts = [frame.cut(view, scale) for view in VIEWS]
    top = 128
    bottom = top + sum(where.shape[0] + _GAP for where in cuts)
    noted = 60 if any(one.findings for one in records) else 0
    page = Canvas(2 * MARGIN + (1 + len(heatmaps)) * (column + _GAP) - _GAP, bottom + 146 + noted)
    captions.title(page, [records[0].question.segment], [records[0].model.name, *asked(records[0])])
    drawn: list[Outline] = []
    for index, heatmap in enumerate([None, *heatmaps]):
        left, y = MARGIN + index * (column + _GAP), top
        name, layer = (records[index - 1].method, records[index - 1].layer.name) if heatmap else (BARE, "")
        page.text(left + column / 2, 94, name, 17, ha="center", weight="bold")
        page.text(left + column / 2, 115, layer, 13, DIM, ha="center")
        for where in cuts:
            rows, columns = where.shape
            drawn += draw_panel(
                page, look, finish(cut_panel(look, where, heatmap)), (left + (column - columns) // 2, y)
            )
            y += rows + _GAP
        if heatmap:
            captions.legend(page, heatmap, left + 20, bottom + 6, column - 40)
            captions.notes(page, heatmap, left + 20, bottom + 118, column - 40, 3)
    captions.names(page, drawn, MARGIN + column, bottom + 14)
    captions.finish(page, path)


def gallery_picture(
    path: Path,
    volume: vtkMRMLScalarVolumeNode,
    heatmaps: Sequence[vtkMRMLScalarVolumeNode],
    segmentation: vtkMRMLSegmentationNode | None = None,
    *,
    segments: Sequence[str] | None = None,
) -> None:
    """Draw many heat maps in the axial slice through the first one's peak: a tile each, in rows of five, the bare image first.

    Raises:
        SceneError: As `slice_picture_steps`.
    """
    position, records = peak_position(heatmaps[0]).position, [_record(one) for one in heatmaps]
    look = Look(volume, outline_reader(volume, segmentation, segments)(), position)
    frame = body_frame(volume, body_search(volume)(), position)
    where = frame.cut(AXIAL, frame.width(AXIAL) / _TILE)
    height = where.shape[0] + 96
    rows = -(-(1 + len(heatmaps)) // _TILES)
    page = Canvas(2 * MARGIN + _TILES * (_TILE + _GAP) - _GAP, 92 + rows * height + 40)
    first = records[0]
    captions.title(page, [first.question.segment], [first.model.name, first.layer.name, *asked(first)])
    drawn: list[Outline] = []
    for index, heatmap in enumerate([None, *heatmaps]):
        left, top = MARGIN + index % _TILES * (_TILE + _GAP), 92 + index // _TILES * height
        name = records[index - 1].method if heatmap else BARE
        page.text(left + _TILE / 2, top + 12, name, 15, ha="center", weight="bold")
        drawn += draw_panel(page, look, finish(cut_panel(look, where, heatmap)), (left, top + 26))
        if heatmap:
            captions.range_bar(page, heatmap, left + 20, top + where.shape[0] + 34, _TILE - 40)
    captions.names(page, drawn, page.width - MARGIN, 36)
    captions.finish(page, path)


def _record(heatmap: vtkMRMLScalarVolumeNode) -> ExplanationRecord:
    """How a map was made; without words for a volume that is not one of ours."""
    return explanation_of(heatmap) or record_of_texts({})
