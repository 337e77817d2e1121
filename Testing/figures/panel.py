"""Pictures of the panel: those of the documentation, and every state narrow, wide, in dark style, with large fonts and at double scale.

make pictures

They show the module's own widgets under Qt, without 3D Slicer around them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "Testing"))

from figures.picture_words import keep_words

from SegHiResCAMLib.scene.headless import headless_application

IMAGES = ROOT / "docs/images"
VARIANTS = ROOT / "pictures"
NARROW, WIDE = 350, 500
LARGE_POINTS = 14
SETTLED = 10
"""Times that the panel is laid out before it is drawn."""


def main(images: Path = IMAGES, variants: Path = VARIANTS) -> None:
    for folder in (images, variants):
        folder.mkdir(parents=True, exist_ok=True)
    with headless_application() as application, tempfile.TemporaryDirectory() as scratch:
        from figures.panel_states import make_study, show_review, show_states
        from harness.desktop import panel_desktop
        from harness.views import main_window

        with main_window(application), panel_desktop(application) as desktop:
            desktop.parent.layout().setContentsMargins(4, 4, 4, 4)
            album = Album(desktop, images, variants)
            show_states(desktop, application.scene, album.take)
            show_review(desktop, make_study(Path(scratch)), album.take)


class Album:
    """Takes a picture of every state in every variant.

    Args:
        desktop: With the panel.
        images: Folder of the documentation's pictures.
        variants: Folder of all others.
    """

    def __init__(self, desktop: Any, images: Path, variants: Path) -> None:
        self._desktop, self._images, self._variants = desktop, images, variants

    def take(self, state: str) -> None:
        """Draw the panel as it is now; a job that runs says nothing new meanwhile."""
        from figures.panel_states import words_of

        timer = self._desktop.widget.panel.state.work._timer
        running = timer.isActive()
        timer.stop()

        picture = self._images / f"panel-{state}.png"
        self._grab(picture, NARROW)
        keep_words(picture, words_of(self._desktop.parent, busy=bool(self._desktop.widget.panel.state.work.name)))
        self._grab(self._variants / f"{state}-wide.png", WIDE)
        self._grab(self._variants / f"{state}-double.png", NARROW, 2)
        with self._dark():
            self._grab(self._variants / f"{state}-dark.png", NARROW)
        with self._large_fonts():
            self._grab(self._variants / f"{state}-large.png", NARROW)
        if running:
            timer.start()

    def _grab(self, file: Path, width: int, scale: int = 1) -> None:
        parent, qt = self._desktop.parent, self._desktop.qt
        parent.show()
        for _ in range(SETTLED):  # texts that wrap change how high everything is
            needed = parent.minimumSizeHint()
            wide = max(width, needed.width())
            parent.resize(wide, max(needed.height(), parent.layout().heightForWidth(wide)))
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
            roles.PlaceholderText: "#c0c0c0",
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
