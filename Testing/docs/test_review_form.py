"""The form of a review that the documentation shows can be used."""

from __future__ import annotations

import re
from pathlib import Path

from SegHiResCAMLib.review.form import FORM, read_form

PAGE = Path(__file__).parents[2] / "docs/cohort.md"


def test_the_form_of_the_page_is_read(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / FORM).write_text(shown, encoding="utf-8")
    questions = read_form(tmp_path).questions
    assert [one.name for one in questions] == ["margin", "place", "remark"]
