"""docs/slicer.md says of everything that was seen in the desktop what holds its cure, and what only the desktop can confirm."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEEN = "ABCDEFGHIJKLMNOPQRS"


def rows() -> list[list[str]]:
    text = (ROOT / "docs/slicer.md").read_text(encoding="utf-8")
    table = text.partition("| | what was seen |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_nothing_that_was_seen_is_missing() -> None:
    letters = [letter for row in rows() for letter in re.findall(r"\b[A-Z]\b", row[0])]
    assert sorted(set(letters)) == list(SEEN)


def test_every_cure_has_tests_that_are_there_and_a_part_that_the_desktop_confirms() -> None:
    for row in rows():
        assert len(row) == 5, row[0]
        assert all(row), row[0]
        tests = re.findall(r"`((?:scene|panel)/test_\w+\.py)`", row[3])
        assert tests, row[0]
        assert [one for one in tests if not (ROOT / "Testing" / one).is_file()] == [], row[0]
        for module in re.findall(r"`((?:scene|panel)/\w+\.py)`", row[2]):
            assert (ROOT / "SegHiResCAM/SegHiResCAMLib" / module).is_file(), module
