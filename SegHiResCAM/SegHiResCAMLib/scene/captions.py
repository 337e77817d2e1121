"""What is written around the panels of a picture: titles, legends, what not to believe, names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from SegHiResCAMLib.patient_places import place
from SegHiResCAMLib.scene.canvas import DIM, WARNING, Canvas, number
from SegHiResCAMLib.scene.heatmap import heatmap_diagnoses, heatmap_provenance, heatmap_units, peak_position
from SegHiResCAMLib.scene.panels import Outline
from SegHiResCAMLib.scene.save import written_beside

MARGIN = 24  # pixels
ASKED = ("pixelSet", "contrast", "refinedBy")
"""Facts of a map that say what was asked, beside method, segment and layer."""

FOOTER = "For research use; not for diagnostic use."


def title(page: Canvas, heatmap: Any, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    """Write what a picture shows, and below it how that was made."""
    facts = heatmap_provenance(heatmap)
    page.text(MARGIN, 34, join(facts, *first), 22, weight="bold")
    page.text(MARGIN, 63, join(facts, *second), 15, DIM)


def legend(page: Canvas, heatmap: Any, left: int, top: int, width: int) -> None:
    """Draw the colours of a map with raw values, and what they mean."""
    shown = range_bar(page, heatmap, left, top, width)
    if shown is None:
        return
    upper, hidden = shown
    peak = peak_position(heatmap)
    units = heatmap_units(heatmap)
    lines = [
        f"contribution to the score, {units}",
        f"peak {number(peak.value)} at {place(peak.position)}",
        f"below {hidden / upper:.0%} of the range not shown",
    ]
    for row, line in enumerate(lines):
        page.text(left, top + 48 + 20 * row, line, 13, DIM)


def range_bar(page: Canvas, heatmap: Any, left: int, top: int, width: int) -> tuple[float, float] | None:
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


def notes(page: Canvas, heatmap: Any, left: int, top: int, width: int, lines: int) -> None:
    """Write what to know before believing a map, the gravest first, as far as there is room; the files say it all."""
    room = width // 7  # a letter is about 7 pixels wide
    written = [line for finding in heatmap_diagnoses(heatmap) for line in wrap(finding, room)]
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


def join(facts: dict[str, str], *keys: str) -> str:
    """Put some facts on one line."""
    return shortened("  ·  ".join(facts[key] for key in keys if facts.get(key)), 110)


def shortened(text: str, room: int) -> str:
    """Keep the whole words that leave room for an ellipsis; the whole text is in `explanation.json`."""
    return text if len(text) <= room else f"{text[: room - 1].rsplit(' ', 1)[0].rstrip()} …"
