"""What the command writes: whole results or none, and never over what it reads."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from tiny_bundle import noise, write_tiny_bundle
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.engine.images.volume import write_volume

LIBRARY = str(Path(__file__).parents[2] / "SegHiResCAM")


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error, without line breaks."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "ct.nrrd"
    path.parent.mkdir()
    write_volume(MetaTensor(torch.from_numpy(noise((20, 18, 16)))[None], affine=torch.eye(4).double()), path)
    return path


def all_bytes(folder: Path) -> dict[str, str]:
    return {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in folder.rglob("*") if one.is_file()}


@pytest.mark.parametrize("way", ["name", "link", "hard link"])
def test_segment_refuses_to_write_over_its_input(model: Path, volume: Path, tmp_path: Path, way: str) -> None:
    output = {"name": volume, "link": tmp_path / "link.nrrd", "hard link": tmp_path / "hard.nrrd"}[way]
    if way == "link":
        output.symlink_to(volume)
    elif way == "hard link":
        os.link(volume, output)
    before = all_bytes(tmp_path)
    code, _, err = run("segment", volume, "-m", model, "-o", output)
    assert (code, "would overwrite an input" in err) == (1, True)
    assert all_bytes(tmp_path) == before


@pytest.mark.parametrize("option", ["volume", "--mask", "dicom"])
def test_explain_refuses_to_write_over_what_it_reads(model: Path, volume: Path, option: str) -> None:
    heatmap = volume.rename(volume.with_name("heatmap.nrrd"))
    before = all_bytes(heatmap.parent)
    given = heatmap.parent if option == "dicom" else heatmap
    more = ["--mask", heatmap] if option == "--mask" else []
    code, _, err = run("explain", given, "-m", model, "-s", "kidney", "-o", heatmap.parent, *more)
    assert (code, "input" in err) == (1, True)
    assert all_bytes(heatmap.parent) == before


def test_describe_and_models_add_refuse_to_write_over_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "net.pt"
    torch.save({"weight": torch.zeros(1)}, weights)
    before = all_bytes(tmp_path)
    code, _, err = run("describe", weights, "-o", weights, "--force")
    assert (code, "would overwrite an input" in err) == (1, True)
    assert all_bytes(tmp_path) == before


def test_a_new_result_takes_the_files_of_the_old_one_away_and_leaves_the_users(
    model: Path, volume: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "why"
    base = ("explain", volume, "-m", model, "-o", folder)
    assert run(*base, "-s", "kidney", "-s", "tumour", "--nifti")[0] == 0
    assert {one.name for one in folder.iterdir()} == {"kidney", "tumour"}
    (folder / "notes.txt").write_text("mine")
    (folder / "kidney" / "mine.png").write_text("mine")
    assert run(*base, "-s", "tumour", "--compare", "seg-grad-cam", "--nifti")[0] == 0
    assert run(*base, "-s", "kidney")[0] == 0
    names = {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()}
    facts = json.loads((folder / "explanation.json").read_text())
    assert names == {*facts["files"], "notes.txt", "kidney/mine.png"}
    assert set(facts["files"]) == {
        "explanation.json", "heatmap.nrrd", "overlay.png", "scene.mrb", "segmentation.seg.nrrd",
    }  # fmt: skip
    assert (
        sitk.ReadImage(str(folder / "heatmap.nrrd")).GetMetaData("SegHiResCAM.segment")
        == facts["question"]["segment"]
        == "kidney"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGTERM, 0.5), (signal.SIGINT, 1.5), (signal.SIGHUP, 2.5)])
def test_a_signal_ends_a_command_with_a_message_and_leaves_nothing(tmp_path: Path, number: int, seconds: float) -> None:
    for name in ("temporary", "out"):
        (tmp_path / name).mkdir()
    environment = {**os.environ, "PYTHONPATH": LIBRARY, "TMPDIR": str(tmp_path / "temporary")}
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from SegHiResCAMLib.cli import main, console\n"
        "print('ready', flush=True); main()"
    )
    command = [sys.executable, "-c", code, "demo", "-o", str(tmp_path / "out" / "demo")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        child.stdout.readline()
        time.sleep(seconds)
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 128 + number
    *lines, last = err.splitlines()
    assert last == "Cancelled. Nothing was written."
    # Of a line whose printing the signal met, its end alone may be left.
    assert all(re.fullmatch(r"( *\d+:\d\d +\d+% .*)?", line) for line in lines), err
    assert list((tmp_path / "out").iterdir()) == []
    assert [one.name for one in (tmp_path / "temporary").iterdir() if one.name.startswith("seghirescam")] == []


WITHOUT_EXTRAS = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("slicer", "slicer_core", "vtk", "vtkmodules", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from SegHiResCAMLib.cli import app
for arguments in [one.split("|") for one in sys.argv[1:]]:
    try:
        app(arguments)
    except SystemExit as end:
        assert not end.code, end.code
"""


def test_without_extras_everything_but_pictures_and_scene_is_written(model: Path, volume: Path, tmp_path: Path) -> None:
    commands = [
        f"segment|{volume}|-m|{model}|-o|{tmp_path / 'out.nii.gz'}",
        f"segment|{volume}|-m|{model}|-o|{tmp_path / 'out.seg.nrrd'}",
        f"explain|{volume}|-m|{model}|-s|kidney|-o|{tmp_path / 'why'}|--nifti",
        "methods",
        f"layers|{model}",
    ]
    environment = {**os.environ, "PYTHONPATH": LIBRARY}
    command = [sys.executable, "-c", WITHOUT_EXTRAS, *commands]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "Not written: figures and scene." in done.stderr
    assert "pip install slicer-core matplotlib" in done.stderr
    assert {one.name for one in (tmp_path / "why").iterdir()} == {
        "explanation.json", "heatmap.nrrd", "heatmap.nii.gz", "segmentation.seg.nrrd", "segmentation.nii.gz",
    }  # fmt: skip
    labels = sitk.ReadImage(str(tmp_path / "out.seg.nrrd"))
    assert [labels.GetMetaData(f"Segment{number}_Name") for number in (0, 1)] == ["kidney", "tumour"]
    assert (
        sitk.GetArrayFromImage(labels) == sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nii.gz")))
    ).all()
