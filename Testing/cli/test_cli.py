"""The command as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.networks.nets import UNet
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.engine.volume import read_volume, write_volume
from SegHiResCAMLib.resources import resource

FILES = ["heatmap.nrrd", "segmentation.seg.nrrd", "overlay.png", "scene.mrb", "explanation.json"]
NETWORK = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8, 16], "strides": [2, 2]}


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an untrained network: it outlines something, which is all these tests need."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "configs").mkdir()
    (folder / "models").mkdir()
    transforms = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        {"_target_": "ScaleIntensityd", "keys": "image"},
    ]
    inference = {
        "network_def": {"_target_": "UNet", **NETWORK},
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "overlap": 0.25, "mode": "gaussian"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "softmax": True}],
        },
    }
    channels = {"0": "background", "1": "kidney", "2": "tumour"}
    formats = {"inputs": {"image": {"num_channels": 1}}, "outputs": {"pred": {"channel_def": channels}}}
    metadata = {"name": "Untrained", "version": "1", "network_data_format": formats}
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.manual_seed(2)
    torch.save(UNet(**NETWORK).state_dict(), folder / "models" / "model.pt")
    return folder


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small oblique, left-handed volume with a bright ball."""
    i, j, k = np.meshgrid(np.arange(40), np.arange(36), np.arange(20), indexing="ij")
    ball = ((i - 26) ** 2 + (j - 12) ** 2 + 4 * (k - 9) ** 2 < 80).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, ball.shape).astype(np.float32)
    affine = np.array([[-1.5, 0.3, 0, 20], [0.3, 1.5, 0, -30], [0, 0, 3.0, 5], [0, 0, 0, 1]])
    path = tmp_path_factory.mktemp("volume") / "ball.nrrd"
    write_volume(MetaTensor((ball * 100 + noise)[None], affine=torch.as_tensor(affine)), path)
    return path


@pytest.mark.parametrize("command", [[], ["demo"], ["layers"], ["methods"], ["segment"], ["explain"]])
def test_help_shows_an_example_and_exits_with_0(command: list[str]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert ("Example" in out) or not command


@pytest.mark.parametrize(
    "arguments",
    [["explian"], ["explain"], ["segment", "ct.nii.gz"], ["segment", "a", "-m", "b", "-o", "c", "--axis", "up"]],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


def test_explain_writes_everything_on_the_volumes_own_grid(model: Path, volume: Path, tmp_path: Path) -> None:
    code, out, err = run("explain", volume, "--model", model, "--segment", "Tumour", "-o", tmp_path / "new" / "why")
    assert code == 0, err
    folder = tmp_path / "new" / "why"
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    assert all(name in out for name in FILES)
    given, heatmap = read_volume(volume), read_volume(folder / "heatmap.nrrd")
    assert heatmap.shape == given.shape
    assert np.allclose(heatmap.affine, given.affine, rtol=0, atol=1e-6)
    header = sitk.ReadImage(str(folder / "heatmap.nrrd"))
    facts = json.loads((folder / "explanation.json").read_text())
    assert header.GetMetaData("SegHiResCAM.segment") == "tumour"
    assert header.GetMetaData("SegHiResCAM.methodId") == facts["method"] == "seg-hires-grad-cam"
    assert header.GetMetaData("SegHiResCAM.layer") == facts["layer"]["name"]
    assert float(header.GetMetaData("SegHiResCAM.maximum")) == pytest.approx(float(heatmap.max()), rel=1e-6)
    peak = np.linalg.inv(given.affine.numpy()) @ [*facts["peak_ras_mm"], 1]
    assert float(heatmap[0][tuple(np.round(peak[:3]).astype(int))]) == pytest.approx(facts["maximum"], rel=1e-6)


def test_a_mask_is_explained_instead_of_what_the_model_outlines(model: Path, volume: Path, tmp_path: Path) -> None:
    given = read_volume(volume)
    mask = MetaTensor(torch.zeros_like(given.as_tensor()), affine=given.affine)
    mask[0, 24:28, 10:14, 8:10] = 1
    write_volume(mask, tmp_path / "mask.nrrd")
    code, out, err = run(
        "explain", volume, "-m", model, "-s", "kidney", "-o", tmp_path / "why", "--mask", tmp_path / "mask.nrrd",
        "--method", "seg-grad-cam", "--layer", "model.1.submodule.0", "--json",
    )  # fmt: skip
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["pixel_count"], facts["method"], facts["layer"]["name"]) == (
        32,
        "seg-grad-cam",
        "model.1.submodule.0",
    )
    assert "mask" in facts["provenance"]["pixelSet"]


@pytest.mark.parametrize("name", ["out.seg.nrrd", "out.nii.gz", "out.nrrd"])
def test_segment_writes_labels_on_the_volumes_own_grid(model: Path, volume: Path, tmp_path: Path, name: str) -> None:
    code, out, err = run("segment", volume, "--model", model, "-o", tmp_path / name, "--json")
    assert code == 0, err
    found, given = read_volume(tmp_path / name), read_volume(volume)
    assert np.allclose(found.affine, given.affine, rtol=0, atol=2e-6)
    volumes = json.loads(out)["volumes_ml"]
    voxel = abs(np.linalg.det(given.affine.numpy()[:3, :3])) / 1000
    assert volumes["kidney"] == pytest.approx(int((found == 1).sum()) * voxel)


def test_layers_lists_grids_and_suggests_one(model: Path) -> None:
    code, out, _ = run("layers", model, "--json")
    facts = json.loads(out)
    assert code == 0
    by_name = {layer["name"]: layer for layer in facts["layers"]}
    assert by_name[facts["suggested"]]["grid"] == [8, 8, 8]
    assert run("layers", model)[0] == 0


@pytest.mark.parametrize(("name", "spacing"), [("kidney-phantom-3d", [3, 3, 3]), ("kidney-phantom-2d", [2, 2])])
def test_layers_tells_the_millimetres_of_a_model_with_a_fixed_spacing(name: str, spacing: list[int]) -> None:
    facts = json.loads(run("layers", resource("Models", name), "--json")[1])
    second = next(layer for layer in facts["layers"] if layer["name"] == "model.1.submodule.0")
    assert second["mm"] == [4 * step for step in spacing]


def test_methods_lists_every_method_with_its_source() -> None:
    code, out, _ = run("methods", "--json")
    assert code == 0
    assert json.loads(out)["seg-hires-grad-cam"]["source"] == "Rheude et al., MELBA 2024:023"
    assert "seg-score-cam" in run("methods")[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"volume": "absent.nii.gz"}, "absent.nii.gz does not exist"),
        ({"--model": "absent"}, "no file or folder 'absent'"),
        ({"--segment": "heart"}, "It outlines: kidney, tumour"),
        ({"--layer": "model.9"}, "no layer 'model.9'"),
        ({"--method": "magic"}, "Known methods: seg-cam, seg-grad-cam"),
        ({"--mode": "slice-wise"}, "works volumetric"),
        ({"--device": "cuda"}, "cpu"),
        ({"--mask": "absent.nrrd"}, "absent.nrrd does not exist"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_exit_code_1(
    model: Path, volume: Path, tmp_path: Path, change: dict, says: str
) -> None:
    if change == {"--device": "cuda"} and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    options = {"--model": model, "--segment": "kidney", "-o": tmp_path / "why"} | change
    given = options.pop("volume", volume)
    code, _, err = run("explain", given, *(part for pair in options.items() for part in pair))
    assert code == 1
    assert says in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "why").exists()


def test_an_output_name_without_a_format_is_refused_before_anything_is_computed(model: Path, tmp_path: Path) -> None:
    code, _, err = run("segment", "absent.nii.gz", "--model", model, "-o", tmp_path / "out.png")
    assert code == 1
    assert ".seg.nrrd" in err


@pytest.mark.real_data
def test_every_awkward_file_is_segmented_or_refused_with_a_sentence(
    test_data: Path, model: Path, tmp_path: Path
) -> None:
    awkward = test_data / "awkward"
    inputs = [path for path in awkward.rglob("*") if path.is_file() and path.parent.parent != awkward / "dicom"]
    inputs += [path for path in (awkward / "dicom").iterdir() if path.is_dir()]
    assert len(inputs) > 25
    for path in inputs:
        code, _, err = run("segment", path, "--model", model, "-o", tmp_path / "out.nii.gz", "--json")
        assert code in (0, 1), path
        assert "Traceback" not in err, path
        assert "should not have happened" not in err, (path, err)
        assert code == 0 or len(err.strip()) > 20, path


def test_the_demo_explains_the_tumour_of_an_unseen_phantom(tmp_path: Path) -> None:
    code, out, err = run("demo", "-o", tmp_path / "demo", "--json")
    assert code == 0, err
    facts = json.loads(out)
    names = {file.name for file in (tmp_path / "demo").iterdir()}
    assert names == {*FILES, "phantom.nrrd", "comparison.png"}
    assert facts["segment"] == "tumour"
    assert facts["dice"]["kidney"] > 0.85
    assert facts["maximum"] > 0
