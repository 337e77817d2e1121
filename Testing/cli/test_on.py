"""`--on` computes on another computer, reached over a real sshd; what is written is the same, byte for byte."""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from sshd import NAME, Server, command_there
from tiny_bundle import noise, write_tiny_bundle
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="sshd is started as on Linux and macOS"),
]

THERE = ["--on", f"{NAME}:{command_there()}"]


@pytest.fixture(scope="module")
def a_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture
def a_volume(tmp_path: Path) -> str:
    """Oblique, left-handed, with a value that is not a number, which is a finding."""
    values = noise((18, 20, 24))
    values[2, 3, 4] = np.nan
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.5, 1.2, 3.0))
    image.SetOrigin((30, -20, 500))
    turned = np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, -1.0]])
    image.SetDirection(turned.ravel().tolist())
    path = tmp_path / "volume.mha"
    sitk.WriteImage(image, str(path))
    return str(path)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout


def files_in(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_an_explanation_computed_elsewhere_has_the_same_files(
    server: Server, a_model: str, a_volume: str, tmp_path: Path
) -> None:
    mask = sitk.Image([24, 20, 18], sitk.sitkUInt8)
    mask.CopyInformation(sitk.ReadImage(a_volume))
    mask[4:9, 5:12, 3:9] = 1
    sitk.WriteImage(mask, str(tmp_path / "mask.nrrd"))
    asked = ["explain", a_volume, "-m", a_model, "-s", "tumour", "-s", "kidney", "--compare", "seg-grad-cam", "--nifti"]
    asked += ["--regions", "model", "--mask", tmp_path / "mask.nrrd", "--check", "--seed", "3"]
    run(*asked, "-o", tmp_path / "here")
    run(*asked, *THERE, "-o", tmp_path / "there")
    names = files_in(tmp_path / "here")
    assert names == files_in(tmp_path / "there")
    assert "tumour/heatmap.nrrd" in names
    for name in names:
        here, there = ((tmp_path / where / name).read_bytes() for where in ("here", "there"))
        if name.endswith(("heatmap.nrrd", "segmentation.seg.nrrd", ".csv", ".nii.gz")):
            assert timeless_bytes(name, here) == timeless_bytes(name, there), name
        if name.endswith("explanation.json"):
            first, second = (timeless(json.loads(text)) for text in (here, there))
            assert first == second
            assert any("NaN" in finding["message"] for finding in first["findings"])


def timeless(explanation: dict) -> dict:
    found = {key: value for key, value in explanation.items() if key != "timings_s"}
    found["compared_with"] = [timeless(one) for one in explanation.get("compared_with", [])]
    return found


def timeless_bytes(name: str, content: bytes) -> bytes:
    """Without when it was written, as gzip has it, and how long each step took, as the header of a heat map has it."""
    if name.endswith(".gz"):
        return gzip.decompress(content)
    if not name.endswith("heatmap.nrrd"):
        return content
    head, blank, values = content.partition(b"\n\n")
    return re.sub(rb'"timings_s": ?\{[^}]*\}', b"", head) + blank + values


def test_a_segmentation_layers_and_a_models_summary_are_the_same(
    server: Server, a_model: str, a_volume: str, tmp_path: Path
) -> None:
    said = [
        run("segment", a_volume, "-m", a_model, "-o", tmp_path / f"{number}.seg.nrrd", "--json", *on)
        for number, on in enumerate(([], THERE))
    ]
    assert (tmp_path / "0.seg.nrrd").read_bytes() == (tmp_path / "1.seg.nrrd").read_bytes()
    assert json.loads(said[0])["volumes_ml"] == json.loads(said[1])["volumes_ml"]
    listed = ["layers", a_model, "--volume", a_volume, "--json"]
    assert run(*listed) == run(*listed, *THERE)
    here, there = (json.loads(run("info", a_model, "--json", *on)) for on in ([], THERE))
    assert here["layers"] == there["layers"]
    assert there["model"].pop("source").startswith(str(server.cache))
    here["model"].pop("source")
    assert here["model"] == there["model"]


@pytest.mark.parametrize("on", ["-oProxyCommand=x", "gpu; reboot"])
def test_what_is_no_address_is_refused_before_anything_is_done(on: str, a_model: str) -> None:
    result = CliRunner().invoke(app, ["info", a_model, f"--on={on}"])
    assert result.exit_code == 1
    assert "is not the address of a computer" in result.output


def test_a_computer_that_cannot_be_reached_is_a_message_and_nothing_is_written(
    server: Server, a_model: str, a_volume: str, tmp_path: Path
) -> None:
    asked = ["explain", a_volume, "-m", a_model, "-s", "tumour", "-o", str(tmp_path / "out"), "--on", "nowhere.invalid"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 1
    assert "'nowhere.invalid' was not found" in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_what_only_this_computer_does_is_refused_before_anything_is_done(
    a_model: str, a_volume: str, tmp_path: Path
) -> None:
    asked = ["explain", a_volume, "-m", a_model, "-s", "tumour", "-o", str(tmp_path / "out"), "--input-shares", *THERE]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 1
    assert "--input-shares cannot be computed on another computer yet" in " ".join(result.output.split())
