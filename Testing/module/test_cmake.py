"""What CMake installs is what there is: an unlisted file works here and is missing in the installed extension.

`python Testing/module/test_cmake.py` writes the lists anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "SegHiResCAM"
LISTS = {"MODULE_PYTHON_SCRIPTS": "**/*.py", "MODULE_PYTHON_RESOURCES": "Resources/**/*"}


def listed(name: str) -> list[str]:
    """Files of one list in CMakeLists.txt, in its order."""
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    files = re.search(rf"set\({name}(.*?)\)", text, re.DOTALL)[1].split()
    return [file.replace("${MODULE_NAME}", "SegHiResCAM") for file in files]


def present(pattern: str) -> list[str]:
    """Files on the disk."""
    found = [file for file in MODULE.glob(pattern) if file.is_file() and "__pycache__" not in file.parts]
    return sorted(file.relative_to(MODULE).as_posix() for file in found)


@pytest.mark.parametrize("name", LISTS)
def test_every_file_is_listed_and_every_listed_file_is_there(name: str) -> None:
    assert listed(name) == present(LISTS[name])


def test_the_icon_has_the_size_that_the_catalogue_wants() -> None:
    from PIL import Image

    for icon in (MODULE / "Resources/Icons/SegHiResCAM.png", MODULE.parent / "Resources/SegHiResCAM.png"):
        assert Image.open(icon).size == (128, 128)


def test_the_module_file_imports_nothing_that_3d_slicer_lacks() -> None:
    text = (MODULE / "SegHiResCAM.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    at_file_scope = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    assert at_file_scope == {"sys", "pathlib", "typing", "slicer"}


if __name__ == "__main__":
    cmake = MODULE / "CMakeLists.txt"
    text = cmake.read_text(encoding="utf-8")
    for name, pattern in LISTS.items():
        lines = "".join(f"  {file}\n" for file in present(pattern))
        text = re.sub(rf"set\({name}.*?\)", f"set({name}\n{lines}  )", text, flags=re.DOTALL)
    cmake.write_text(text, encoding="utf-8")
