"""A black page, measured in pixels from the top left, that slices, outlines, letters and legends are drawn on.

matplotlib draws without any window system. It is imported when a page is made, since Slicer may lack it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SegHiResCAMLib.records.wording import number
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.volumes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BRIGHT, DIM = "#f2f2f2", "#a8a8a8"
WARNING = "#ffcc66"
ACCENT = "#8fc7ff"  # for the letters: a colour that is in no heat map and no image
_DPI = 100
_SCALE_BARS = (200, 100, 50, 20, 10, 5, 2, 1)  # mm


class Canvas:
    """One page; `save` writes it as a PNG of exactly width x height pixels."""

    def __init__(self, width: int, height: int) -> None:
        import_matplotlib()
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="black")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 14,
        color: str | tuple[float, float, float] = BRIGHT,
        **style: Any,
    ) -> Any:
        """Write a line; `size` is the font's height in pixels and y is the middle of the line unless `va` says otherwise."""
        return self._figure.text(
            x / self.width,
            1 - y / self.height,
            text,
            fontsize=size * 72 / _DPI,
            color=color,
            **({"va": "center"} | style),
        )

    def panel(self, image: Array, left: int, top: int) -> Axes:
        """Place an image (rows, columns, 3) pixel for pixel, and return its axes, whose units are pixels of the image."""
        rows, columns = image.shape[:2]
        axes = self._axes(left, top, columns, rows)
        axes.imshow(image, interpolation="none", vmin=0, vmax=1, aspect="auto")
        axes.set_axis_off()
        return axes

    def color_bar(self, corner: tuple[int, int], width: int, colors: Array, upper: float, hidden_below: float) -> None:
        """Draw a legend from 0 to `upper`; what the map hides is left empty in it."""
        left, top = corner
        height = 14
        shown = np.linspace(0, upper, width)
        image = np.zeros((height, width, 3))
        image[:] = colors[np.linspace(0, len(colors) - 1, width).round().astype(int), :3]
        image[:, shown < hidden_below] = 0
        axes = self._axes(left, top, width, height)
        axes.imshow(image, interpolation="none", aspect="auto", extent=(0, upper, 0, 1))
        axes.set_yticks([])
        ticks = [0.0, upper]
        for tick in (hidden_below, upper / 2):
            if min(abs(tick - other) for other in ticks) > 0.12 * upper:  # or their numbers would touch
                ticks.append(tick)
        axes.set_xticks(ticks)
        axes.set_xticklabels([number(tick) for tick in ticks])
        axes.tick_params(colors=BRIGHT, labelsize=13 * 72 / _DPI, length=4, pad=3)
        for spine in axes.spines.values():
            spine.set_color(DIM)

    def bar(self, corner: tuple[float, float], width: float, height: float, color: str) -> None:
        """Fill a rectangle, its upper left corner at (x, y) pixels."""
        from matplotlib.patches import Rectangle

        x, y = corner
        low = (x / self.width, 1 - (y + height) / self.height)
        size = (width / self.width, height / self.height)
        self._figure.add_artist(Rectangle(low, *size, transform=self._figure.transFigure, color=color, linewidth=0))

    def plot(self, left: int, top: int, width: int, height: int) -> Axes:
        """Axes for curves, in the page's colours."""
        axes = self._axes(left, top, width, height)
        axes.tick_params(colors=BRIGHT, labelsize=13 * 72 / _DPI)
        for spine in axes.spines.values():
            spine.set_color(DIM)
        return axes

    def save(self, path: Path) -> None:
        """Write the page."""
        # Packed fast: Pillow keeps Python's lock while it packs.
        fast = {"compress_level": 1}
        self._figure.savefig(path, format="png", dpi=_DPI, facecolor="black", pil_kwargs=fast)

    def _axes(self, left: int, top: int, width: int, height: int) -> Axes:
        bottom = self.height - top - height
        return self._figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height), facecolor="black"
        )


def import_matplotlib() -> None:
    """Import it, which takes time; it may be done in any thread.

    Raises:
        SceneError: It is not installed.
    """
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure
        import matplotlib.patheffects  # noqa: F401
    except ImportError as problem:
        message = (
            "Figures need matplotlib, which is not installed. In 3D Slicer, press *Install what is missing* in Set up; "
            "elsewhere, run `pip install matplotlib`."
        )
        raise SceneError(message) from problem


def outline(axes: Axes, mask: Array, color: Sequence[float]) -> bool:
    """Draw the border of a mask image (0 to 1) with a thin dark rim, and tell whether there was any."""
    if mask.max() <= 0.5 or mask.min() >= 0.5:
        return False
    axes.contour(mask, levels=[0.5], colors="black", linewidths=2.6, alpha=0.55)
    axes.contour(mask, levels=[0.5], colors=[tuple(color)], linewidths=1.5)
    return True


def letters(axes: Axes, left: str, right: str, top: str, bottom: str) -> None:
    """Name the patient's directions at the middle of the image's edges."""
    for x, y, letter, horizontal, vertical in (
        (0.012, 0.5, left, "left", "center"),
        (0.988, 0.5, right, "right", "center"),
        (0.5, 0.985, top, "center", "top"),
        (0.5, 0.015, bottom, "center", "bottom"),
    ):
        _label(axes, x, y, letter, 15, color=ACCENT, ha=horizontal, va=vertical, weight="bold")


def caption(axes: Axes, text: str) -> None:
    """Write which slice it is into the image's upper left corner."""
    _label(axes, 0.012, 0.985, text, 14, color=BRIGHT, ha="left", va="top")


def crosshair(axes: Axes, x: float, y: float) -> None:
    """Mark a point by four short ticks that leave the point itself free."""
    for color, width in (("black", 2.6), ("white", 1.2)):
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            axes.plot(
                [x + 7 * dx, x + 16 * dx], [y + 7 * dy, y + 16 * dy], color=color, linewidth=width * 72 / _DPI,
                alpha=0.9, scalex=False, scaley=False,
            )  # fmt: skip


def scale_bar(axes: Axes, shape: tuple[int, ...], mm_per_pixel: float) -> None:
    """Draw the longest round length that fits a third of the image, at the lower left."""
    rows, columns = shape[:2]
    length = next((mm for mm in _SCALE_BARS if mm / mm_per_pixel <= columns / 3), _SCALE_BARS[-1])
    left, right, y = 12, 12 + length / mm_per_pixel, rows - 14
    for color, width in (("black", 5), ("white", 2.4)):
        axes.plot([left, right], [y, y], color=color, linewidth=width * 72 / _DPI, scalex=False, scaley=False)
    _label(axes, 12 / columns, 22 / rows, f"{length} mm", 13, color=BRIGHT, ha="left", va="bottom")


def _label(axes: Axes, x: float, y: float, text: str, size: float, **style: Any) -> None:
    """Write onto an image, in fractions of it from the lower left, with a dark rim that keeps it legible on bone."""
    from matplotlib.patheffects import withStroke

    rim = [withStroke(linewidth=2, foreground="black")]
    axes.text(x, y, text, fontsize=size * 72 / _DPI, transform=axes.transAxes, path_effects=rim, **style)
