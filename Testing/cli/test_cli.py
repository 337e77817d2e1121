"""The command as a user types it."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import jsonschema
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from tiny_bundle import unet_weights, write_bundle
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.images.volume import read_volume, write_volume
from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.records.files import explanation_schema, read_explanation
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.regions import PredictedSegment
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.sample_data import sample_volume

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
    return write_bundle(tmp_path_factory.mktemp("bundle"), inference, metadata, unet_weights(NETWORK, seed=2))


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
    assert header.GetMetaData("SegHiResCAM.method") == facts["method"] == "Seg-HiRes-Grad CAM"
    assert header.GetMetaData("SegHiResCAM.layer") == facts["layer"]["name"]
    record = read_explanation(header.GetMetaData("SegHiResCAM.explanation"))
    written = read_explanation((folder / "explanation.json").read_text(encoding="utf-8"))
    assert written.timings_s
    assert not record.timings_s  # the same map is the same bytes
    assert replace(written, timings_s={}) == replace(record, files=tuple(sorted(FILES)))
    jsonschema.validate(facts, explanation_schema())
    assert record.question == Question(segment="tumour", region=PredictedSegment())
    assert record.maximum == pytest.approx(float(heatmap.max()), rel=1e-6)
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
    assert (facts["voxel_count"], facts["method"], facts["layer"]["name"]) == (
        32,
        "Seg-Grad CAM",
        "model.1.submodule.0",
    )
    assert facts["question"]["region"] == {"kind": "mask"}


def test_names_out_of_files_are_shown_and_never_obeyed(model: Path, volume: Path, tmp_path: Path) -> None:
    """A label and a folder that a console would take for markup, that move its cursor or turn the direction."""
    bundle = shutil.copytree(model, tmp_path / "bundle [/b]")
    metadata = bundle / "configs/metadata.json"
    name = "[/b] \x1b[2Jkid\u202eyen\x9b"
    metadata.write_text(metadata.read_text(encoding="utf-8").replace('"kidney"', json.dumps(name)), encoding="utf-8")
    folder = tmp_path / "out [/x] :smile:"
    code, out, err = run("explain", volume, "-m", bundle, "-s", name, "-o", folder, "--layer", "model.0")
    assert code == 0, err
    assert "of '[/b]" in out
    assert f"  {folder}/heatmap.nrrd" in out.splitlines()
    for command in (["segment", volume, "-m", bundle, "-o", folder / "a.nii.gz"], ["info", bundle], ["layers", bundle]):
        code, more, err = run(*command)
        assert code == 0, err
        out += more + err
    assert f"  {folder}/a.nii.gz" in out.splitlines()
    assert not {"\x1b", "\x9b", "\u202e"} & set(out)


def explained(model: Path, volume: Path, folder: Path, *more: object) -> dict:
    """The facts of an explanation of the kidney."""
    code, out, err = run("explain", volume, "-m", model, "-s", "kidney", "-o", folder, "--json", *more)
    assert code == 0, err
    return json.loads(out)


def test_one_label_of_a_mask_of_several_is_explained(model: Path, volume: Path, tmp_path: Path) -> None:
    given = read_volume(volume)
    mask = MetaTensor(torch.zeros_like(given.as_tensor()), affine=given.affine)
    mask[0, 10:14, 10:14, 8:10], mask[0, 24:27, 10:14, 8:10] = 1, 2
    write_volume(mask, tmp_path / "labels.nrrd")
    facts = explained(model, volume, tmp_path / "why", "--mask", tmp_path / "labels.nrrd", "--mask-value", 2)
    assert facts["voxel_count"] == 24
    arguments = (
        "--mask",
        tmp_path / "labels.nrrd",
        "--mask-value",
        7,
        "-s",
        "kidney",
        "-m",
        model,
        "-o",
        tmp_path / "x",
    )
    code, _, err = run("explain", volume, *arguments)
    assert code == 1
    assert "has no voxel of value 7. Its values: 0, 1, 2." in " ".join(err.split())


def test_a_segment_of_a_mask_is_chosen_by_its_name(model: Path, volume: Path, tmp_path: Path) -> None:
    given = read_volume(volume)
    layers = np.zeros((2, *given.shape[1:]), np.uint8)
    layers[0, 10:13, 10:13, 8:11], layers[1, 10:14, 10:14, 8:12] = 1, 1
    header = {
        f"Segment{number}_{key}": value
        for number, name in enumerate(("cyst", "tumour"))
        for key, value in {"ID": f"S{number}", "Name": name, "Layer": str(number), "LabelValue": "1"}.items()
    }
    path = tmp_path / "two.seg.nrrd"
    write_nrrd(path, layers, given.affine.numpy(), header, first_axis="list")
    for segment, count in (("cyst", 27), ("S1", 64)):
        facts = explained(model, volume, tmp_path / "why", "--mask", path, "--mask-segment", segment)
        assert facts["voxel_count"] == count
    code, _, err = run("explain", volume, "-m", model, "-s", "kidney", "-o", tmp_path / "x", "--mask", path)
    assert code == 1
    assert "'cyst', 'tumour'. Choose one by name or ID with --mask-segment." in " ".join(err.split())


def test_a_volume_that_does_not_say_how_it_lies_is_explained_with_a_caveat(
    model: Path, volume: Path, tmp_path: Path
) -> None:
    image = nib.Nifti1Image(read_volume(volume).numpy()[0], None)
    image.header["pixdim"][1:4] = 1.5
    nib.save(image, tmp_path / "unplaced.nii.gz")
    facts = explained(model, tmp_path / "unplaced.nii.gz", tmp_path / "why")
    assert "orientation-guessed" in [one["code"] for one in facts["findings"]]
    stored = json.loads((tmp_path / "why" / "explanation.json").read_text())
    assert stored["findings"] == facts["findings"]


def test_a_weighted_mask_counts_voxels_by_its_values(model: Path, volume: Path, tmp_path: Path) -> None:
    given = read_volume(volume)
    for name, weight in (("one", 1.0), ("quarter", 0.25)):
        mask = MetaTensor(torch.zeros_like(given.as_tensor()), affine=given.affine)
        mask[0, 24:28, 10:14, 8:10] = weight
        write_volume(mask, tmp_path / f"{name}.nrrd")
    whole, quarter, lit = (
        explained(model, volume, tmp_path / "why", "--mask", tmp_path / f"{name}.nrrd", *more)["score"]
        for name, more in (("one", ["--weighted"]), ("quarter", ["--weighted"]), ("quarter", []))
    )
    assert quarter == pytest.approx(whole / 4, rel=1e-5)
    assert lit == pytest.approx(whole, rel=1e-6)


def test_pixels_are_chosen_in_patient_millimetres(model: Path, volume: Path, tmp_path: Path) -> None:
    centre = (read_volume(volume).affine.numpy() @ [20, 20, 10, 1])[:3]
    text = ",".join(f"{coordinate:.3f}" for coordinate in centre)
    assert explained(model, volume, tmp_path / "point", "--pixels", f"points:{text}")["voxel_count"] == 1
    facts = explained(model, volume, tmp_path / "sphere", "--region", f"sphere:{text},9")
    voxel = abs(np.linalg.det(read_volume(volume).affine.numpy()[:3, :3]))
    assert facts["voxel_count"] * voxel == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.1)
    assert facts["question"]["region"]["radius"] == 9


def test_contrast_refinement_and_options_reach_the_map(model: Path, volume: Path, tmp_path: Path) -> None:
    facts = explained(
        model, volume, tmp_path / "why", "--method", "seg-xres-cam", "--set", "pool=3", "--set", "mode=max",
        "--contrast", "tumour", "--contrast-weight", 0.5, "--layer", "model.1.submodule.0", "--refine-with", "model.0",
        "--refine", "mean",
    )["question"]  # fmt: skip
    assert facts["method_options"] == {"pool": 3, "mode": "max"}
    assert (facts["contrast"], facts["contrast_weight"]) == ("tumour", 0.5)
    assert (facts["refine"], facts["refine_with"]) == ("mean", ["model.0"])
    heatmap = read_volume(tmp_path / "why" / "heatmap.nrrd")
    assert 0 < float(heatmap.max()) <= 1 + 1e-6


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--method", "seg-xres-cam", "--set", "pool=0"], "must be a whole number of 1 or more"),
        (["--pixels", "component:900,0,0"], "outside the part of the volume"),
        (["--contrast", "kidney"], "cannot be its own contrast class"),
        (["--compare", "magic"], "Known methods"),
        (["--refine-with", "model.9"], "no layer 'model.9'"),
        (["--mask", "drawn.nrrd", "--pixels", "image"], "give one of them"),
        (["--mask-value", "2"], "give it with --mask"),
        (["--weighted"], "give it with --mask"),
    ],
)
def test_options_that_cannot_be_are_refused_with_a_message(
    model: Path, volume: Path, tmp_path: Path, more: list[str], says: str
) -> None:
    code, _, err = run("explain", volume, "-m", model, "-s", "kidney", "-o", tmp_path / "why", *more)
    assert code == 1
    assert says in " ".join(err.split())
    assert not (tmp_path / "why").exists()


def test_methods_are_compared_and_those_that_do_not_fit_are_told(model: Path, volume: Path, tmp_path: Path) -> None:
    facts = explained(model, volume, tmp_path / "two", "--compare", "seg-grad-cam")
    assert [one["question"]["method"] for one in facts["compared_with"]] == ["seg-grad-cam"]
    assert (tmp_path / "two" / "comparison.png").exists()
    code, out, err = run(
        "explain", volume, "-m", model, "-s", "kidney", "-o", tmp_path / "all", "--json", "--compare", "all",
        "--layer", "model.1.submodule.0",
    )  # fmt: skip
    assert code == 0, err
    methods = [one["method"] for one in json.loads(out)["compared_with"]]
    assert len(methods) == len(set(methods)) == len(METHODS) - 3  # but itself and those that are left out
    assert all(f"Left out: {one}." in " ".join(err.split()) for one in ("seg-cam", "seg-legrad"))
    assert (tmp_path / "all" / "comparison.png").exists()


def test_several_segments_each_get_their_folder_and_the_same_map_as_alone(
    model: Path, volume: Path, tmp_path: Path
) -> None:
    code, out, err = run(
        "explain", volume, "-m", model, "-s", "kidney", "-s", "tumour", "-o", tmp_path / "both", "--json", "--nifti"
    )
    assert code == 0, err
    facts = json.loads(out)
    assert [one["question"]["segment"] for one in facts["segments"]] == ["kidney", "tumour"]
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"kidney", "tumour"}
    explained(model, volume, tmp_path / "alone")
    alone, together, nifti = (
        read_volume(tmp_path / name)
        for name in ("alone/heatmap.nrrd", "both/kidney/heatmap.nrrd", "both/kidney/heatmap.nii.gz")
    )
    assert np.allclose(alone, together, rtol=0, atol=1e-5 * float(alone.max()))
    assert np.allclose(nifti, together)
    assert np.allclose(nifti.affine, together.affine, atol=1e-4)
    for segment in ("kidney", "tumour"):
        with ZipFile(tmp_path / "both" / segment / "scene.mrb") as scene:
            images = [name for name in scene.namelist() if name.endswith(".nrrd") and not name.endswith(".seg.nrrd")]
        assert len(images) == 2, "the volume, and the map of this segment alone"


def test_a_smooth_map_is_written_with_its_standard_deviation(model: Path, volume: Path, tmp_path: Path) -> None:
    options = ["--smooth", 2, "--smooth-seed", 3, "--score-explained", "--json"]
    code, out, err = run("explain", volume, "-m", model, "-s", "tumour", "-o", tmp_path / "why", *options)
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["question"]["smooth"], facts["question"]["smooth_seed"]) == (2, 3)
    found = facts["score_explained"]
    assert found["share"] == found["map_sum"] / found["score_change"]
    assert "heatmap-sd.nrrd" in read_explanation((tmp_path / "why/explanation.json").read_text(encoding="utf-8")).files
    spread, heatmap = (read_volume(tmp_path / "why" / name) for name in ("heatmap-sd.nrrd", "heatmap.nrrd"))
    assert spread.shape == heatmap.shape
    assert np.allclose(spread.affine, heatmap.affine)
    assert 0 <= float(spread.min()) < float(spread.max())


@pytest.mark.real_data
def test_dicom_goes_back_into_the_study_it_came_from(kidney_case: Path, model: Path, tmp_path: Path) -> None:
    series = tmp_path / "three slices"
    series.mkdir()
    for number in range(60, 63):
        shutil.copy(kidney_case / f"PATIENT_DICOM/image_{number}", series)
    middle = ",".join(f"{coordinate:.2f}" for coordinate in (read_volume(series).affine.numpy() @ [256, 256, 1, 1])[:3])
    facts = explained(model, series, tmp_path / "why", "--dicom", series, "--pixels", f"points:{middle}")
    made = pydicom.dcmread(tmp_path / "why" / "dicom" / "heatmap.dcm")
    source = pydicom.dcmread(next(path for path in series.rglob("*") if path.is_file()))
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.SOPClassUID.name == "Parametric Map Storage"
    assert str(tmp_path / "why" / "dicom" / "heatmap.dcm") in facts["files"]


@pytest.mark.real_data
def test_a_series_that_a_map_cannot_be_written_beside_is_told_before_anything_is_computed(
    kidney_case: Path, model: Path, volume: Path, tmp_path: Path
) -> None:
    series = tmp_path / "one slice"
    series.mkdir()
    shutil.copy(kidney_case / "PATIENT_DICOM/image_60", series)
    code, _, err = run("explain", volume, "-m", model, "-s", "kidney", "-o", tmp_path / "why", "--dicom", series)
    assert code == 1
    assert "does not lie on the grid" in " ".join(err.split())
    assert not (tmp_path / "why").exists()


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


def test_layers_that_cannot_be_explained_are_told_on_request(model: Path) -> None:
    usable, everything = (json.loads(run("layers", model, "--json", *more)[1])["layers"] for more in ([], ["--all"]))
    assert all(not layer["reason"] for layer in usable)
    assert {layer["name"] for layer in everything} > {layer["name"] for layer in usable}
    assert "--all shows them with the reason" in " ".join(run("layers", model)[1].split())


def test_layers_tells_grid_and_millimetres_of_a_volume_and_marks_what_is_coarser_than_a_segment(
    model: Path, volume: Path
) -> None:
    out = run("layers", model, "--json", "--volume", volume, "--segment-size", 5)[1]
    by_name = {layer["name"]: layer for layer in json.loads(out)["layers"]}
    spacing = np.linalg.norm(read_volume(volume).affine.numpy()[:3, :3], axis=0)
    assert sorted(by_name["model.0"]["mm"]) == pytest.approx(sorted(2 * spacing), rel=1e-4)
    caveats = {name: [one["code"] for one in layer["caveats"]] for name, layer in by_name.items()}
    assert "grid-too-coarse" in caveats["model.0"]
    assert "tail-trivial" in caveats["model"]


@pytest.mark.parametrize(("name", "spacing"), [("kidney-phantom-3d", [3, 3, 3]), ("kidney-phantom-2d", [2, 2])])
def test_layers_tells_the_millimetres_of_a_model_with_a_fixed_spacing(name: str, spacing: list[int]) -> None:
    facts = json.loads(run("layers", resource("Models", name), "--json")[1])
    second = next(layer for layer in facts["layers"] if layer["name"] == "model.1.submodule.0")
    assert second["mm"] == [4 * step for step in spacing]


def test_methods_lists_every_method_with_its_source() -> None:
    code, out, _ = run("methods", "--json")
    assert code == 0
    sources = {one["identifier"]: one["source"] for one in json.loads(out)}
    assert sources["seg-hires-grad-cam"] == "Rheude et al., MELBA 2024:023"
    assert "seg-score-cam" in run("methods")[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"volume": "absent.nii.gz"}, "absent.nii.gz does not exist"),
        ({"--model": "absent"}, "no file or folder 'absent'"),
        ({"--segment": "heart"}, "It segments: kidney, tumour"),
        ({"--layer": "model.9"}, "no layer 'model.9'"),
        ({"--method": "magic"}, "Known methods: seg-cam, seg-grad-cam"),
        ({"--mode": "slice-wise"}, "works volumetric"),
        ({"--device": "cuda"}, "cpu"),
        ({"--mask": "absent.nrrd"}, "absent.nrrd does not exist"),
    ],
)
def test_what_goes_wrong_is_one_message_and_exit_code_1(
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


@pytest.mark.parametrize(
    "command", [["demo"], ["segment", "absent.nii.gz"], ["explain", "absent.nii.gz", "-s", "kidney"]]
)
def test_a_file_in_place_of_the_output_folder_is_told_before_anything_is_computed(
    model: Path, tmp_path: Path, command: list[str]
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    output = {"demo": taken, "segment": taken / "out.nrrd", "explain": taken / "deeper" / "why"}[command[0]]
    more = [] if command == ["demo"] else ["-m", model]
    code, _, err = run(*command, *more, "-o", output)
    assert code == 1
    assert f"{taken} is a file: choose another name." in " ".join(err.split())
    assert taken.read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="a folder where nobody can make another")
def test_a_folder_that_cannot_be_made_is_a_message(model: Path, volume: Path) -> None:
    code, _, err = run("segment", volume, "-m", model, "-o", "/proc/none/out.nrrd")
    assert code == 1
    assert "choose" in err
    assert "unexpected error" not in err


@pytest.mark.real_data
def test_every_awkward_file_is_segmented_or_refused_with_a_message(
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
        assert "unexpected error" not in err, (path, err)
        assert code == 0 or len(err.strip()) > 20, path


def test_the_demo_explains_the_tumour_of_the_sample_patient(tmp_path: Path) -> None:
    code, out, err = run("demo", "-o", tmp_path / "demo", "--json")
    assert code == 0, err
    facts = json.loads(out)
    names = {file.name for file in (tmp_path / "demo").iterdir()}
    assert names == {*FILES, "phantom.nrrd", "comparison.png"}
    assert facts["question"]["segment"] == "tumour"
    assert (tmp_path / "demo/phantom.nrrd").read_bytes() == sample_volume().read_bytes()
    assert facts["maximum"] > 0
