"""Draws the icon: a kidney in grey with the heat of a heat map in it. `python Resources/draw_icon.py` writes it where it is used."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
FILES = (ROOT / "Resources/SegHiResCAM.png", ROOT / "SegHiResCAM/Resources/Icons/SegHiResCAM.png")
SIZE = 128
FINE = 8  # drawn this much larger, then averaged, so that edges are smooth


def main() -> None:
    """Write the icon."""
    icon = draw()
    for file in FILES:
        icon.save(file, optimize=True)


def draw() -> Image.Image:
    """The icon, 128 x 128, with a transparent background."""
    axis = (np.arange(SIZE * FINE) + 0.5) / (SIZE * FINE) * 2 - 1
    x, y = np.meshgrid(axis, axis)
    tile = 1.0 * (np.abs(x) ** 5 + np.abs(y) ** 5 < 0.97**5)  # a rounded square
    picture = np.dstack([np.full_like(x, shade) for shade in (0.075, 0.085, 0.11)])

    kidney = bean(x, y)
    body = np.clip((1.0 - kidney) * 2.2, 0, 1) ** 0.5
    inside = kidney < 1.0
    grey = 0.34 + 0.30 * body
    picture[inside] = np.dstack([grey, grey, grey * 1.04])[inside]

    heat = 1.05 * blob(x, y, 0.22, -0.30, 0.34) + 0.32 * blob(x, y, -0.14, 0.30, 0.30)
    heat = np.clip(heat, 0, 1)
    shown = inside & (heat > 0.17)
    colours = matplotlib.colormaps["inferno"](0.12 + 0.86 * heat)[..., :3]
    opacity = (np.clip((heat - 0.17) / 0.25, 0, 1) * shown)[..., None]
    picture = picture * (1 - opacity) + colours * opacity

    slope = np.hypot(*np.gradient(kidney, 2 / (SIZE * FINE)))  # turns levels into distances, so that the line is even
    outline = (np.abs(kidney - 1.0) < 0.045 * slope)[..., None]
    picture = np.where(outline, np.array([0.93, 0.95, 0.97]), picture)
    rgba = np.dstack([np.clip(picture, 0, 1), tile])
    fine = Image.fromarray((rgba * 255).round().astype(np.uint8), "RGBA")
    return fine.resize((SIZE, SIZE), Image.Resampling.BOX)


def bean(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Below 1 inside a kidney: an ellipse bent round a hilum on its left."""
    angle = np.radians(12)
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    bent = u + 0.42 * v**2 - 0.10
    body = (bent / 0.52) ** 2 + (v / 0.78) ** 2
    hilum = 1.25 * np.exp(-(((u + 0.42) / 0.24) ** 2 + (v / 0.22) ** 2))
    return np.sqrt(body) + hilum


def blob(x: np.ndarray, y: np.ndarray, across: float, down: float, width: float) -> np.ndarray:
    """A Gaussian spot."""
    return np.exp(-((x - across) ** 2 + (y - down) ** 2) / (2 * (width / 1.6) ** 2))


if __name__ == "__main__":
    main()
