"""The states of the panel that the documentation shows, one after the other, and the words that are seen in each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from figures.picture_words import without_numbers
from harness.pythonqt import QtWidgets
from panel.steps import choose, choose_segment, explain, idle
from scipy import ndimage

from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.sample_data import sample_volume
from SegHiResCAMLib.scene.segments import Segment, add_segmentation, segment_array
from SegHiResCAMLib.scene.volumes import volume_array

MODEL = "kidney-phantom-3d"

Take = Callable[[str], None]
"""Called with the name of a state while the panel is in it."""

_CHANGING = ("statusLabel",)
"""Their words while a job runs depend on the moment."""


def show_states(desktop: Any, scene: Any, take: Take) -> None:
    """Use the panel as somebody would who has the sample patient.

    Args:
        desktop: With the panel; its scene is empty.
        scene: The vtkMRMLScene.
        take: Called in each state.
    """
    ui = desktop.ui
    take("start")
    ui.sampleButton.click()
    desktop.wait(lambda: ui.segmentButton.text == "Cancel", 600)
    desktop.wait(lambda: not desktop.widget.panel.state.work.name or "left" in ui.statusLabel.text, 600)
    take("running")
    idle(desktop)
    choose_segment(desktop, "tumour")
    take("segmented")
    choose(ui.compareSelector, "Seg-Grad CAM")
    explain(desktop)
    take("explained")
    _show_evidence(desktop, take)
    _show_choices(desktop, take)
    _show_sections(desktop, take)
    scene.Clear(0)
    take("next-patient")


def _show_evidence(desktop: Any, take: Take) -> None:
    """What is known of a heat map beside its colours."""
    ui = desktop.ui
    for section in (ui.segmentSection, ui.explainSection):
        section.collapsed = True
    ui.checkButton.click()
    idle(desktop)
    take("checked")
    ui.readSection.collapsed = True
    for section in (ui.evidenceSection, ui.regionsSection, ui.whatIfSection):
        section.collapsed = False
    ui.regionsButton.click()
    idle(desktop)
    ui.removeButton.click()
    idle(desktop)
    take("evidence")
    ui.forgetButton.click()
    ui.regionsSection.collapsed = ui.whatIfSection.collapsed = True
    ui.mistakesSection.collapsed = False
    _show_mistakes(desktop, take)
    ui.mistakesSection.collapsed = ui.evidenceSection.collapsed = True
    ui.readSection.collapsed = False
    for section in (ui.segmentSection, ui.explainSection):
        section.collapsed = False


def _show_mistakes(desktop: Any, take: Take) -> None:
    """Beside a reference that a reader might have drawn: the tumour without its rim, and no cyst."""
    ui, parameters = desktop.ui, desktop.widget.panel.state.parameters
    volume, segmentation = parameters.inputVolume, parameters.segmentation
    kidney, tumour = (segment_array(segmentation, name, volume) for name in ("kidney", "tumour"))
    core = ndimage.binary_erosion(tumour, iterations=2)
    labels = np.where(core, 2, np.where(kidney | tumour, 1, 0)).astype(np.uint8)
    pair = [Segment("kidney", 1, (0.7, 0.4, 0.3)), Segment("tumour", 2, (0.2, 0.8, 0.5))]
    scene = volume.GetScene()
    node = add_segmentation(scene, labels, volume_array(volume)[1], pair, volume, name="Reader's segmentation")
    node.GetDisplayNode().SetVisibility(False)
    ui.referenceSelector.setCurrentNode(node)
    ui.compareButton.click()
    idle(desktop)
    ui.mistakeTable.selectRow(0)
    take("mistakes")
    choose(ui.pixelSetSelector, "whole segment")
    ui.referenceSelector.setCurrentNode(None)
    scene.RemoveNode(node)


def _show_choices(desktop: Any, take: Take) -> None:
    ui = desktop.ui
    choose_segment(desktop, "cyst")
    idle(desktop)
    ui.readSection.collapsed = True
    ui.layersSection.collapsed = False
    choose(ui.pixelSetSelector, "sphere")
    take("choices")
    ui.layersSection.collapsed = True
    ui.advancedSection.collapsed = False
    choose(ui.pixelSetSelector, "whole segment")
    choose(ui.contrastSelector, "kidney")
    choose(ui.methodSelector, "Seg-XRes CAM")
    idle(desktop)
    take("advanced")


def _show_sections(desktop: Any, take: Take) -> None:
    """All open, and all closed."""
    ui = desktop.ui
    for section in (
        ui.inputSection, ui.howSection, ui.layersSection, ui.readSection, ui.exportSection, ui.logSection,
    ):  # fmt: skip
        section.collapsed = False
    take("everything")
    for section in (
        ui.inputSection, ui.segmentSection, ui.explainSection, ui.readSection, ui.exportSection, ui.logSection,
    ):  # fmt: skip
        section.collapsed = True
    take("closed")


def make_study(folder: Path) -> Path:
    """A study of three patients, who are all the sample patient; what `seghirescam cohort` leaves of it."""
    lines = ["case,image", *(f"patient {number},{sample_volume()}" for number in (1, 2, 3))]
    (folder / "cases.csv").write_text("\n".join(lines), encoding="utf-8")
    options = ["--model", str(resource("Models", MODEL)), "--segment", "tumour", "--workers", "1"]
    command = ["cohort", str(folder / "cases.csv"), *options, "-o", str(folder / "out")]
    subprocess.run([sys.executable, "-m", "SegHiResCAMLib", *command], check=True)
    return folder / "out"


def show_review(desktop: Any, study: Path, take: Take) -> None:
    """Read the study: the first patient is rated, the second is asked."""
    ui, section = desktop.widget.panel.review.ui, desktop.widget.panel.review
    ui.studyFolderButton.directory = str(study)
    ui.readerEdit.text = "Reader 1"
    ui.startReviewButton.click()
    idle(desktop)
    agreement, plausibility, _comment = (widget for _name, widget in section._form._widgets)
    choose(agreement, "4")
    choose(plausibility, "2")
    ui.saveRatingButton.click()
    idle(desktop)
    for part in desktop.widget.panel.widget.findChildren(type(ui.reviewSection)):
        part.collapsed = part is not ui.reviewSection
    ui.studyFolderButton.text = "/data/kidney-study"
    desktop.turn()
    take("review")


def words_of(shown: Any, *, busy: bool = False) -> list[str]:
    """What somebody can read in a widget that is shown, from top to bottom, without numbers.

    Args:
        shown: The widget.
        busy: Whether a job runs.
    """
    return without_numbers(list(_texts(shown, _CHANGING if busy else ())))


def _texts(widget: Any, left_out: tuple[str, ...]) -> Iterator[str]:
    for one in widget.children():
        if not isinstance(one, QtWidgets.QWidget) or one.isHidden() or one.isWindow() or one.objectName in left_out:
            continue
        if isinstance(one, QtWidgets.QComboBox):
            yield one.currentText
        elif isinstance(one, QtWidgets.QTableWidget):
            yield from _cells(one)
        elif isinstance(one, QtWidgets.QAbstractScrollArea):
            continue  # the log
        elif type(one).__name__ == "ctkCollapsibleButton":
            yield one.text.partition(":")[0]  # what it holds is elided, as the font has it
            yield from _texts(one, left_out)
        elif isinstance(one, QtWidgets.QLabel | QtWidgets.QAbstractButton):
            yield one.text
        else:
            yield from _texts(one, left_out)


def _cells(table: Any) -> Iterator[str]:
    for column in range(table.columnCount):
        yield table.horizontalHeaderItem(column).text()
    for row in range(table.rowCount):
        for column in range(table.columnCount):
            yield table.item(row, column).text()
