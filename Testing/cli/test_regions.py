"""Where the reasons lie, from the command: a table on the console, as CSV, in the JSON and in the figure."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from tiny_bundle import noise, write_tiny_bundle
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.nrrd import write_nrrd

AFFINE = np.array([[0, -2.0, 0, 10], [1.5, 0, 0.4, -5], [0, 0, 3, 7], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("case")
    write_nrrd(folder / "ct.nrrd", noise(), AFFINE, {})
    organs = np.zeros((24, 20, 18), np.uint8)
    organs[:10], organs[10:16, :8] = 1, 4
    write_nrrd(folder / "organs.nrrd", organs, AFFINE, {})
    return {"folder": folder, "model": write_tiny_bundle(folder / "bundle")}


def explained(case: dict[str, Path], output: Path, regions: str, *more: str) -> str:
    arguments = [
        "explain",
        str(case["folder"] / "ct.nrrd"),
        "-m",
        str(case["model"]),
        "-s",
        "kidney",
        "-o",
        str(output),
    ]
    result = CliRunner().invoke(app, [*arguments, "--regions", regions, *more])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_the_csv_and_the_json_say_the_same(case: dict[str, Path], tmp_path: Path) -> None:
    shown = explained(case, tmp_path / "why", str(case["folder"] / "organs.nrrd"))
    facts = json.loads((tmp_path / "why/explanation.json").read_text())["regions"]
    rows = list(csv.DictReader((tmp_path / "why/regions.csv").open()))
    assert [row["name"] for row in rows] == [one["name"] for one in facts]
    assert [one["name"] for one in facts][:2] == ["label 1", "label 4"]
    assert [float(row["positive"]) for row in rows] == [one["positive"] for one in facts]
    assert sum(one["positive"] for one in facts) == pytest.approx(1, abs=1e-12)
    for one in facts:
        assert f"{100 * one['positive']:.1f} %" in next(line for line in shown.splitlines() if one["name"] in line)


def test_what_the_model_segments_can_be_the_regions(case: dict[str, Path], tmp_path: Path) -> None:
    explained(case, tmp_path / "why", "model", "--segment", "tumour")
    facts = json.loads((tmp_path / "why/tumour/explanation.json").read_text())
    assert [one["name"] for one in facts["regions"]][:2] == ["kidney", "tumour"]
    inside = {one["name"]: one["positive"] for one in facts["regions"]}["tumour"]
    assert inside == pytest.approx(
        facts["measurements"]["share_inside"], rel=1e-5
    )  # summed in another order, in float32


def test_the_figure_has_the_bars_below_what_it_has_without_them(case: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("slicer")
    explained(case, tmp_path / "with", "model")
    explained(case, tmp_path / "more", str(case["folder"] / "organs.nrrd"))
    page = matplotlib.image.imread(tmp_path / "with/overlay.png")
    assert page.shape == matplotlib.image.imread(tmp_path / "more/overlay.png").shape
    orange = np.abs(page[..., :3] - np.array([0xF9, 0x8E, 0x09]) / 255).max(axis=-1) < 0.02
    assert orange[-200:].sum() > 500


def test_a_file_of_regions_is_never_overwritten(case: dict[str, Path], tmp_path: Path) -> None:
    drawn = tmp_path / "why"
    drawn.mkdir()
    write_nrrd(drawn / "heatmap.nrrd", np.ones((4, 4, 4), np.uint8), np.eye(4), {})
    before = (drawn / "heatmap.nrrd").read_bytes()
    arguments = ["explain", str(case["folder"] / "ct.nrrd"), "-m", str(case["model"]), "-s", "kidney", "-o", str(drawn)]
    result = CliRunner().invoke(app, [*arguments, "--regions", str(drawn / "heatmap.nrrd")])
    assert result.exit_code == 1
    assert (drawn / "heatmap.nrrd").read_bytes() == before


def test_a_checked_map_has_its_lines_a_table_and_a_figure(case: dict[str, Path], tmp_path: Path) -> None:
    arguments = ["explain", str(case["folder"] / "ct.nrrd"), "-m", str(case["model"]), "-s", "kidney"]
    result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "why"), "--check", "--seed", "2"])
    assert result.exit_code == 0, result.output
    check = json.loads((tmp_path / "why/explanation.json").read_text(encoding="utf-8"))["check"]
    assert check["seed"] == 2
    assert check["forward_passes"] <= 45
    assert "What it marks matters" in result.output
    rows = list(csv.DictReader((tmp_path / "why/check.csv").open(encoding="utf-8")))
    assert float(rows[-1]["value"]) == check["forward_passes"]
    # Another result in the same folder leaves nothing of this one behind.
    assert CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "why")]).exit_code == 0
    assert not (tmp_path / "why/check.csv").exists()


def test_a_model_of_one_image_has_no_shares_of_images(case: dict[str, Path], tmp_path: Path) -> None:
    arguments = ["explain", str(case["folder"] / "ct.nrrd"), "-m", str(case["model"]), "-s", "kidney"]
    result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "why"), "--input-shares"])
    assert result.exit_code == 1
    assert "single input image" in result.output
    assert not (tmp_path / "why").exists()
