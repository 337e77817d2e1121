"""What if it were not there, from the command."""

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
    write_tiny_bundle(folder / "bundle")
    return folder


def run(case: Path, output: Path, *more: str) -> tuple[int, str]:
    arguments = ["what-if", str(case / "ct.nrrd"), "-m", str(case / "bundle"), "-o", str(output), *more]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_it_writes_the_edited_volume_both_segmentations_and_the_numbers(case: Path, tmp_path: Path) -> None:
    code, shown = run(case, tmp_path / "without", "--region", "sphere:-12,-12,20,7", "--fill", "patch", "--seed", "3")
    assert code == 0, shown
    facts = json.loads((tmp_path / "without/what-if.json").read_text(encoding="utf-8"))
    assert (facts["fill"], facts["seed"], facts["region"]) == ("patch", 3, "sphere")
    before, after = (read_volume(path).numpy()[0] for path in (case / "ct.nrrd", tmp_path / "without/edited.nrrd"))
    removed = read_volume(tmp_path / "without/removed.nrrd").numpy()[0] > 0
    assert np.array_equal(before[~removed], after[~removed])
    assert removed.sum() * 1.5 * 1.5 * 3 / 1000 == pytest.approx(facts["removed_ml"])
    assert {one["segment"] for one in facts["segments"]} == {"kidney", "tumour"}
    assert (tmp_path / "without/before.seg.nrrd").exists()
    assert (tmp_path / "without/after.seg.nrrd").exists()


def test_the_figure_shows_both_states(case: Path, tmp_path: Path) -> None:
    pytest.importorskip("slicer")
    assert run(case, tmp_path / "without", "--region", "sphere:-12,-12,20,7")[0] == 0
    page = matplotlib.image.imread(tmp_path / "without/what-if.png")[..., :3]
    half = page.shape[0] // 2
    assert np.abs(page[:half].mean() - page[half - 100 : -120].mean()) < 0.2
    assert page[half:].max() > 0.5


def test_an_explanation_in_the_folder_is_not_replaced(case: Path, tmp_path: Path) -> None:
    (tmp_path / "why").mkdir()
    (tmp_path / "why/explanation.json").write_text('{"schemaVersion": 2, "files": ["explanation.json"]}')
    code, shown = run(case, tmp_path / "why", "--region", "sphere:-12,-12,20,7")
    assert code == 1
    assert "Choose another folder" in " ".join(shown.split())
    assert (tmp_path / "why/explanation.json").exists()


def test_nothing_chosen_is_asked_for(case: Path, tmp_path: Path) -> None:
    code, shown = run(case, tmp_path / "without")
    assert code == 1
    assert "--region" in shown
    assert not (tmp_path / "without").exists()
