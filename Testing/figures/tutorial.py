"""The pictures of docs/tutorial.md that show no panel with results: slice views of the sample patient, and the section Set up.

    .venv/bin/python Testing/figures/tutorial.py

The patient is made up, so the pictures may be published.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "Testing"))

from figures.panel_states import words_of
from figures.picture_words import keep_words
from harness import ctk_widgets, desktop, pythonqt, stand_ins

from SegHiResCAMLib.demo import run_demo
from SegHiResCAMLib.installation.packages import BUNDLED
from SegHiResCAMLib.results import COMPARISON, OVERLAY
from SegHiResCAMLib.scene.headless import HeadlessApplication, headless_application

FOLDER = ROOT / "docs/images"
WIDTH, HEIGHT = 460, 420


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    with headless_application() as application, tempfile.TemporaryDirectory() as temporary:
        results = Path(temporary) / "demo"
        run_demo(lambda: nullcontext(application.scene), results, lambda _fraction, _text: None)
        shutil.copy(results / OVERLAY, FOLDER / "tutorial-overlay.png")
        shutil.copy(results / COMPARISON, FOLDER / "tutorial-comparison.png")
        draw_set_up(application, Path(temporary) / "python", FOLDER / "set-up.png")


def draw_set_up(application: HeadlessApplication, folder: Path, picture: Path) -> None:
    """The section Set up, of a Python that has what 3D Slicer brings, at the oldest versions that will do, and nothing else; it is made in the folder."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for module, version in BUNDLED.items():
        (packages / module).mkdir()
        (packages / module / "__init__.py").write_text(f"__version__ = '{version}.0'\n", encoding="utf-8")
    qt = pythonqt.qt_module()
    qt.QUiLoader = stand_ins.UiLoader
    widgets = desktop.panel_widgets()
    with desktop._surroundings(application, desktop._App(application), qt, ctk_widgets.ctk_module(), widgets):
        from SegHiResCAMLib.panel.set_up import SetUpSection

        section = SetUpSection(lambda: None, str(folder / "bin/python"))
        section.refresh()
        while section.is_busy:
            pythonqt.APPLICATION.processEvents()
            time.sleep(0.01)
        section.widget.resize(WIDTH, HEIGHT)
        section.widget.show()
        pythonqt.APPLICATION.processEvents()
        section.widget.grab().save(str(picture))
        keep_words(picture, words_of(section.widget))
        section.close()


if __name__ == "__main__":
    main()
