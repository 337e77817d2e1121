"""Alt and a letter reaches what the panel shows, and takes no letter from 3D Slicer's menus."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from SegHiResCAMLib.resources import resource

MENUS = {"f": "File", "e": "Edit", "v": "View", "h": "Help"}
"""Of 3D Slicer's main window: a letter that is in two places reaches neither at once."""


def letters(file: str) -> list[str]:
    texts = [text.text or "" for text in ElementTree.parse(resource("UI", file)).iter("string")]
    return [found[1].lower() for text in texts if (found := re.search(r"&(\w)", text))]


@pytest.mark.parametrize("file", ["SegHiResCAM.ui", "Evidence.ui", "SetUp.ui"])
def test_no_letter_is_there_twice_or_in_a_menu(file: str) -> None:
    found = letters(file)
    assert sorted(found) == sorted(set(found))
    assert MENUS.keys().isdisjoint(found)
