"""The documentation's pictures of the panel show what it shows today, by the words in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from figures.panel_states import make_study, show_review, show_states, words_of
from figures.picture_words import kept_words
from harness.desktop import Desktop

pytestmark = pytest.mark.engine
IMAGES = Path(__file__).parents[2] / "docs/images"


def test_the_pictures_of_the_panel_are_todays(desktop: Desktop, scene: Any, tmp_path: Path) -> None:
    seen: dict[str, list[str]] = {}

    def take(state: str) -> None:
        desktop.parent.show()
        desktop.turn()
        seen[state] = words_of(desktop.parent, busy=bool(desktop.widget.panel.state.work.name))

    show_states(desktop, scene, take)
    show_review(desktop, make_study(tmp_path), take)
    kept = {path.stem.removeprefix("panel-"): kept_words(path) for path in IMAGES.glob("panel-*.png")}
    assert kept.keys() == seen.keys(), "make pictures"
    for state, words in seen.items():
        assert words == kept[state], f"panel-{state}.png is not today's: make pictures"
