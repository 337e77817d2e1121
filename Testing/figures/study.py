"""A study of eight phantoms, from their table to its report in a browser: `make study-demo [STUDY_DEMO=FOLDER]`.

    python Testing/figures/study.py FOLDER [--images]

Four patients are scanned in thin and four in thick slices, which is the group that the report tells apart. Each has its truth as the reference.
`--images` takes the pictures of docs/cohort.md, draws its figure by the code that is there, and keeps the table for the test of that code; without Chromium there are no
pictures, and the report can be opened in any browser.
"""

from __future__ import annotations

import csv
import os
import re
import runpy
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "Testing"))

import numpy as np
import torch
from pages.browser import browser, has_browser, open_page
from phantom.scanner import FIELD_OF_VIEW, MIDDLE, phantom

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.engine.images.volume import write_volume
from SegHiResCAMLib.resources import resource

IMAGES = ROOT / "docs/images"
TABLE = ROOT / "Testing/data/study-of-phantoms/cases.parquet"
CASES = 8
FIRST_SEED = 9101
"""Far from the seeds of training and evaluation."""

PIXEL_MM = 2.5
SLICES_MM = {"thin": 2.5, "thick": 5.0}


def main(folder: Path, images: Path | None) -> None:
    study = folder / "study"
    table = write_inputs(folder / "phantoms")
    model = resource("Models", "kidney-phantom-3d")
    more = ("--compare", "seg-grad-cam", "--regions", "model")
    app(["cohort", str(table), "-m", str(model), "-s", "tumour", *more, "-o", str(study)], standalone_mode=False)
    if images is None:
        return
    shutil.copyfile(study / "cases.parquet", TABLE)
    draw_figure(folder, images / "study-figure.png")
    if not has_browser():
        print("Chromium is not installed, so no pictures were taken. Open the report in any browser.")
        return
    with browser() as driver:
        take(driver, study / "report.html", images / "study-report.png", ".charts")
        page = driver.find_element("css selector", "#table tbody a").get_attribute("href")
        take(driver, Path(page.removeprefix("file://")), images / "study-page.png", None)


def draw_figure(folder: Path, image: Path) -> dict[str, Any]:
    """What the Python block of docs/cohort.md draws of the study in a folder, and the names that it leaves."""
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/cohort.md").read_text(encoding="utf-8"), re.DOTALL)
    (folder / "figure.py").write_text("".join(code), encoding="utf-8")
    with chdir(folder):
        names = runpy.run_path("figure.py")
    shutil.copyfile(folder / "figure.png", image)
    return names


@contextmanager
def chdir(folder: Path) -> Iterator[None]:
    """Within a folder; the standard library has it from Python 3.11 on."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def write_inputs(folder: Path, count: int = CASES) -> Path:
    """The scans of so many patients, their truths, and the table that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "cases.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["case", "image", "reference", "slices"])
        for number in range(count):
            kind = list(SLICES_MM)[number % len(SLICES_MM)]
            spacing = np.array([PIXEL_MM, PIXEL_MM, SLICES_MM[kind]])
            size = np.round(FIELD_OF_VIEW / spacing).astype(int)
            affine = np.diag([*spacing, 1.0])
            affine[:3, 3] = MIDDLE - spacing * (size - 1) / 2
            patient = phantom(FIRST_SEED + number, affine, (int(size[0]), int(size[1]), int(size[2])), tumours=1)
            name = f"phantom-{number + 1}"
            write_volume(patient.volume.round().to(torch.int16), folder / f"{name}.nrrd")
            write_volume(patient.labels, folder / f"{name}-truth.nrrd")
            rows.writerow([name, f"{name}.nrrd", f"{name}-truth.nrrd", kind])
            print(f"{name} of {count}: written", flush=True)
    return table


def take(driver: Any, page: Path, picture: Path, below: str | None) -> None:
    """The page as a reader sees it; where `below` is given, down to what that finds, as far as one screen of 1600 pixels goes."""
    driver.set_window_size(1400, 1600 if below else 900)
    open_page(driver, page)
    picture.parent.mkdir(parents=True, exist_ok=True)
    assert driver.save_screenshot(str(picture))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), IMAGES if "--images" in sys.argv[2:] else None)
