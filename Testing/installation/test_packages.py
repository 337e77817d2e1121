from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

from SegHiResCAMLib.installation.packages import BUNDLED, Package, judge, look, packages

ROOT = Path(__file__).parents[2]
COMMAND_ONLY = {"typer", "rich"}


def test_slicer_gets_what_the_package_requires_and_pictures_less_what_only_the_command_needs() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    required = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', dependencies))
    pictures = dict(re.findall(r'"(matplotlib)>=([\d.]+)"', text))
    assert {one.name: one.minimum for one in packages()} == {
        name: minimum for name, minimum in required.items() if name not in COMMAND_ONLY
    } | pictures


def test_what_3d_slicer_brings_is_never_in_pips_list() -> None:
    text = (ROOT / "SegHiResCAM/Resources/requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert not set(BUNDLED) & {line.split(">=")[0] for line in lines}
    assert lines[:2] == ["torch>=2.10", "monai>=1.5.1"]


@pytest.mark.parametrize(
    ("version", "minimum", "problem"),
    [
        ("2.13.0+cu130", "2.8", ""),
        ("2.8", "2.8.0", ""),
        ("3.0", "3.0.0", ""),
        ("10.0", "9.9", ""),
        ("2.5.0.dev12-g1234", "2.3", ""),
        ("2.9.1", "2.10", "is 2.9.1, and 2.10 or newer is needed"),
        ("2.7.9", "2.8", "is 2.7.9, and 2.8 or newer is needed"),
        ("2.4.4", "3.0", "is 2.4.4, and 3.0 or newer is needed"),
        (None, "3.0", "is not installed"),
    ],
)
def test_versions_are_compared_as_numbers(version: str | None, minimum: str, problem: str) -> None:
    assert judge(Package("torch", minimum), version).problem == problem


@pytest.mark.engine
def test_metadata_are_read_without_importing_anything() -> None:
    before = set(sys.modules)
    assert all(not finding.problem for finding in look())
    assert not {"torch", "monai"} & (set(sys.modules) - before)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def test_the_pytorch_that_is_asked_for_has_no_known_hole_in_reading_weights() -> None:
    """CVE-2026-24747: `torch.load(weights_only=True)` before 2.10.0 could be made to corrupt memory."""
    for file in ("pyproject.toml", "SegHiResCAM/Resources/requirements.txt", "docs/installation.md"):
        asked = re.findall(r"\btorch>=([\d.]+)", (ROOT / file).read_text(encoding="utf-8"))
        assert asked, file
        assert all(numbers(version) >= (2, 10) for version in asked), file


@pytest.mark.engine
def test_the_pytorch_that_is_installed_has_no_known_hole_in_reading_weights() -> None:
    assert numbers(metadata.version("torch")) >= (2, 10)
