"""Where shipped files are found, wherever the library lies."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from SegHiResCAMLib.resources import resource

ROOT = Path(__file__).parents[2]


def found_by(site: Path) -> str:
    """What the requirements are for a Python that imports the library from a folder."""
    code = "from SegHiResCAMLib.resources import resource; print(resource('requirements.txt').read_text())"
    done = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {code}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("installed", [True, False], ids=["by pip", "in 3D Slicer"])
def test_another_packages_folder_of_the_same_name_changes_nothing(tmp_path: Path, installed: bool) -> None:
    package = tmp_path / "SegHiResCAMLib"
    package.mkdir()
    for name in ("__init__.py", "resources.py"):
        shutil.copy(ROOT / "SegHiResCAM/SegHiResCAMLib" / name, package)
    beside, within = tmp_path / "Resources", package / "Resources"
    beside.mkdir()
    (beside / "requirements.txt").write_text("another's" if installed else "ours")
    if installed:
        within.mkdir()
        (within / "requirements.txt").write_text("ours")
    assert found_by(tmp_path) == "ours"


def test_the_recipe_for_computers_without_internet_finds_the_list_of_packages_wherever_the_extension_lies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The lines that it gives for 3D Slicer's Python console."""
    text = (ROOT / "docs/installation.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^ +```python\n(.*?)^ +```$", text, re.MULTILINE | re.DOTALL)
    exec(dedent(block), {})  # noqa: S102 - our own documentation
    assert Path(capsys.readouterr().out.strip()) == resource("requirements.txt")
    assert "-r SegHiResCAM/Resources" not in text


def test_a_wheel_brings_every_resource_but_those_that_only_3d_slicer_shows() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    brought = re.findall(r'^"SegHiResCAM/Resources/([\w.]+)" = "SegHiResCAMLib/Resources/\1"$', text, re.MULTILINE)
    resources = {one.name for one in (ROOT / "SegHiResCAM/Resources").iterdir()}
    assert set(brought) == resources - {"Icons", "UI"}
