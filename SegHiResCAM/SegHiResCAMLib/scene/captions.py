"""What is written around the panels of a picture: titles, legends, what not to believe, names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from SegHiResCAMLib.patient_places import place
from SegHiResCAMLib.records.explanation import LOGIT_UNITS
from SegHiResCAMLib.records.wording import number
from SegHiResCAMLib.scene.canvas import DIM, WARNING, Canvas
from SegHiResCAMLib.scene.heatmap import explanation_of, peak_position
from SegHiResCAMLib.scene.panels import Outline
from SegHiResCAMLib.scene.save import written_beside

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode

MARGIN = 24  # pixels
FOOTER = "For research use; not for diagnostic use."


def title(page: Canvas, first: Sequence[str], second: Sequence[str]) -> None:
    """Write what a picture shows, and below it how that was made."""
    page.text(MARGIN, 34, join(*first), 22, weight="bold")
    page.text(MARGIN, 63, join(*second), 15, DIM)


def legend(page: Canvas, heatmap: vtkMRMLScalarVolumeNode, left: int, top: int, width: int) -> None:
    """Draw the colours of a map with raw values, and what they mean."""
    shown = range_bar(page, heatmap, left, top, width)
    if shown is None:
        return
    upper, hidden = shown
    peak = peak_position(heatmap)
    record = explanation_of(heatmap)
    units = LOGIT_UNITS if record is None else record.units
    lines = [
        f"contribution to the score, {units}" if units == LOGIT_UNITS else units,
        f"peak {number(peak.value)} at {place(peak.position)}",
        f"below {hidden / upper:.0%} of the range not shown",
    ]
    for row, line in enumerate(lines):
        page.text(left, top + 48 + 20 * row, line, 13, DIM)


def range_bar(
    page: Canvas, heatmap: vtkMRMLScalarVolumeNode, left: int, top: int, width: int
) -> tuple[float, float] | None:
    """Draw the colours of a map with raw values: the end of its range, and the value below which it is hidden; None for a blank map."""
    if peak_position(heatmap).value <= 0:
        page.text(left, top + 8, "the map is zero everywhere", 13)
        return None
    display = heatmap.GetDisplayNode()
    table = display.GetColorNode().GetLookupTable()
    colors = np.array([table.GetTableValue(index) for index in range(table.GetNumberOfTableValues())])
    upper, hidden = display.GetWindowLevelMax(), display.GetLowerThreshold()
    page.color_bar((left, top), width, colors, upper, hidden)
    return upper, hidden


def notes(page: Canvas, heatmap: vtkMRMLScalarVolumeNode, left: int, top: int, width: int, lines: int) -> None:
    """Write what to know before believing a map, the gravest first, as far as there is room; the files say it all."""
    record, room = explanation_of(heatmap), width // 7  # a letter is about 7 pixels wide
    findings = () if record is None else record.findings
    written = [line for finding in findings for line in wrap(finding.message, room)]
    if len(written) > lines:
        written = [*written[: lines - 1], shortened(f"{written[lines - 1]} {written[lines]}", room)]
    for row, line in enumerate(written):
        page.text(left, top + 20 * row, line, 13, WARNING)


def names(page: Canvas, drawn: Sequence[Outline], right: int, top: int) -> None:
    """Write the outlines' names, right-aligned, one under another."""
    for row, (name, color) in enumerate({outline.name: outline.color for outline in drawn}.items()):
        page.text(right, top + 20 * row, f"{name}  ▬", 14, color, ha="right")


def finish(page: Canvas, path: Path) -> None:
    """Say what the picture is not, and write it."""
    page.text(page.width - MARGIN, page.height - 20, FOOTER, 12, DIM, ha="right")
    with written_beside(path) as beside:
        page.save(beside)


def join(*texts: str) -> str:
    """Put some texts on one line; empty ones are left out."""
    return shortened("  ·  ".join(filter(None, texts)), 110)


def shortened(text: str, room: int) -> str:
    """Keep the whole words that leave room for an ellipsis; the whole text is in `explanation.json`."""
    return text if len(text) <= room else f"{text[: room - 1].rsplit(' ', 1)[0].rstrip()} …"
