"""A study as a BIDS derivative, held against the BIDS validator itself (bids-validator-deno), which has the specification's rules in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from tiny_bundle import noise, write_tiny_bundle
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.engine.images.volume import read_volume, write_volume

VALIDATOR = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
AFFINE = torch.tensor([[0.0, -1, 0, 30], [1.5, 0, 0, -20], [0, 0, 2, 5], [0, 0, 0, 1]]).double()

needs_validator = pytest.mark.skipif(
    find_spec("bids_validator_deno") is None, reason="bids-validator-deno is not installed (extra dev)"
)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["cohort", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def problems(folder: Path) -> list[tuple[str, str]]:
    """Errors that the validator finds, and where; warnings are about what is recommended."""
    command = [VALIDATOR, "--format", "json", folder]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout)
    assert found["summary"]["totalFiles"] > 0
    return [(one["code"], one.get("location", "")) for one in found["issues"]["issues"] if one["severity"] == "error"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of cases whose names are alike in BIDS, or have no letter that it takes, and one that fails; two segments."""
    folder = tmp_path_factory.mktemp("bids")
    write_tiny_bundle(folder / "model")
    write_volume(MetaTensor(torch.from_numpy(noise((20, 18, 16)))[None], affine=AFFINE), folder / "ct.nrrd")
    rows = [f"{name},ct.nrrd" for name in ("case_00110", "case-00110", "Ä")]
    (folder / "cases.csv").write_text("\n".join(["case,image", *rows, "lost,lost.nrrd"]), encoding="utf-8")
    given = ["-m", folder / "model", "-s", "kidney", "-s", "tumour", "--workers", 1, "--no-scene", "--no-pages"]
    code, _, err = run(folder / "cases.csv", *given, "-o", folder / "study")
    assert code == 0, err
    return folder / "study"


@pytest.fixture(scope="module")
def derivative(study: Path) -> Path:
    folder = study.parent / "data/derivatives/seghirescam"
    code, out, err = run("bids", study, "-o", folder, "--json")
    assert code == 0, err
    assert json.loads(out) == {"folder": str(folder), "cases": 3, "left_out": 1}
    return folder


def sidecars(folder: Path, case: str) -> dict[str, Any]:
    """The JSON files of a case, by the paths of their images."""
    found = {one: json.loads(one.read_text(encoding="utf-8")) for one in folder.rglob("sub-*/**/*.json")}
    return {str(path.with_suffix(".nii.gz")): facts for path, facts in found.items() if facts["Case"] == case}


@needs_validator
def test_the_validator_accepts_it(derivative: Path) -> None:
    assert problems(derivative) == []


@needs_validator
def test_the_validator_is_asked_in_earnest(derivative: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(derivative, broken)
    (broken / ".bidsignore").unlink()
    codes = {code for code, _ in problems(broken)}
    assert codes == {"NOT_INCLUDED"}, "heat maps are in BIDS now: call them as it does"
    (broken / "dataset_description.json").write_text('{"Name": "x"}', encoding="utf-8")
    assert {code for code, _ in problems(broken)} > codes


def test_every_case_has_its_segmentation_and_a_map_for_each_segment(derivative: Path) -> None:
    for case in ("case_00110", "case-00110", "Ä"):
        found = sidecars(derivative, case)
        assert len(found) == 3
        assert all(Path(one).is_file() for one in found)
        assert {one.get("Segment") for one in found.values()} == {"kidney", "tumour", None}
    assert len(list(derivative.glob("sub-*/anat/*.nii.gz"))) == 9
    assert len(list(derivative.glob("sub-*"))) == 2, "two names that BIDS cannot tell apart are one subject's"


def test_voxels_affine_and_names_are_those_of_the_study(study: Path, derivative: Path) -> None:
    results = next(study.glob("cases/*/kidney"))
    case = json.loads((results.parent / "case.json").read_text(encoding="utf-8"))["case"]
    for path, facts in sidecars(derivative, case).items():
        image = nibabel.load(path)
        if facts.get("Segment") == "tumour":
            continue
        name = "heatmap.nrrd" if "Segment" in facts else "segmentation.seg.nrrd"
        there = read_volume(results / name)
        np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), there.numpy()[0])
        np.testing.assert_allclose(image.affine, AFFINE.numpy(), atol=1e-6)
        assert image.header.get_xyzt_units()[0] == "mm"
        if "Segment" in facts:
            explanation = json.loads((results / "explanation.json").read_text(encoding="utf-8"))
            assert (facts["Score"], facts["Layer"]) == (explanation["score"], explanation["layer"]["name"])
            assert facts["Sources"][0].startswith("bids::sub-")
            assert (derivative / facts["Sources"][0].removeprefix("bids::")).is_file()
    tables = {one.read_text(encoding="utf-8") for one in derivative.glob("desc-*_dseg.tsv")}
    assert tables == {"index\tname\n1\tkidney\n2\ttumour\n"}


def test_a_folder_with_content_is_refused_and_stays_as_it_is(study: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    code, _, err = run("bids", study, "-o", tmp_path)
    assert (code, [one.name for one in tmp_path.iterdir()]) == (1, ["mine.txt"])
    assert "is not an empty folder" in err
    (tmp_path / "empty").mkdir()
    assert run("bids", study, "-o", tmp_path / "empty")[0] == 0


def test_what_cannot_be_finished_leaves_nothing(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    for facts in copy.glob("cases/*/tumour/heatmap.nrrd"):
        facts.write_bytes(b"NRRD0004\nrubbish")
    assert run("bids", copy, "-o", tmp_path / "out")[0] == 1
    assert [one.name for one in tmp_path.iterdir()] == ["study"]


@needs_validator
def test_a_bids_data_set_keeps_its_subjects_and_sessions_and_the_validator_accepts_both(
    study: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    names = (
        "sub-01/ses-a/anat/sub-01_ses-a_acq-x_T1w",
        "sub-01/ses-a/anat/sub-01_ses-a_acq-x_T2w",
        "sub-02/anat/sub-02_T1w",
    )
    for name in names:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        write_volume(read_volume(study.parent / "ct.nrrd"), data / f"{name}.nii.gz")
    (data / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}', encoding="utf-8")
    (data / "README").write_text("Noise.", encoding="utf-8")
    given = ["-m", study.parent / "model", "-s", "kidney", "--workers", 1, "--no-scene", "--no-pages"]
    assert run(data, *given, "-o", tmp_path / "study")[0] == 0
    derivative = data / "derivatives/seghirescam"
    assert run("bids", tmp_path / "study", "-o", derivative)[0] == 0
    found = sorted(one.relative_to(derivative).as_posix() for one in derivative.glob("sub-*/**/*_dseg.nii.gz"))
    assert [one.rpartition("_desc-seghirescam")[0] for one in found] == [
        "sub-01/ses-a/anat/sub-01_ses-a_acq-x",
        "sub-01/ses-a/anat/sub-01_ses-a_acq-x",
        "sub-02/anat/sub-02",
    ]
    assert problems(derivative) == []
    assert problems(data) == []
    _, out, _ = run(data, *given, "-o", tmp_path / "study", "--dry-run", "--json")
    assert [one["reference"] for one in json.loads(out)["cases"]] == [None] * 3, (
        "the model's segmentation is taken for the truth"
    )
