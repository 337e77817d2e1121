"""What the engine found in a heat map: diagnoses as a short list, measurements as a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from SegHiResCAMLib.panel.widgets import fill_table
from SegHiResCAMLib.records.wording import number
from SegHiResCAMLib.scene.heatmap import MEASUREMENTS, explanation_of
from SegHiResCAMLib.scene.table import ROWS, SCORE_EXPLAINED, table_rows

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode

SHORT = {
    ROWS["share_inside"][0]: _("Inside the region"),
    ROWS["share_within_5_mm"][0]: _("Within 5 mm of it"),
    ROWS["share_within_10_mm"][0]: _("Within 10 mm of it"),
    ROWS["effective_volume_ml"][0]: _("Effective volume"),
    SCORE_EXPLAINED: _("Score explained"),
}
"""Of a measurement with a long name, the name that a narrow panel has room for; the whole one is in the tooltip."""


def refresh_findings(ui: Any, heatmap: vtkMRMLScalarVolumeNode) -> None:
    """Show what there is; nothing for no heat map."""
    record = explanation_of(heatmap) if heatmap is not None else None
    findings = () if record is None else record.findings
    ui.diagnosesLabel.text = "\n".join([_("Findings:"), *(f"• {one.message}" for one in findings)])
    ui.diagnosesLabel.visible = bool(findings)
    table = heatmap.GetNodeReference(MEASUREMENTS) if heatmap is not None else None
    ui.measurementTable.visible = table is not None
    if table is not None:
        titles, *rows = table_rows(table)
        shown = [(SHORT.get(name, name), f"{rounded(value)} {unit}".strip()) for name, value, unit in rows]
        tips = [(name, f"{value} {unit}".strip()) for name, value, unit in rows]
        fill_table(ui.measurementTable, titles[:2], shown, tips=tips)


def rounded(text: str) -> str:
    """A number to three significant digits, or to a whole one where it is larger; anything else as it is."""
    try:
        value = float(text)
    except ValueError:
        return text
    if value == 0 or not 1e-3 <= abs(value) < 1e6:
        return number(value)
    decimals = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.3g}")))))
    return f"{value:.{decimals}f}"
