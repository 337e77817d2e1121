"""Several models of one case, from the command."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from tiny_bundle import noise, write_tiny_bundle
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.nrrd import write_nrrd

AFFINE = np.diag([-1.5, -1.5, 3, 1])


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("case")
    write_nrrd(folder / "ct.nrrd", noise(), AFFINE, {})
    for name in ("one", "two"):
        write_tiny_bundle(folder / name)
    return folder


def run(case: Path, output: Path, *more: str) -> tuple[int, str]:
    arguments = ["compare-models", str(case / "ct.nrrd"), "-m", str(case / "one"), "-s", "kidney", "-o", str(output)]
    result = CliRunner().invoke(app, [*arguments, *more])
    return result.exit_code, result.output


def test_it_writes_every_map_their_mean_deviation_and_difference(case: Path, tmp_path: Path) -> None:
    code, shown = run(case, tmp_path / "folds", "--with", str(case / "two"))
    assert code == 0, shown
    facts = json.loads((tmp_path / "folds/models.json").read_text(encoding="utf-8"))
    assert [one["model"]["name"] for one in facts["models"]] == ["Tiny network"] * 2
    assert facts["deviation"] == facts["difference"] == 0
    first, mean, sd, difference = (
        read_volume(tmp_path / "folds" / f"{name}.nrrd").numpy() for name in ("map-1", "mean", "sd", "difference")
    )
    assert first.any()
    assert np.array_equal(first, mean)
    assert not sd.any()
    assert not difference.any()


def test_maps_of_an_earlier_answer_of_more_models_go_with_it(case: Path, tmp_path: Path) -> None:
    two = str(case / "two")
    assert run(case, tmp_path / "folds", "--with", two, "--with", two)[0] == 0
    assert (tmp_path / "folds/map-3.nrrd").exists()
    assert run(case, tmp_path / "folds", "--with", two)[0] == 0
    assert sorted(one.name for one in (tmp_path / "folds").glob("map-*")) == ["map-1.nrrd", "map-2.nrrd"]


def test_the_figure_has_a_column_for_each_map_and_the_difference(case: Path, tmp_path: Path) -> None:
    pytest.importorskip("slicer")
    assert run(case, tmp_path / "folds", "--with", str(case / "two"))[0] == 0
    page = matplotlib.image.imread(tmp_path / "folds/models.png")[..., :3]
    assert page.shape[1] > 3 * 300
    assert page.max() > 0.5


def test_a_model_to_compare_with_is_asked_for(case: Path, tmp_path: Path) -> None:
    code, shown = run(case, tmp_path / "folds")
    assert code == 2
    assert "--with" in shown
