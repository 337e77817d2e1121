"""The figure of a check: what removing and keeping the map's highest voxels does to the segment, and the lines beside it."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap

from SegHiResCAMLib.records.check_lines import check_lines
from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.map_check import RemovalTest
from SegHiResCAMLib.scene import captions
from SegHiResCAMLib.scene.canvas import BRIGHT, DIM, Canvas
from SegHiResCAMLib.scene.captions import MARGIN

DELETION, INSERTION, SHIFTED = "#f98e09", "#6ca6e0", "#a8a8a8"
WIDTH, PLOT, TOP = 1400, 520, 110  # pixels: of the page, of the plot, above it
LETTERS = 84


def check_picture(path: Path, record: ExplanationRecord) -> None:
    """Draw the curves of a check and its lines.

    Raises:
        SceneError: matplotlib is missing, or the file cannot be written.
    """
    assert record.check is not None
    rows = [(line.title, wrap(line.text, LETTERS)) for line in check_lines(record)]
    height = max(PLOT + 60, sum(34 + 22 * len(lines) for _, lines in rows)) + TOP + 40
    page = Canvas(WIDTH, height)
    sampled = f"{len(record.check.slices)} of {record.check.slices_explained} slices" if record.check.slices else ""
    spent = f"{record.check.forward_passes:.0f} forward passes, seed {record.check.seed}"
    captions.title(
        page,
        ["How far to believe this map", record.method, record.question.segment],
        [record.model.name, record.layer.name, sampled, spent],
    )
    _curves(page, record.check.removal)
    y = TOP + 6
    for title, lines in rows:
        page.text(MARGIN + PLOT + 110, y, title, 15, weight="bold")
        for line in lines:
            y += 22
            page.text(MARGIN + PLOT + 110, y, line, 14, DIM)
        y += 34
    captions.finish(page, path)


def _curves(page: Canvas, test: RemovalTest) -> None:
    """Dice against voxels, on a logarithmic axis; dots are shifted copies."""
    axes = page.plot(MARGIN + 60, TOP, PLOT, PLOT)
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("Dice of the segment", color=BRIGHT)
    axes.set_xlabel("voxels replaced (deletion) or kept (insertion)", color=BRIGHT)
    if test.p is None:
        text = "\n".join(wrap(f"Not measurable here: {test.reason}", 44))
        axes.text(0.5, 0.5, text, color=BRIGHT, ha="center", va="center", transform=axes.transAxes)
        return
    axes.set_xscale("log")
    axes.plot(test.voxels, test.insertion, "o-", color=INSERTION, label="insertion")
    axes.plot(test.voxels, test.deletion, "o-", color=DELETION, label="deletion")
    axes.plot(
        [test.voxels[test.at]] * len(test.shifts), test.shifts, "x", color=SHIFTED, label="deletion, shifted copies"
    )
    axes.axvline(test.voxels[test.at], color=DIM, linewidth=0.8, linestyle=":")
    axes.set_xticks(list(test.voxels), [str(one) for one in test.voxels])
    axes.minorticks_off()
    above = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 3, "borderaxespad": 0.2, "frameon": False}
    axes.legend(labelcolor=BRIGHT, **above)  # where it hides no point
