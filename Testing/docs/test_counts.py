"""Numbers that the README and the list of changes give are those of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from SegHiResCAMLib.engine.cam.methods import METHODS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("page", "words", "further"),
    [("README.md", r"\*\*(\d+) methods\*\*", 0), ("CHANGELOG.md", r"(\d+) other methods", 2)],
)
def test_methods_are_counted(page: str, words: str, further: int) -> None:
    said = [int(number) + further for number in re.findall(words, (ROOT / page).read_text(encoding="utf-8"))]
    assert said == [len(METHODS)]
