"""The extension's entry in Slicer's catalogue agrees with CMake and with what is there, as the catalogue's own checks want it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
RAW = "https://raw.githubusercontent.com/SegHiResCAM/SlicerSegHiResCAM/main/"
ALLOWED = {
    *("$schema", "category", "scm_url", "scm_revision", "scm_type"),
    *("build_dependencies", "build_subdirectory", "enabled", "tier"),
}


def variable(name: str) -> str:
    """What CMake sets, which must be one quoted string: the catalogue reads it with a regular expression."""
    found = re.search(rf'^set\({name} "([^"$]*)"\)$', CMAKE, re.MULTILINE)
    assert found, name
    return found[1]


@pytest.fixture
def entry() -> dict[str, Any]:
    content = (ROOT / "SegHiResCAM.json").read_bytes()
    assert b"\r" not in content
    return json.loads(content)


def test_the_entry_has_what_the_schema_wants_and_nothing_else(entry: dict[str, Any]) -> None:
    assert {"$schema", "category", "scm_url"} <= set(entry) <= ALLOWED
    assert entry["category"] == "Segmentation"
    assert 1 <= entry["tier"] <= 5


def test_the_entry_agrees_with_cmake(entry: dict[str, Any]) -> None:
    assert re.search(r"^project\((\w+)\)$", CMAKE, re.MULTILINE)[1] == "SegHiResCAM"
    assert entry["build_dependencies"] == variable("EXTENSION_DEPENDS").split()
    assert entry["scm_url"].removesuffix(".git") == variable("EXTENSION_HOMEPAGE")
    assert entry["scm_url"].split("/")[-1].removesuffix(".git") == "SlicerSegHiResCAM"


def test_icon_and_screenshots_are_in_the_repository() -> None:
    urls = [variable("EXTENSION_ICONURL"), *variable("EXTENSION_SCREENSHOTURLS").split()]
    assert len(urls) >= 2
    for url in urls:
        assert url.startswith(RAW)
        with Image.open(ROOT / url.removeprefix(RAW)) as picture:
            assert picture.format == "PNG"


def test_the_description_is_short_and_says_what_it_is_not_for() -> None:
    description = variable("EXTENSION_DESCRIPTION")
    assert len(re.findall(r"[.!?](?: |$)", description)) <= 2
    assert "not for diagnosis" in description


def test_licence_and_homepage_are_there_and_the_checkout_is_small() -> None:
    assert (ROOT / "LICENSE").is_file()
    assert "Apache-2.0" in (ROOT / "README.md").read_text(encoding="utf-8")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if files.returncode:
        pytest.skip("no git checkout")
    sizes = [(ROOT / name).stat().st_size for name in files.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert sum(sizes) < 100e6
