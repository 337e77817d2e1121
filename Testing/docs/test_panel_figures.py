"""The figures of the panel say in words what they show, and show the sections that the panel has today."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from figures.picture_words import kept_words, without_numbers

ROOT = Path(__file__).parents[2]
FIGURES = sorted(ROOT.glob("docs/images/panel-*.png"))


@pytest.mark.parametrize("figure", FIGURES, ids=lambda path: path.stem)
def test_it_shows_every_section_of_today(figure: Path) -> None:
    panel = ElementTree.parse(ROOT / "SegHiResCAM/Resources/UI/SegHiResCAM.ui").getroot()
    outer = [one for one in panel.findall("./widget/layout/item/widget") if one.get("class") == "ctkCollapsibleButton"]
    titles = without_numbers([one.findtext("./property[@name='text']/string") or "" for one in outer])
    assert len(titles) > 4
    shown = kept_words(figure)
    assert shown, "make pictures"
    missing = [title for title in titles if title not in shown]
    assert missing == [], "make pictures"
