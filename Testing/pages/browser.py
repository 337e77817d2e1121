"""A real browser without a window: Debian's Chromium with WebGL in software."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "SEGHIRESCAM_REQUIRE_BROWSER"
"""Set where the absence of a browser is a failure, as in continuous integration."""

ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,900", "--hide-scrollbars"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--force-device-scale-factor=1"),
)
SOON = 120
"""Seconds in which a page is ready on a busy computer."""


def has_browser() -> bool:
    """Whether there is one, with what drives it."""
    return None not in _programs()


def _programs() -> tuple[str | None, str | None]:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")


@contextmanager
def browser() -> Iterator[Any]:
    """A selenium driver; the test is skipped, or fails where a browser is required, if there is none."""
    program, driver = _programs()
    if program is None or driver is None:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)("Chromium and its driver are not installed")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = program
    for one in ARGUMENTS:
        options.add_argument(one)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = Chrome(options=options, service=ChromeService(driver))
    try:
        yield started
    finally:
        started.quit()


def open_page(driver: Any, path: Path) -> None:
    """Open a file and wait until its scripts have run; whatever the browser complains about fails."""
    driver.get(path.as_uri())
    begin = time.monotonic()
    while not (state := driver.execute_script("return document.documentElement.dataset.ready")):
        assert time.monotonic() - begin < SOON, driver.get_log("browser")
        time.sleep(0.1)
    complaints = [one["message"] for one in driver.get_log("browser") if one["level"] in ("SEVERE", "WARNING")]
    assert (state, [one for one in complaints if "GPU stall" not in one]) == ("yes", [])
