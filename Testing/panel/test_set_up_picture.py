"""The documentation's figure of the section Set up shows what it shows today, by the words in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from figures.picture_words import kept_words
from figures.tutorial import FOLDER, draw_set_up

from SegHiResCAMLib.scene.headless import HeadlessApplication

pytestmark = pytest.mark.engine  # its module draws a demo, too


def test_the_figure_of_set_up_is_todays(application: HeadlessApplication, tmp_path: Path) -> None:
    draw_set_up(application, tmp_path / "python", tmp_path / "set-up.png")
    words = kept_words(tmp_path / "set-up.png")
    assert len(words) > 5
    assert kept_words(FOLDER / "set-up.png") == words, "Testing/figures/tutorial.py"
