"""Pictures of heat maps for reports and papers: axial, coronal and sagittal slices through the peak, as a PNG.

The slices are what Slicer's slice views show (see `slices`); matplotlib adds outlines, letters and the legend.

Colours run from 0 to each map's own maximum over the whole volume, as its display node says, so that slices of one map
compare. The legend's ticks are in raw units, since a map whose maximum is 1e-6 of another's would otherwise look just as
convincing. To compare maps in absolute terms, give them one range with `heatmap.set_display_range` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SegHiResCAMLib.scene.canvas import DIM, Canvas, number
from SegHiResCAMLib.scene.heatmap import heatmap_provenance, peak_position
from SegHiResCAMLib.scene.panels import Look, Outline, anatomical, body_frame, draw_panel, outlines
from SegHiResCAMLib.scene.save import written_beside
from SegHiResCAMLib.scene.slices import VIEWS
from SegHiResCAMLib.scene.volumes import Array

_MARGIN, _GAP = 24, 12  # pixels
_PAGE = 1500  # pixels that the panels share in width
_COLUMN = (280, 460)  # narrowest and widest column of a comparison, in pixels: its legend must fit
_FOOTER = "Research use only. A heat map is no diagnosis."


def slice_picture(
    path: Path,
    volume: Any,
    heatmap: Any,
    segmentation: Any = None,
    *,
    segments: Sequence[str] | None = None,
    window: tuple[float, float] | None = None,
    opacity: float = 0.5,
    position: Array | None = None,
) -> None:
    """Draw the axial, coronal and sagittal slice through a heat map's peak side by side.

    Args:
        path: Where the PNG goes.
        volume: Background volume node.
        heatmap: Heat map's volume node, from `heatmap.add_heatmap`.
        segmentation: Segmentation node to outline; None for no outline.
        segments: Identifiers of the segments to outline; None for all.
        window: (level, width) of the background; None as its display node has it.
        opacity: Of the heat map, 0 to 1.
        position: RAS millimetres, (3,), that the slices go through; None for the peak.

    Raises:
        SceneError: matplotlib is missing, a segment is unknown, or the file cannot be written.
    """
    position = peak_position(heatmap).position if position is None else np.asarray(position, dtype=float)
    look = Look(volume, outlines(volume, segmentation, segments), position, window, opacity)
    frame = body_frame(volume, position)
    scale = sum(frame.width(view) for view in VIEWS) / (_PAGE - 2 * _GAP)
    cuts = [frame.cut(view, scale) for view in VIEWS]
    top, height = 88, max(where.shape[0] for where in cuts)
    page = Canvas(2 * _MARGIN + _PAGE, top + height + 148)
    _title(page, heatmap, ("method", "segment"), ("model", "layer"))
    left = _MARGIN
    drawn: list[Outline] = []
    for where in cuts:
        rows, columns = where.shape
        drawn += draw_panel(page, look, where, heatmap, (left, top + (height - rows) // 2))
        left += columns + _GAP
    _legend(page, heatmap, _MARGIN, top + height + 22, 420)
    _names(page, drawn, page.width - _MARGIN, top + height + 30)
    _finish(page, path)


def comparison_picture(
    path: Path,
    volume: Any,
    heatmaps: Sequence[Any],
    segmentation: Any = None,
    *,
    segments: Sequence[str] | None = None,
    window: tuple[float, float] | None = None,
    opacity: float = 0.5,
    position: Array | None = None,
) -> None:
    """Draw several heat maps in the same slices: one column each beside the bare image, rows axial, coronal, sagittal.

    Each map has its own colour range, from 0 to its own maximum over the volume, unless `heatmap.set_display_range` was
    told otherwise.

    Args:
        path: Where the PNG goes.
        volume: Background volume node.
        heatmaps: Heat maps' volume nodes, at least one.
        segmentation: Segmentation node to outline; None for no outline.
        segments: Identifiers of the segments to outline; None for all.
        window: (level, width) of the background; None as its display node has it.
        opacity: Of the heat maps, 0 to 1.
        position: RAS millimetres, (3,), that the slices go through; None for the first map's peak.

    Raises:
        SceneError: matplotlib is missing, a segment is unknown, or the file cannot be written.
    """
    position = peak_position(heatmaps[0]).position if position is None else np.asarray(position, dtype=float)
    look = Look(volume, outlines(volume, segmentation, segments), position, window, opacity)
    frame = body_frame(volume, position)
    column = int(np.clip(_PAGE // (1 + len(heatmaps)), *_COLUMN))
    scale = max(frame.width(view) for view in VIEWS) / column
    cuts = [frame.cut(view, scale) for view in VIEWS]
    top = 128
    bottom = top + sum(where.shape[0] + _GAP for where in cuts)
    page = Canvas(2 * _MARGIN + (1 + len(heatmaps)) * (column + _GAP) - _GAP, bottom + 146)
    _title(page, heatmaps[0], ("segment",), ("model",))
    drawn: list[Outline] = []
    for index, heatmap in enumerate([None, *heatmaps]):
        left, y = _MARGIN + index * (column + _GAP), top
        facts = heatmap_provenance(heatmap) if heatmap else {"method": "Image and segment"}
        page.text(left + column / 2, 94, _join(facts, "method"), 17, ha="center", weight="bold")
        page.text(left + column / 2, 115, _join(facts, "layer"), 13, DIM, ha="center")
        for where in cuts:
            rows, columns = where.shape
            drawn += draw_panel(page, look, where, heatmap, (left + (column - columns) // 2, y))
            y += rows + _GAP
        if heatmap:
            _legend(page, heatmap, left + 20, bottom + 6, column - 40)
    _names(page, drawn, _MARGIN + column, bottom + 14)
    _finish(page, path)


def _title(page: Canvas, heatmap: Any, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    facts = heatmap_provenance(heatmap)
    page.text(_MARGIN, 34, _join(facts, *first), 22, weight="bold")
    page.text(_MARGIN, 63, _join(facts, *second), 15, DIM)


def _legend(page: Canvas, heatmap: Any, left: int, top: int, width: int) -> None:
    """Draw the colours of a map with raw values, and what they mean."""
    peak = peak_position(heatmap)
    if peak.value <= 0:
        page.text(left, top + 8, "the map is zero everywhere", 13)
        return
    display = heatmap.GetDisplayNode()
    table = display.GetColorNode().GetLookupTable()
    colors = np.array([table.GetTableValue(index) for index in range(table.GetNumberOfTableValues())])
    upper, hidden = display.GetWindowLevelMax(), display.GetLowerThreshold()
    page.color_bar((left, top), width, colors, upper, hidden)
    units = heatmap_provenance(heatmap).get("units", "logit units")
    where = ", ".join(anatomical(peak.position, axis) for axis in range(3))
    lines = [
        f"contribution to the score, {units}",
        f"peak {number(peak.value)} at {where} mm",
        f"below {hidden / upper:.0%} of the range not shown",
    ]
    for row, line in enumerate(lines):
        page.text(left, top + 48 + 20 * row, line, 13, DIM)


def _names(page: Canvas, drawn: Sequence[Outline], right: int, top: int) -> None:
    """Write the outlines' names, right-aligned, one under another."""
    for row, (name, color) in enumerate({outline.name: outline.color for outline in drawn}.items()):
        page.text(right, top + 20 * row, f"{name}  ▬", 14, color, ha="right")


def _finish(page: Canvas, path: Path) -> None:
    page.text(page.width - _MARGIN, page.height - 20, _FOOTER, 12, DIM, ha="right")
    with written_beside(path) as beside:
        page.save(beside)


def _join(facts: dict[str, str], *keys: str) -> str:
    text = "  ·  ".join(facts[key] for key in keys if facts.get(key))
    return text if len(text) <= 110 else text[:109] + "…"
