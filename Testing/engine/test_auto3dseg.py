"""Auto3DSeg checkpoints open as the SegResNet template and the Slicer extension use them; nothing in them runs."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine.geometry import AFFINES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInfererAdapt
from monai.networks.nets import SegResNetDS
from monai.transforms import (
    Compose,
    ConcatItemsd,
    CropForegroundd,
    EnsureTyped,
    Lambdad,
    NormalizeIntensityd,
    Orientationd,
    ResampleToMatchd,
    ScaleIntensityRanged,
    Spacingd,
)
from refusals import Trap, done_or_refused, refusal
from rounding import close

from SegHiResCAMLib.engine import ExplainRequest, explain, open_model, read_volume
from SegHiResCAMLib.engine.images.volume import volume_from_array
from SegHiResCAMLib.engine.inference.preprocessing import prepare
from SegHiResCAMLib.engine.inference.slicing import to_stack
from SegHiResCAMLib.engine.inference.windows import plan_windows, predict_windows
from SegHiResCAMLib.engine.models.auto3dseg.auto3dseg import is_auto3dseg
from SegHiResCAMLib.engine.models.auto3dseg.label_table import read_labels_csv
from SegHiResCAMLib.terminology import Code

NETWORK = {
    "_target_": "SegResNetDS",
    "init_filters": 8,
    "blocks_down": [1, 1, 1],
    "norm": "INSTANCE",
    "in_channels": 1,
    "out_channels": 3,
    "dsdepth": 2,
}

# What the template saves: its settings with defaults filled in, paths relative, references resolved.
CONFIG: dict[str, Any] = {
    "bundle_root": "/home/someone/segresnet_0",
    "ckpt_path": "$@bundle_root + '/model'",
    "mlflow_tracking_uri": "$@ckpt_path + '/mlruns/'",
    "data_file_base_dir": "/data",
    "modality": "ct",
    "fold": 0,
    "input_channels": 1,
    "output_classes": 3,
    "class_names": ["acc_0", "acc_1"],
    "class_index": None,
    "debug": False,
    "roi_size": [24, 24, 16],
    "orientation_ras": True,
    "crop_foreground": True,
    "sigmoid": False,
    "resample": True,
    "resample_resolution": [1.5, 1.5, 2.0],
    "normalize_mode": "range",
    "intensity_bounds": [-150.0, 250.0],
    "anisotropic_scales": False,
    "extra_modalities": {},
    "custom_data_transforms": [],
    "loss": {"_target_": "DiceCELoss", "softmax": "$not @sigmoid"},
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.0002},
    "infer": {"enabled": False, "ckpt_name": "$@bundle_root + '/model/model.pt'"},
    "network": NETWORK,
    "rank": 0,
}

LABELS = """LabelValue,Name,SegmentedPropertyCategoryCodeSequence.CodingSchemeDesignator,SegmentedPropertyCategoryCodeSequence.CodeValue,SegmentedPropertyCategoryCodeSequence.CodeMeaning,SegmentedPropertyTypeCodeSequence.CodingSchemeDesignator,SegmentedPropertyTypeCodeSequence.CodeValue,SegmentedPropertyTypeCodeSequence.CodeMeaning,SegmentedPropertyTypeModifierCodeSequence.CodingSchemeDesignator,SegmentedPropertyTypeModifierCodeSequence.CodeValue,SegmentedPropertyTypeModifierCodeSequence.CodeMeaning,AnatomicRegionSequence.CodingSchemeDesignator,AnatomicRegionSequence.CodeValue,AnatomicRegionSequence.CodeMeaning,AnatomicRegionModifierSequence.CodingSchemeDesignator,AnatomicRegionModifierSequence.CodeValue,AnatomicRegionModifierSequence.CodeMeaning
2,cyst,SCT,49755003,Morphologically Altered Structure,SCT,367643001,Cyst,,,,SCT,64033007,Kidney,SCT,7771000,Left
1,kidney_left,SCT,123037004,Anatomical Structure,SCT,64033007,Kidney,SCT,7771000,Left
"""

Checkpoint = Callable[..., Path]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """Writes a model as the template does: `config` (merged), `network` (merged), `labels`, and what else is in the file."""

    def write(
        config: dict[str, Any] | None = None,
        network: dict[str, Any] | None = None,
        labels: str | None = None,
        folder: str = "abdomen-v1.0.0",
        **content: Any,
    ) -> Path:
        arguments = {**NETWORK, **(network or {})}
        made = tmp_path / folder
        made.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng():
            torch.manual_seed(3)
            built = SegResNetDS(**{key: value for key, value in arguments.items() if key != "_target_"}).eval()
            with torch.no_grad():
                for parameter in built.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
                logits = built(torch.rand(2, arguments["in_channels"], 16, 16, 16))
                built.up_layers[-1].head.bias -= logits.mean(dim=(0, 2, 3, 4))
        saved = {
            "state_dict": built.state_dict(),
            "config": {**CONFIG, "network": arguments, **(config or {})},
            "epoch": 7,
            "best_metric": np.float64(0.91),
            **content,
        }
        torch.save({key: value for key, value in saved.items() if value is not None}, made / "model.pt")
        if labels is not None:
            (made / "labels.csv").write_text(labels, encoding="utf-8")
        return made / "model.pt"

    return write


def scan(affine: np.ndarray, channels: int = 1) -> MetaTensor:
    """Noise around a bright middle, nothing above zero near the border; each voxel about 1 to 3 mm."""
    noise = np.random.default_rng(2)
    values = noise.normal(-400, 60, (channels, 40, 36, 30)).astype(np.float32).clip(max=-1)
    values[:, 12:28, 12:26, 12:20] = noise.normal(60, 120, (channels, 16, 14, 8))
    return volume_from_array(values, affine)


def template_transforms(config: dict[str, Any]) -> Compose:
    """What Auto3DSeg's SegResNet template does to the images "image" and those of `extra_modalities`, once they are loaded."""
    extra = list(config["extra_modalities"])
    keys = ["image", *extra]
    steps: list[Any] = [EnsureTyped(keys=keys, data_type="tensor", dtype=torch.float)]
    if config["orientation_ras"]:
        steps.append(Orientationd(keys="image", axcodes="RAS"))
    if config["crop_foreground"] and not extra:
        steps.append(CropForegroundd(keys="image", source_key="image", margin=10, allow_smaller=True))
    if config["resample"]:
        pixdim = config["resample_resolution"]
        nearly = {"min_pixdim": np.array(pixdim) * 0.75, "max_pixdim": np.array(pixdim) * 1.25}
        steps.append(Spacingd(keys=["image"], pixdim=pixdim, mode=["bilinear"], dtype=torch.float, **nearly))
    steps += [ResampleToMatchd(keys=key, key_dst="image", dtype=np.float32) for key in extra]
    for key, mode in {"image": config["normalize_mode"], **config["extra_modalities"]}.items():
        if mode in ("range", "ct"):
            low, high = config["intensity_bounds"]
            steps.append(ScaleIntensityRanged(keys=key, a_min=low, a_max=high, b_min=-1, b_max=1, clip=False))
            steps.append(Lambdad(keys=key, func=torch.sigmoid))
        elif mode in ("meanstd", "mri", "meanstdtanh"):
            steps.append(NormalizeIntensityd(keys=key, nonzero=True, channel_wise=True))
        if mode == "meanstdtanh":
            steps.append(Lambdad(keys=key, func=lambda x: 3 * torch.tanh(x / 3)))
        if mode == "pet":
            steps.append(Lambdad(keys=key, func=lambda x: torch.sigmoid((x - x.min()) / x.std())))
    return Compose([*steps, ConcatItemsd(keys=keys, name="image")])


# What opens


def test_a_checkpoint_opens_with_all_that_it_says(checkpoint: Checkpoint) -> None:
    file = checkpoint()
    model = open_model(file)
    assert (model.name, model.spatial_dims, model.in_channels) == ("abdomen-v1.0.0", 3, 1)
    assert (model.activation, model.inputs) == ("softmax", ("ct",))
    assert [(label.name, label.value, label.channel) for label in model.labels] == [
        ("class 1", 1, 1),
        ("class 2", 2, 2),
    ]
    assert (model.window.size, model.window.overlap, model.window.blending) == ((24, 24, 16), 0.625, "gaussian")
    assert (model.metadata["epoch"], model.source) == (7, str(file))


def test_the_network_predicts_what_the_saved_one_predicts(checkpoint: Checkpoint) -> None:
    file = checkpoint()
    arguments = {key: value for key, value in NETWORK.items() if key != "_target_"}
    saved = SegResNetDS(**arguments).eval()
    saved.load_state_dict(torch.load(file, weights_only=False)["state_dict"])
    image = torch.randn(1, 1, 16, 24, 16)
    assert torch.equal(open_model(file).network(image), saved(image))


def test_a_network_with_anisotropic_steps_and_the_norm_of_the_gpu_library_opens(checkpoint: Checkpoint) -> None:
    network = {"resolution": [1.0, 1.0, 3.0], "norm": "INSTANCE_NVFUSER", "act": ["relu", {"inplace": False}]}
    model = open_model(checkpoint(network=network))
    assert model.network(torch.zeros(1, 1, 16, 16, 8)).shape == (1, 3, 16, 16, 8)


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("config", [{}, {"normalize_mode": "meanstd", "modality": "mri"}], ids=["ct", "mri"])
def test_the_network_sees_what_the_template_prepares_voxel_for_voxel(
    checkpoint: Checkpoint, config: dict[str, Any], affine: np.ndarray
) -> None:
    volume = scan(affine)
    expected = template_transforms({**CONFIG, **config})({"image": volume.clone()})["image"]
    seen = prepare(open_model(checkpoint(config)), volume).image
    assert torch.equal(seen.as_tensor(), expected.as_tensor())
    np.testing.assert_array_equal(seen.affine, expected.affine)


@pytest.mark.parametrize(
    "config",
    [
        {"orientation_ras": False},
        {"crop_foreground": False},
        {"resample": False},
        {"resample_resolution": [1.0, 1.2, 2.6]},
        {"normalize_mode": "ct"},
        {"normalize_mode": "meanstdtanh"},
        {"normalize_mode": "pet"},
        {"normalize_mode": "none"},
    ],
    ids=str,
)
def test_every_setting_has_the_templates_effect(checkpoint: Checkpoint, config: dict[str, Any]) -> None:
    volume = scan(AFFINES["left-handed"])
    expected = template_transforms({**CONFIG, **config})({"image": volume.clone()})["image"]
    assert torch.equal(prepare(open_model(checkpoint(config)), volume).image.as_tensor(), expected.as_tensor())


def test_further_images_are_normalised_each_in_its_own_way(checkpoint: Checkpoint) -> None:
    config = {"modality": "t2", "normalize_mode": "meanstd", "extra_modalities": {"adc": "range"}, "input_channels": 2}
    model = open_model(checkpoint(config, network={"in_channels": 2}))
    assert model.inputs == ("t2", "adc")
    volume = scan(AFFINES["oblique"], channels=2)
    each = {"image": volume[:1], "adc": volume[1:]}
    expected = template_transforms({**CONFIG, **config})(each)["image"]
    seen = prepare(model, volume).image.as_tensor()
    assert torch.equal(seen[:1], expected.as_tensor()[:1])
    # The template resamples by other code here: to the grid of the first image instead of to its spacing.
    torch.testing.assert_close(seen[1:], expected.as_tensor()[1:], rtol=0, atol=1e-3)


def test_several_images_of_one_kind_are_normalised_alike(checkpoint: Checkpoint) -> None:
    config = {"modality": "mri", "normalize_mode": "meanstd", "input_channels": 4}
    model = open_model(checkpoint(config, network={"in_channels": 4}))
    assert model.inputs == ("mri 1", "mri 2", "mri 3", "mri 4")
    volume = scan(AFFINES["identity"], channels=4)
    expected = template_transforms({**CONFIG, **config})({"image": volume.clone()})["image"]
    assert torch.equal(prepare(model, volume).image.as_tensor(), expected.as_tensor())


def test_values_are_cut_to_whole_numbers_where_the_training_cut_them(checkpoint: Checkpoint) -> None:
    model = open_model(checkpoint({"cache_image_int16": True, "normalize_mode": "none", "resample": False}))
    seen = prepare(model, scan(AFFINES["identity"])).image.as_tensor()
    assert torch.equal(seen, seen.trunc())
    assert seen.unique().numel() > 100


def test_logits_equal_those_of_the_templates_inferer(checkpoint: Checkpoint) -> None:
    model = open_model(checkpoint())
    image = prepare(model, scan(AFFINES["oblique"])).image
    inferer = SlidingWindowInfererAdapt(roi_size=[24, 24, 16], sw_batch_size=1, overlap=0.625, mode="gaussian")
    stack = to_stack(model, image, "auto")
    windows = plan_windows(tuple(stack.shape[2:]), model.window)
    assert len(windows.boxes) > 1
    with torch.no_grad():
        expected = inferer(inputs=stack, network=model.network)
        assert close(predict_windows(model.network, stack, windows, 1), expected, dtype=torch.float32)


def test_an_inferer_of_the_configs_own_is_heeded(checkpoint: Checkpoint) -> None:
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.5, "mode": "constant"}
    window = open_model(checkpoint({"sliding_inferrer": inferer})).window
    assert (window.size, window.overlap, window.blending) == ((16, 16, 16), 0.5, "constant")


# Labels


def test_labels_have_the_names_and_codes_of_labels_csv(checkpoint: Checkpoint) -> None:
    model = open_model(checkpoint(labels=LABELS))
    kidney, cyst = model.labels
    assert [(label.name, label.value, label.channel) for label in model.labels] == [
        ("kidney left", 1, 1),
        ("cyst", 2, 2),
    ]
    assert kidney.terminology is not None
    assert cyst.terminology is not None
    assert kidney.terminology.type == Code("SCT", "64033007", "Kidney")
    assert kidney.terminology.modifier == Code("SCT", "7771000", "Left")
    assert cyst.terminology.category.value == "49755003"
    assert cyst.terminology.region == Code("SCT", "64033007", "Kidney")
    assert kidney.color == (0.725, 0.400, 0.325)  # Slicer's own for a kidney


def test_labels_csv_may_call_another_value_the_background(checkpoint: Checkpoint) -> None:
    model = open_model(checkpoint(labels="LabelValue,Name\n0,kidney\n1,background\n2,cyst\n"))
    assert [(label.name, label.value, label.channel) for label in model.labels] == [("kidney", 1, 0), ("cyst", 2, 2)]
    assert model.background == 1


def test_names_of_the_config_are_taken_where_there_is_no_labels_csv(checkpoint: Checkpoint) -> None:
    model = open_model(checkpoint({"class_names": ["liver", "spleen"]}))
    assert [label.name for label in model.labels] == ["liver", "spleen"]
    assert model.labels[0].terminology is not None


def test_names_are_one_line_and_none_is_empty(checkpoint: Checkpoint) -> None:
    config = {"class_names": ["  a \n name ", ""], "modality": "c\nt", "normalize_mode": "range"}
    model = open_model(checkpoint(config))
    assert [label.name for label in model.labels] == ["a name", "class 2"]
    assert model.inputs == ("c t",)


def test_channels_that_join_labels_are_called_by_them(checkpoint: Checkpoint) -> None:
    config = {"sigmoid": True, "class_index": [[1, 2], [2], [3]]}
    model = open_model(checkpoint(config, labels=LABELS))
    assert model.activation == "sigmoid"
    assert [(label.name, label.value, label.channel) for label in model.labels] == [
        ("kidney left + cyst", 1, 0), ("cyst", 2, 1), ("class 3", 3, 2),
    ]  # fmt: skip
    named = open_model(checkpoint({**config, "class_names": ["whole", "core", "rim"]}, labels=LABELS))
    assert [label.name for label in named.labels] == ["whole", "core", "rim"]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("", "no column LabelValue"),
        ("Name\nkidney\n", "''"),
        ("LabelValue,Name\n1,kidney\n1,liver\n", "twice"),
        ("LabelValue,Name\n-1,kidney\n", "'-1'"),
        ("LabelValue,Name\n99999,kidney\n", "'99999'"),
        ("LabelValue,Name\n3,kidney\n", "label value 3"),
        ('LabelValue,Name\n1,"kidney\n', "cannot be read"),
        ("LabelValue,Name\n" + "1,kidney\n" * 200_000, "1 MiB"),
    ],
)
def test_a_labels_csv_that_makes_no_sense_is_refused(checkpoint: Checkpoint, labels: str, words: str) -> None:
    error = refusal(lambda: open_model(checkpoint(labels=labels)))
    assert (error.code, words in error.message) == ("auto3dseg-labels", True), error.message


def test_bytes_that_are_no_text_are_no_labels_csv(checkpoint: Checkpoint) -> None:
    file = checkpoint()
    file.with_name("labels.csv").write_bytes(b"\xff\xfe\x00LabelValue")
    assert refusal(lambda: open_model(file)).code == "auto3dseg-labels"


def test_signs_that_slicer_joins_codes_with_do_not_get_into_them(checkpoint: Checkpoint) -> None:
    header = next(csv.reader(LABELS.splitlines()[:1]))
    row = "1,kidney,SCT,1~2,Any^thing,SCT,64033007,Kid~ney"
    model = open_model(checkpoint(labels=f"{','.join(header)}\n{row}\n"))
    terminology = model.labels[0].terminology
    assert terminology is not None
    assert (terminology.category.value, terminology.category.meaning, terminology.type.meaning) == (
        "1 2",
        "Any thing",
        "Kid ney",
    )


# Which file or folder


def test_a_folder_a_folder_in_it_and_the_zip_that_slicer_installs_open(checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = checkpoint(labels=LABELS)
    names = ["kidney left", "cyst"]
    assert [label.name for label in open_model(file.parent).labels] == names
    archive = shutil.make_archive(str(tmp_path / "kidney-v1.0.0"), "zip", file.parent)
    opened = open_model(archive)
    assert (opened.name, [label.name for label in opened.labels]) == ("kidney-v1.0.0", names)
    nested = shutil.make_archive(str(tmp_path / "nested"), "zip", tmp_path, file.parent.name)
    assert [label.name for label in open_model(nested).labels] == names
    installed = Path(shutil.move(file.parent, tmp_path / "installed/abdomen-v1.0.0"))
    assert [label.name for label in open_model(installed.parent).labels] == names


def test_the_training_folder_opens(checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = checkpoint(folder="segresnet_0/model")
    (tmp_path / "segresnet_0/configs").mkdir()  # as a bundle has it
    assert open_model(file.parent.parent).name == "segresnet_0"


def test_other_files_are_not_taken_for_auto3dseg(tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(3)}}, tmp_path / "model.pt")
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04")
    for path in (tmp_path, tmp_path / "model.pt", tmp_path / "broken.pt"):
        assert not is_auto3dseg(path)


# From one end to the other


@pytest.mark.parametrize(
    ("config", "network"),
    [
        ({}, {}),
        ({"sigmoid": True}, {}),
        ({"modality": "t2", "normalize_mode": "meanstd", "extra_modalities": {"adc": "meanstd"}}, {"in_channels": 2}),
    ],
    ids=["softmax", "sigmoid", "two images"],
)
def test_an_opened_model_segments_and_explains_on_the_volumes_own_grid(
    checkpoint: Checkpoint, config: dict[str, Any], network: dict[str, Any]
) -> None:
    model = open_model(checkpoint(config, network, labels=LABELS))
    volume = scan(AFFINES["left-handed"], channels=model.in_channels)
    explanation = explain(ExplainRequest.of(volume, model, segment="cyst", device="cpu"))
    heatmap = explanation.heatmap
    assert heatmap.shape == (1, *volume.shape[1:])
    assert torch.equal(heatmap.affine, volume.affine)
    assert heatmap.max() > 0
    assert (explanation.segmentation.labels == 2).any()


@pytest.mark.real_data
def test_a_real_scan_is_prepared_as_the_template_does_it(checkpoint: Checkpoint, test_data: Path) -> None:
    volume = read_volume(test_data / "abdomen-ct/example_ct_sm.nii.gz")
    expected = template_transforms(CONFIG)({"image": volume.clone()})["image"]
    assert torch.equal(prepare(open_model(checkpoint()), volume).image.as_tensor(), expected.as_tensor())


# What is refused


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        ({"custom_data_transforms": [{"key": "a", "path": "b", "transform": "c"}]}, "auto3dseg-config", "script"),
        ({"network": "SegResNetDS"}, "auto3dseg-config", "network"),
        ({"network": {"init_filters": 8}}, "auto3dseg-config", "class"),
        ({"network": {**NETWORK, "_target_": "os.system"}}, "bundle-network", "os.system"),
        ({"network": {**NETWORK, "init_filters": "$__import__('os').getpid()"}}, "bundle-expression", "init_filters"),
        ({"network": {**NETWORK, "init_filters": 10**9}}, "bundle-network", "1000000000"),
        ({"network": {**NETWORK, "init_filters": 16}}, "weights-mismatch", "shape"),
        ({"network": {**NETWORK, "spatial_dims": 2}}, "weights-mismatch", "shape"),
        ({"normalize_mode": "mine"}, "auto3dseg-config", "mine"),
        ({"extra_modalities": ["t2"]}, "auto3dseg-config", "extra_modalities"),
        ({"extra_modalities": {"t2": "mri"}}, "auto3dseg-network", "1 image"),
        ({"intensity_bounds": [5, 5]}, "auto3dseg-config", "intensity_bounds"),
        ({"intensity_bounds": [float("nan"), 5]}, "auto3dseg-config", "intensity_bounds"),
        ({"roi_size": [10**6] * 3}, "auto3dseg-config", "roi_size"),
        ({"roi_size": [16, 16]}, "auto3dseg-config", "roi_size"),
        ({"resample_resolution": [1e-9, 1, 1]}, "auto3dseg-config", "resample_resolution"),
        ({"sigmoid": "yes"}, "auto3dseg-config", "sigmoid"),
        ({"class_index": "all"}, "auto3dseg-config", "class_index"),
        ({"class_names": torch.zeros(2)}, "auto3dseg-config", "Tensor"),
        ({"class_names": LOOP}, "auto3dseg-config", "larger"),
        ({"sliding_inferrer": {"_target_": "my.Inferer"}}, "bundle-inferer", "my.Inferer"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(
    checkpoint: Checkpoint, config: dict[str, Any], code: str, words: str
) -> None:
    error = refusal(lambda: open_model(checkpoint(config)))
    assert (error.code, words in error.message) == (code, True), error.message


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}), st.just([[0, 1], "x"]),
    st.sampled_from(["@network", "$1", [1], (0, 0, 0), 10**12, {"_target_": "UNet"}, torch.float32]),
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted(CONFIG)), inner=st.sampled_from(sorted(NETWORK)), junk=JUNK)
def test_configs_with_anything_anywhere_open_or_are_refused_with_a_message(
    checkpoint: Checkpoint, tmp_path: Path, key: str, inner: str, junk: object
) -> None:
    file = tmp_path / "abdomen-v1.0.0/model.pt"
    content = torch.load(file if file.exists() else checkpoint(), weights_only=False)
    changed = {**CONFIG, "network": {**NETWORK, inner: junk}} if key == "network" else {**CONFIG, key: junk}
    torch.save({**content, "config": changed}, file)
    with done_or_refused():
        assert open_model(file).labels


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(st.binary(max_size=80), st.text('LabelValueName,\n"012', max_size=80).map(str.encode)),
    at=st.integers(0, 900),
)
def test_any_labels_csv_is_read_or_refused_with_a_message(tmp_path: Path, text: bytes, at: int) -> None:
    file = tmp_path / "labels.csv"
    whole = LABELS.encode()
    file.write_bytes(whole[:at] + text + whole[at + len(text) :])
    with done_or_refused():
        assert all(0 < value == label.value for value, label in read_labels_csv(file).items())


def test_weights_that_are_no_numbers_are_refused(checkpoint: Checkpoint) -> None:
    file = checkpoint()
    content = torch.load(file, weights_only=False)
    next(iter(content["state_dict"].values())).fill_(torch.inf)
    torch.save(content, file)
    assert refusal(lambda: open_model(file)).code == "weights-not-finite"


def test_a_checkpoint_that_would_run_code_is_refused_and_nothing_runs(checkpoint: Checkpoint, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    error = refusal(lambda: open_model(checkpoint({"notes": Trap(trap)})))
    assert (error.code, trap.exists()) == ("weights-code", False)
    assert "config" in error.message


def test_a_truncated_checkpoint_is_refused(checkpoint: Checkpoint) -> None:
    file = checkpoint(labels=LABELS)
    file.write_bytes(file.read_bytes()[:-5000])
    refusal(lambda: open_model(file))


def test_a_zip_without_its_checkpoint_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = checkpoint(labels=LABELS)
    torch.save({"weight": torch.zeros(3)}, file)
    archive = shutil.make_archive(str(tmp_path / "other"), "zip", file.parent)
    error = refusal(lambda: open_model(archive))
    assert (error.code, "other.zip" in error.message) == ("auto3dseg-incomplete", True)


def test_a_scan_with_nothing_above_zero_is_refused(checkpoint: Checkpoint) -> None:
    nothing = MetaTensor(torch.full((1, 20, 20, 20), -1000.0), affine=torch.eye(4))
    assert refusal(lambda: prepare(open_model(checkpoint()), nothing)).code == "preprocessing-empty"
