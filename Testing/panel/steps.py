"""What a user does with the panel, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
from harness.desktop import Desktop

STANDSTILL_S = 0.15
"""What no slot may compute in a test: three times the goal, since a test may run on a slow processor whose caches others share.
`make benchmark-panel` measures the goal."""


def standstill(desktop: Desktop) -> float:
    """Seconds that the slowest slot computed. Processor time, since other programs may have the processor meanwhile."""
    print(sorted((round(call.cpu, 3), round(call.own, 3), call.signal) for call in desktop.calls)[-6:])
    return max(call.cpu for call in desktop.calls)


def choose_model(desktop: Desktop, path: Path) -> None:
    """Choose a model in the list, as one that was used before is."""
    desktop.widget.panel.state.parameters.modelPath = path
    idle(desktop)


def segment(desktop: Desktop) -> Any:
    """Press Segment and wait."""
    desktop.ui.segmentButton.click()
    idle(desktop)
    return desktop.widget.panel.state.parameters.segmentation


def choose_segment(desktop: Desktop, name: str) -> None:
    """Click a segment in the list."""
    desktop.ui.segmentTable.selectRow(segments(desktop).index(name))


def explain(desktop: Desktop) -> Any:
    """Press Explain and wait."""
    desktop.ui.explainButton.click()
    idle(desktop)
    return desktop.widget.panel.state.parameters.heatmap


def offered(desktop: Desktop) -> list[str]:
    """The lines of the list of models."""
    combo = desktop.ui.modelSelector
    return [combo.itemText(index) for index in range(combo.count)]


def segments(desktop: Desktop) -> list[str]:
    """The names in the list of segments."""
    table = desktop.ui.segmentTable
    return [table.item(row, 0).text() for row in range(table.rowCount)]


def choose(combo: Any, text: str) -> None:
    """Choose the line of a list that is or begins so."""
    lines = [combo.itemText(index) for index in range(combo.count)]
    beginning = [line for line in lines if line.startswith(text)]
    combo.setCurrentIndex(lines.index(text if text in lines else beginning[0]))


def point_at(scene: Any, ras: list[float]) -> None:
    """Move the mouse to a place in the axial view, which shows it."""
    red = scene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    red.JumpSliceByOffsetting(*ras)
    xyz = np.linalg.inv(slicer.util.arrayFromVTKMatrix(red.GetXYToRAS())) @ [*ras, 1]
    scene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCursorPositionXYZ(xyz[:3].tolist(), red)


def idle(desktop: Desktop, seconds: float = 600) -> None:
    """Wait until nothing runs; a test that hangs shall fail while somebody still looks."""
    desktop.wait(
        lambda: not desktop.widget.panel.state.work.name and not desktop.widget.logic.explainer.is_busy, seconds
    )
