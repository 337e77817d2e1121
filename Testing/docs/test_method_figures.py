"""The figures of all methods show today's methods, or the page says which are missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from figures.picture_words import kept_words

from SegHiResCAMLib.engine.cam.methods import METHODS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("figure", ["methods-kidney.png", "methods-spleen.png"])
def test_every_method_is_in_the_figure_or_said_to_be_missing(figure: str) -> None:
    shown = kept_words(DOCS / "images" / figure)
    before, _figure, _after = (DOCS / "method.md").read_text(encoding="utf-8").partition(f"images/{figure}")
    missing = before.rpartition("Not in these figures:")[2].partition("Each tile")[0]
    titles = {one.title for one in METHODS.values()}
    assert set(shown) <= titles, "it shows a method that there is no more: make figures"
    for title in titles:
        name = title.removesuffix(" CAM")
        said = re.search(rf"{re.escape(name)}(?![\w-])", missing) is not None
        assert (title in shown) != said, title
