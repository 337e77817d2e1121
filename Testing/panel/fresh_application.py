"""Opens a scene in an application that has shown nothing before, then the module, and says what became of the views; run by a test.

    python Testing/panel/fresh_application.py SCENE

Prints an object of JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from SegHiResCAMLib.scene.headless import headless_application


def main(scene_file: str) -> None:
    with headless_application() as application:
        from harness.desktop import panel_desktop
        from harness.views import MainWindow, main_window

        def pixels(window: MainWindow) -> np.ndarray:
            return np.stack([view.pixels() for view in window.views.values()])

        with main_window(application) as window:
            empty = pixels(window)
            opened = bool(application.scene.ReadFromMRB(scene_file))
            before = pixels(window)
            with panel_desktop(application) as desktop:  # Slicer makes a module's widget when it is entered first
                from panel.steps import idle

                idle(desktop)
                for _ in range(5):
                    desktop.turn()
                entered = pixels(window)
                heatmap = desktop.widget.panel.state.parameters.heatmap
                said = {
                    "opened": opened,
                    "shown": int((before != empty).sum()),
                    "changed": int((entered != before).sum()),
                    "heatmap": None if heatmap is None else heatmap.GetName(),
                    "errors": [str(error) for error in desktop.errors],
                }
        print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1])
