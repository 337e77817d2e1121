"""The Python block of docs/cohort.md draws every case of the study demo's table, as often as it says."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib.image
import pyarrow.parquet
import pytest
from figures.study import TABLE, draw_figure

pytestmark = pytest.mark.engine
"""The module that draws makes phantoms, too."""


def test_the_code_of_the_page_draws_the_figure_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    shutil.copyfile(TABLE, tmp_path / "study/cases.parquet")
    names = draw_figure(tmp_path, tmp_path / "copy.png")
    cases = pyarrow.parquet.read_table(TABLE).to_pylist()
    left, right = names["figure"].axes
    assert sorted(float(one) for line in left.lines for one in line.get_xdata()) == pytest.approx(
        sorted(row["dice.tumour"] for row in cases)
    )
    assert [one.get_text() for one in left.get_legend().get_texts()] == ["thick slices", "thin slices"]
    assert len(right.lines) == len(cases) == 8
    picture = matplotlib.image.imread(tmp_path / "copy.png")
    assert picture.shape[1] == 1400
    assert (picture[..., :3] < 0.5).any()
