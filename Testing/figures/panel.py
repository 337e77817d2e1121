"""Pictures of the panel: those of the documentation, and every state narrow, wide, in dark style, with large fonts and at double scale.

make pictures

They show the module's own widgets under Qt, without 3D Slicer around them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "Testing"))

from SegHiResCAMLib.scene.headless import headless_application

IMAGES = ROOT / "docs/images"
VARIANTS = ROOT / "pictures"
NARROW, WIDE = 350, 500
LARGE_POINTS = 14


def main(images: Path = IMAGES, variants: Path = VARIANTS) -> None:
    for folder in (images, variants):
        folder.mkdir(parents=True, exist_ok=True)
    with headless_application() as application:
        from harness.desktop import panel_desktop
        from harness.views import main_window

        with main_window(application), panel_desktop(application) as desktop:
            desktop.parent.layout().setContentsMargins(4, 4, 4, 4)
            Album(desktop, images, variants).draw(application.scene)


class Album:
    """Takes a picture of every state in every variant.

    Args:
        desktop: With the panel.
        images: Folder of the documentation's pictures.
        variants: Folder of all others.
    """

    def __init__(self, desktop: Any, images: Path, variants: Path) -> None:
        self._desktop, self._images, self._variants = desktop, images, variants

    def draw(self, scene: Any) -> None:
        from panel.steps import choose, choose_segment, explain, idle

        desktop, ui = self._desktop, self._desktop.ui
        self._take("start")
        ui.sampleButton.click()
        desktop.wait(lambda: ui.segmentButton.text == "Cancel", 600)
        desktop.wait(lambda: not desktop.widget.panel.state.work.name or "left" in ui.statusLabel.text, 600)
        self._take("running")
        idle(desktop)
        choose_segment(desktop, "tumour")
        self._take("segmented")
        choose(ui.compareSelector, "Seg-Grad CAM")
        explain(desktop)
        self._take("explained")
        self._draw_evidence()
        choose_segment(desktop, "cyst")
        idle(desktop)
        ui.readSection.collapsed = True
        ui.layersSection.collapsed = False
        choose(ui.pixelSetSelector, "sphere")
        self._take("choices")
        ui.layersSection.collapsed = True
        ui.advancedSection.collapsed = False
        choose(ui.pixelSetSelector, "whole segment")
        choose(ui.contrastSelector, "kidney")
        choose(ui.methodSelector, "Seg-XRes CAM")
        idle(desktop)
        self._take("advanced")
        for section in (
            ui.inputSection,
            ui.howSection,
            ui.layersSection,
            ui.readSection,
            ui.exportSection,
            ui.logSection,
        ):
            section.collapsed = False
        self._take("everything")
        for section in (
            ui.inputSection,
            ui.segmentSection,
            ui.explainSection,
            ui.readSection,
            ui.exportSection,
            ui.logSection,
        ):
            section.collapsed = True
        self._take("closed")
        scene.Clear(0)
        self._take("next-patient")

    def _draw_evidence(self) -> None:
        """What is known of a heat map beside its colours."""
        from panel.steps import idle

        desktop, ui = self._desktop, self._desktop.ui
        for section in (ui.segmentSection, ui.explainSection):
            section.collapsed = True
        ui.checkButton.click()
        idle(desktop)
        self._take("checked")
        ui.readSection.collapsed = True
        for section in (ui.evidenceSection, ui.regionsSection, ui.whatIfSection):
            section.collapsed = False
        ui.regionsButton.click()
        idle(desktop)
        ui.removeButton.click()
        idle(desktop)
        self._take("evidence")
        ui.forgetButton.click()
        ui.regionsSection.collapsed = ui.whatIfSection.collapsed = True
        ui.mistakesSection.collapsed = False
        self._draw_mistakes()
        ui.mistakesSection.collapsed = ui.evidenceSection.collapsed = True
        ui.readSection.collapsed = False
        for section in (ui.segmentSection, ui.explainSection):
            section.collapsed = False

    def _draw_mistakes(self) -> None:
        """Beside a reference that a reader might have drawn: the tumour without its rim, and no cyst."""
        import numpy as np
        from panel.steps import choose, idle
        from scipy import ndimage

        from SegHiResCAMLib.scene.segments import Segment, add_segmentation, segment_array
        from SegHiResCAMLib.scene.volumes import volume_array

        desktop, ui = self._desktop, self._desktop.ui
        parameters = desktop.widget.panel.state.parameters
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
        self._take("mistakes")
        choose(ui.pixelSetSelector, "whole segment")
        ui.referenceSelector.setCurrentNode(None)
        scene.RemoveNode(node)

    def _take(self, state: str) -> None:
        self._grab(self._images / f"panel-{state}.png", NARROW)
        self._grab(self._variants / f"{state}-wide.png", WIDE)
        self._grab(self._variants / f"{state}-double.png", NARROW, 2)
        with self._dark():
            self._grab(self._variants / f"{state}-dark.png", NARROW)
        with self._large_fonts():
            self._grab(self._variants / f"{state}-large.png", NARROW)

    def _grab(self, file: Path, width: int, scale: int = 1) -> None:
        parent, qt = self._desktop.parent, self._desktop.qt
        parent.show()
        for _ in range(3):  # texts that wrap change how high everything is
            parent.resize(max(width, parent.minimumSizeHint().width()), parent.minimumSizeHint().height())
            for _turn in range(4):
                qt.APPLICATION.processEvents()
        pixels = qt.QtGui.QPixmap(parent.size * scale)
        pixels.setDevicePixelRatio(scale)
        parent.render(pixels)
        pixels.save(str(file))

    @contextmanager
    def _dark(self) -> Iterator[None]:
        """The colours of 3D Slicer's dark style."""
        qt = self._desktop.qt
        before = qt.APPLICATION.palette()
        roles, dark = qt.QtGui.QPalette.ColorRole, qt.QtGui.QPalette(before)
        for role, colour in {
            roles.Window: "#323232", roles.WindowText: "#dcdcdc", roles.Base: "#1e1e1e", roles.AlternateBase: "#2a2a2a",
            roles.Text: "#dcdcdc", roles.Button: "#3c3c3c", roles.ButtonText: "#dcdcdc", roles.Highlight: "#2a82da",
            roles.HighlightedText: "#ffffff", roles.ToolTipBase: "#323232", roles.ToolTipText: "#dcdcdc",
        }.items():  # fmt: skip
            dark.setColor(role, qt.QtGui.QColor(colour))
        for role in (roles.WindowText, roles.Text, roles.ButtonText):
            dark.setColor(qt.QtGui.QPalette.ColorGroup.Disabled, role, qt.QtGui.QColor("#808080"))
        qt.APPLICATION.setPalette(dark)
        try:
            yield
        finally:
            qt.APPLICATION.setPalette(before)

    @contextmanager
    def _large_fonts(self) -> Iterator[None]:
        parent = self._desktop.parent
        before = parent.font
        parent.setFont(self._desktop.qt.QtGui.QFont(before.family(), LARGE_POINTS))
        try:
            yield
        finally:
            parent.setFont(before)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
