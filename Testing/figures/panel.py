"""Pictures of the panel in its main states, for the documentation: the module's own widgets under Qt, without 3D Slicer around them.

make pictures
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.scene.headless import headless_application

IMAGES = Path(__file__).parents[2] / "docs/images"


def main(folder: Path = IMAGES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with headless_application() as application:
        from harness.desktop import panel_desktop
        from harness.views import main_window

        with main_window(application), panel_desktop(application) as desktop:
            draw(desktop, application.scene, folder)


def draw(desktop: Any, scene: Any, folder: Path) -> None:
    from harness.desktop import load_volume
    from panel.steps import choose, choose_segment, explain, idle

    ui = desktop.ui
    desktop.picture(folder / "panel-start.png")
    load_volume(scene, resource("SampleData", "KidneyPhantom.nrrd"))
    choose(ui.modelSelector, "Kidney phantom, 3D")
    idle(desktop)
    desktop.picture(folder / "panel-model.png")
    ui.segmentButton.click()
    desktop.wait(lambda: ui.progressBar.value > 400 and "left" in ui.statusLabel.text)
    desktop.picture(folder / "panel-running.png")
    idle(desktop)
    choose_segment(desktop, "tumour")
    choose(ui.compareSelector, "Seg-Grad CAM")
    explain(desktop)
    desktop.picture(folder / "panel-explained.png")
    choose_segment(desktop, "cyst")
    idle(desktop)
    ui.readSection.collapsed = True
    ui.layersSection.collapsed = False
    choose(ui.pixelSetSelector, "sphere")
    desktop.picture(folder / "panel-choices.png")
    ui.layersSection.collapsed = True
    ui.advancedSection.collapsed = False
    choose(ui.pixelSetSelector, "whole segment")
    choose(ui.contrastSelector, "kidney")
    choose(ui.methodSelector, "Seg-XRes CAM")
    idle(desktop)
    desktop.picture(folder / "panel-advanced.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
