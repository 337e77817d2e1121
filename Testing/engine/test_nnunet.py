"""nnU-Net results open as nnU-Net itself uses them: same network, same input, same windows, same logits; and nothing in them runs."""

from __future__ import annotations

import copy
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nnunet_peer as peer
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from engine.geometry import ROTATION
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from refusals import Trap, changed_at, done_or_refused, places, refusal
from rounding import close

from SegHiResCAMLib.engine import ExplainRequest, explain, open_model, read_volume, segment
from SegHiResCAMLib.engine.answer.model_layers import model_layers
from SegHiResCAMLib.engine.answer.model_summary import summary_of
from SegHiResCAMLib.engine.inference.preprocessing import prepare
from SegHiResCAMLib.engine.inference.segmentation import decide
from SegHiResCAMLib.engine.inference.slicing import to_stack
from SegHiResCAMLib.engine.inference.windows import plan_windows, predict_windows
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.nnunet.nnunet import is_nnunet

SPLINE = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
DIRECTIONS = {
    "as stored by scanners": np.eye(3),
    "oblique": ROTATION,
    "left-handed, oblique": ROTATION @ np.diag([1, 1, -1]),
    "permuted, left-handed": np.eye(3)[:, [1, 0, 2]],
}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which nnU-Net works."""
    pytest.importorskip("nnunetv2", reason="nnunetv2 is one of Testing/peers.txt")
    folder = tmp_path_factory.mktemp("nnunet")
    with peer.nnunet(folder):
        yield folder


Trained = Callable[..., Path]


@pytest.fixture
def trained(workshop: Path, tmp_path: Path) -> Trained:
    """A results folder of nnU-Net's own trainer."""

    def results(plans: dict[str, Any] | None = None, dataset: dict[str, Any] | None = None, *, folds: int = 1) -> Path:
        made = peer.train(workshop, plans or peer.sample_plans(3), dataset or peer.sample_dataset(), folds=folds)
        return Path(shutil.move(made, tmp_path / made.name))

    return results


@pytest.fixture(scope="module")
def a_results_folder(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For copies to spoil."""
    made = peer.train(workshop, peer.sample_plans(3), peer.sample_dataset(), folds=2)
    return Path(shutil.move(made, tmp_path_factory.mktemp("results") / made.name))


def scan(
    folder: Path,
    direction: np.ndarray = DIRECTIONS["oblique"],
    *,
    spacing: tuple[float, float, float] = (1.5, 1.7, 3.1),
    size: tuple[int, int, int] = (26, 30, 20),
    seed: int = 0,
) -> Path:
    """A file of noise around 60 with nothing at two sides and holes inside."""
    noise = np.random.default_rng(seed)
    values = noise.normal(60, 120, size[::-1]).astype(np.float32)
    values[noise.random(values.shape) < 0.05] = 0
    values[:3] = 0
    values[:, -4:] = 0
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin((-12.5, 7.25, 31))
    image.SetDirection(direction.ravel().tolist())
    file = folder / f"scan-{seed}.nrrd"
    sitk.WriteImage(image, str(file))
    return file


def volume_of(files: list[Path]) -> MetaTensor:
    volumes = [read_volume(file) for file in files]
    return MetaTensor(torch.cat([one.as_tensor() for one in volumes]), affine=volumes[0].affine)


def our_logits(model: SegmentationModel, image: MetaTensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(K, x, y, z) on the model's grid."""
    stack = to_stack(model, image, "auto").to(dtype)
    windows = plan_windows(tuple(stack.shape[2:]), model.window)
    with torch.no_grad():
        logits = predict_windows(model.network.to(dtype), stack, windows, 1)
    return logits[0] if model.spatial_dims == 3 else logits.movedim(0, 1)


def their_logits(results: Path, image: torch.Tensor, folds: tuple[int, ...]) -> torch.Tensor:
    """(K, x, y, z) in float64, of nnU-Net's networks, steps and Gaussian; its predictor itself adds up in half precision."""
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    one = peer.predictor(results, folds)
    patch = tuple(one.configuration_manager.patch_size)
    gaussian = compute_gaussian(patch, 1 / 8, 1, dtype=torch.float64, device=torch.device("cpu"))
    one.network.double().eval()
    total = torch.zeros(one.label_manager.num_segmentation_heads, *image.shape[1:], dtype=torch.float64)
    for weights in one.list_of_parameters:
        one.network.load_state_dict(weights)
        predicted, count = torch.zeros_like(total), torch.zeros_like(total[0])
        for slicer in one._internal_get_sliding_window_slicers(tuple(image.shape[1:])):
            with torch.no_grad():
                predicted[slicer] += one.network(image[slicer][None].double())[0] * gaussian
            count[slicer[1:]] += gaussian
        total += predicted / count
    return total / len(folds)


# The network


@pytest.mark.parametrize("residual", [False, True], ids=["plain encoder", "residual encoder"])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_network_predicts_exactly_what_nnunets_own_predicts(trained: Trained, dims: int, residual: bool) -> None:
    results = trained(peer.sample_plans(dims, residual=residual))
    model, one = open_model(results), peer.predictor(results)
    one.network.load_state_dict(one.list_of_parameters[0])
    image = torch.randn(2, 1, *(32,) * dims)
    assert torch.equal(model.network(image), one.network.eval()(image))
    assert summary_of(model).network == type(one.network).__name__
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    assert not model.network.training


@pytest.mark.parametrize(
    "change",
    [
        {"norm_op": "torch.nn.modules.batchnorm.BatchNorm3d", "nonlin": "torch.nn.ReLU"},
        {"conv_bias": False, "norm_op": None, "norm_op_kwargs": None},
        {"dropout_op": "torch.nn.modules.dropout.Dropout3d", "dropout_op_kwargs": {"p": 0.5}},
        {"nonlin_first": True},
        {"features_per_stage": 5, "kernel_sizes": 3, "n_conv_per_stage": 2, "n_conv_per_stage_decoder": 1},
    ],
    ids=", ".join,
)
def test_other_parts_of_a_network_are_as_in_nnunets_own(trained: Trained, change: dict[str, Any]) -> None:
    plans = peer.sample_plans(3)
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(change)
    results = trained(plans)
    one = peer.predictor(results)
    one.network.load_state_dict(one.list_of_parameters[0])
    image = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(open_model(results).network(image), one.network.eval()(image))


@pytest.mark.parametrize("residual", [False, True])
def test_a_network_with_nearly_all_its_weights_in_the_encoder_is_opened(trained: Trained, residual: bool) -> None:
    """Its checkpoint names each of these weights four times."""
    plans = peer.sample_plans(2, residual=residual)
    architecture = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
    architecture["features_per_stage"] = [4, 16, 96]
    architecture["n_blocks_per_stage" if residual else "n_conv_per_stage"] = [1, 1, 6]
    assert summary_of(open_model(trained(plans))).network


def test_plans_of_older_versions_give_the_network_that_nnunet_makes_of_them(trained: Trained) -> None:
    plans = peer.sample_plans(3)
    chosen = plans["configurations"]["3d_fullres"]
    del chosen["architecture"]
    chosen.update(
        {
            "UNet_class_name": "PlainConvUNet",
            "UNet_base_num_features": 4,
            "unet_max_num_features": 10,
            "n_conv_per_stage_encoder": [2, 2, 2],
            "n_conv_per_stage_decoder": [2, 2],
            "num_pool_per_axis": [2, 2, 2],
            "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
            "conv_kernel_sizes": [[3, 3, 3], [3, 3, 3], [3, 3, 3]],
        }
    )
    results = trained(plans)
    one = peer.predictor(results)
    one.network.load_state_dict(one.list_of_parameters[0])
    image = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(open_model(results).network(image), one.network.eval()(image))


# The network's input


def plans_that(**changes: Any) -> dict[str, Any]:
    dims = changes.pop("dims", 3)
    top = {key: changes.pop(key) for key in list(changes) if key in ("transpose_forward", "image_reader_writer")}
    plans = {**peer.sample_plans(dims, **changes), **top}
    order = plans["transpose_forward"]
    return {**plans, "transpose_backward": [order.index(axis) for axis in range(3)]}


LINEAR = {
    "resampling_fn_data": "resample_torch_fornnunet",
    "resampling_fn_data_kwargs": {"is_seg": False, "force_separate_z": None},
}
UNCHANGED = {"resampling_fn_data": "no_resampling_hack", "resampling_fn_data_kwargs": {}}
THICK = {"spacing": [3.0, 1.0, 1.0]}
THICK_SLICES: dict[str, Any] = {"spacing": (0.8, 0.8, 5.0), "size": (30, 26, 9)}


@pytest.mark.parametrize(
    ("plans", "scanned"),
    [
        *((plans_that(), {"direction": direction}) for direction in DIRECTIONS.values()),
        (plans_that(dims=2), {"direction": DIRECTIONS["left-handed, oblique"]}),
        (plans_that(transpose_forward=[2, 0, 1]), {"direction": DIRECTIONS["left-handed, oblique"]}),
        (plans_that(image_reader_writer="SimpleITKIOWithReorient"), {"direction": DIRECTIONS["permuted, left-handed"]}),
        (plans_that(**THICK), THICK_SLICES),
        (plans_that(**THICK, resampling_fn_data_kwargs={**SPLINE, "order_z": 1}), THICK_SLICES),
        (plans_that(**THICK, resampling_fn_data_kwargs={**SPLINE, "force_separate_z": False}), THICK_SLICES),
        (plans_that(**THICK, **LINEAR), THICK_SLICES),
        (plans_that(**LINEAR), {}),
        (plans_that(**UNCHANGED), {}),
        (plans_that(spacing=[3.1, 1.7, 1.5]), {}),
    ],
    ids=[
        *DIRECTIONS, "2D", "transposed", "turned to RAS", "thick slices", "thick slices, linear along them", "thick slices, in one",
        "thick slices, linear", "linear", "not resampled", "spacing as it is",
    ],
)  # fmt: skip
def test_the_network_sees_what_it_sees_in_nnunet_value_for_value(
    trained: Trained, tmp_path: Path, plans: dict[str, Any], scanned: dict[str, Any]
) -> None:
    results, file = trained(plans), scan(tmp_path, **scanned)
    theirs, _ = peer.preprocessed(peer.predictor(results), [file])
    ours = prepare(open_model(results), read_volume(file)).image.as_tensor().numpy()
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("scheme", ["ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization"])
def test_intensities_of_several_images_are_normalised_as_in_nnunet(
    trained: Trained, tmp_path: Path, scheme: str, inside: bool
) -> None:
    plans = plans_that(normalization_schemes=[scheme, "CTNormalization"], use_mask_for_norm=[inside, False])
    results = trained(plans, peer.sample_dataset(channel_names={"0": "T1", "1": "CT"}))
    files = [scan(tmp_path, seed=1), scan(tmp_path, seed=2)]
    theirs, _ = peer.preprocessed(peer.predictor(results), files)
    model = open_model(results)
    assert model.inputs == ("T1", "CT")
    ours = prepare(model, volume_of(files)).image.as_tensor().numpy()
    assert close(ours, theirs, dtype=torch.float32)  # sums in another order


def test_colours_become_shares_of_255_and_nothing_else_is_taken_for_colours(trained: Trained, tmp_path: Path) -> None:
    plans = plans_that(dims=2, normalization_schemes=["RGBTo01Normalization"] * 3, use_mask_for_norm=[False] * 3)
    plans["configurations"]["2d"]["spacing"] = [1.0, 1.0]
    model = open_model(trained(plans, peer.sample_dataset(channel_names={"0": "R", "1": "G", "2": "B"})))
    picture = MetaTensor(torch.arange(1.0, 193.0).reshape(3, 8, 8, 1), affine=torch.eye(4))
    seen = prepare(model, picture).image.as_tensor()
    torch.testing.assert_close(seen, picture.as_tensor().movedim(-1, 1).transpose(2, 3) / 255, rtol=0, atol=1e-7)
    error = refusal(lambda: prepare(model, picture * 100))
    assert (error.code, "0 to 255" in error.message) == ("preprocessing-colours", True)


@pytest.mark.real_data
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "name",
    [
        "abdomen-ct/example_ct_sm.nii.gz",
        "abdomen-ct/example_mr_sm.nii.gz",
        "awkward/mha.mha",  # left-handed
        "awkward/nifti/minimal.nii.gz",  # left-handed
        "awkward/nifti/CT_pitch.nii.gz",  # oblique
    ],
)
def test_real_scans_reach_the_network_as_in_nnunet(trained: Trained, test_data: Path, name: str, dims: int) -> None:
    spacing = [4.0, 5.0, 4.5][-dims:]
    scheme = {"normalization_schemes": ["ZScoreNormalization"], "use_mask_for_norm": [True]}
    results = trained(plans_that(dims=dims, spacing=spacing, **scheme))
    theirs, _ = peer.preprocessed(peer.predictor(results), [test_data / name])
    ours = prepare(open_model(results), read_volume(test_data / name)).image.as_tensor().numpy()
    assert close(ours, theirs, dtype=torch.float32)  # means of millions of numbers, in another order


@pytest.mark.real_data
def test_one_scan_stored_in_eight_axis_orders_reaches_the_network_as_in_nnunet(
    trained: Trained, test_data: Path
) -> None:
    results = trained(plans_that(spacing=[6.0] * 3))
    files = sorted((test_data / "awkward/nifti/nifti_space").glob("*.nii*"))
    assert len(files) >= 8
    model, one = open_model(results), peer.predictor(results)
    for file in files:
        theirs, _ = peer.preprocessed(one, [file])
        np.testing.assert_array_equal(prepare(model, read_volume(file)).image.as_tensor().numpy(), theirs)


# Logits


@pytest.mark.parametrize("folds", [(0,), (0, 1)], ids=["one fold", "two folds"])
@pytest.mark.parametrize("dims", [2, 3])
def test_logits_equal_nnunets_to_the_last_digit_and_its_predictor_to_half_precision(
    trained: Trained, tmp_path: Path, dims: int, folds: tuple[int, ...]
) -> None:
    results, file = trained(plans_that(dims=dims), folds=len(folds)), scan(tmp_path)
    model, one = open_model(results), peer.predictor(results, folds)
    image = prepare(model, read_volume(file)).image
    theirs = their_logits(results, image.as_tensor(), folds)
    assert len(plan_windows(tuple(to_stack(model, image, "auto").shape[2:]), model.window).boxes) > 1
    assert close(our_logits(model, image, torch.float64), theirs)
    assert close(our_logits(model, image), theirs, dtype=torch.float32)
    predicted = one.predict_logits_from_preprocessed_data(image.as_tensor()).double()
    # Near a volume's corners the Gaussian is too small for half precision, which nnU-Net adds up in.
    inner = (slice(None), slice(None) if dims == 2 else slice(4, -4), slice(4, -4), slice(4, -4))
    torch.testing.assert_close(predicted[inner], theirs[inner], rtol=0, atol=2e-2)


def test_images_smaller_than_a_window_are_padded_as_in_nnunet(trained: Trained, tmp_path: Path) -> None:
    results, file = trained(plans_that(spacing=[5.0, 5.0, 5.0])), scan(tmp_path)
    model = open_model(results)
    image = prepare(model, read_volume(file)).image
    assert min(image.shape[1:]) < 16
    theirs = peer.predictor(results).predict_logits_from_preprocessed_data(image.as_tensor())
    torch.testing.assert_close(our_logits(model, image), theirs.float(), rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize(
    "change",
    [{}, {"transpose_forward": [1, 2, 0]}, {"image_reader_writer": "SimpleITKIOWithReorient"}],
    ids=["as stored", "transposed", "turned to RAS"],
)
def test_the_label_map_is_the_one_that_nnunet_writes(
    trained: Trained, tmp_path: Path, direction: np.ndarray, change: dict[str, Any]
) -> None:
    results = trained(plans_that(**UNCHANGED, resampling_fn_probabilities="no_resampling_hack",
                                 resampling_fn_probabilities_kwargs={}, **change))  # fmt: skip
    file, written = scan(tmp_path, direction), tmp_path / "written"
    one = peer.predictor(results)
    one.predict_from_files_sequential([[str(file)]], [str(written)])
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(f"{written}.nii.gz")).transpose(2, 1, 0)
    ours = segment(open_model(results), read_volume(file)).labels.as_tensor()[0].numpy()
    assert set(np.unique(theirs)) == {0, 1, 2}
    assert (ours != theirs).mean() < 1e-2  # near ties, and in corners: nnU-Net adds up in half precision


# Labels


def test_labels_have_nnunets_values_and_coded_names(trained: Trained) -> None:
    model = open_model(trained())
    assert [(label.name, label.value, label.channel) for label in model.labels] == [("kidney", 1, 1), ("tumor", 2, 2)]
    assert model.labels[0].terminology is not None
    assert model.labels[0].terminology.type.value == "64033007"
    assert (model.activation, model.licence, model.inputs) == ("softmax", "CC0", ("CT",))
    assert "mirror" in model.description


def test_voxels_that_training_ignored_are_no_structure(trained: Trained) -> None:
    model = open_model(trained(dataset=peer.sample_dataset(labels={**peer.LABELS, "ignore": 3})))
    assert [label.name for label in model.labels] == ["kidney", "tumor"]


def test_regions_are_independent_channels_with_the_values_that_nnunet_writes(trained: Trained, tmp_path: Path) -> None:
    regions = {"background": 0, "whole_tumour": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    results = trained(dataset=peer.sample_dataset(labels=regions, regions_class_order=[2, 1, 3]))
    model = open_model(results)
    assert model.activation == "sigmoid"
    assert [(label.name, label.value, label.channel) for label in model.labels] == [
        ("core", 1, 1), ("whole tumour", 2, 0), ("enhancing", 3, 2),
    ]  # fmt: skip
    assert model.network(torch.zeros(1, 1, 16, 16, 16)).shape[1] == 3
    found = segment(model, read_volume(scan(tmp_path))).labels
    assert set(found.unique().tolist()) <= {0, 1, 2, 3}


def test_regions_are_painted_over_one_another_as_nnunet_does(trained: Trained) -> None:
    regions = {"background": 0, "whole_tumour": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    results = trained(dataset=peer.sample_dataset(labels=regions, regions_class_order=[2, 1, 3]))
    model, one = open_model(results), peer.predictor(results)
    logits = torch.randn(1, 3, 9, 8, 7, generator=torch.Generator().manual_seed(1))
    theirs = one.label_manager.convert_logits_to_segmentation(logits[0])
    assert torch.equal(decide(model, logits)[0].long(), torch.as_tensor(theirs).long())


# Which file or folder


def test_several_folds_are_their_mean_and_each_layer_belongs_to_one(a_results_folder: Path) -> None:
    both = open_model(a_results_folder)
    alone = [open_model(a_results_folder / f"fold_{fold}") for fold in (0, 1)]
    image = torch.randn(1, 1, 16, 16, 16)
    mean = (alone[0].network(image) + alone[1].network(image)) / 2
    assert close(both.network(image), mean, dtype=torch.float32)
    assert "fold_1.decoder.stages.1" in dict(both.network.named_modules())
    assert len({both.sha256, *(one.sha256 for one in alone)}) == 3
    assert (both.name, alone[0].name) == (
        "Dataset042_Sample 3d_fullres (mean of 2 folds)",
        "Dataset042_Sample 3d_fullres (fold 0)",
    )


def test_a_fold_its_checkpoint_a_zip_and_the_folder_above_open(a_results_folder: Path, tmp_path: Path) -> None:
    results = peer.copied(a_results_folder, tmp_path / "Dataset042_Sample")
    archive = shutil.make_archive(str(tmp_path / "exported"), "zip", tmp_path, "Dataset042_Sample")
    expected = open_model(results).sha256
    assert open_model(archive).sha256 == expected
    assert open_model(results.parent).sha256 == expected
    assert open_model(results.parent.parent).sha256 == expected
    one = open_model(results / "fold_1")
    assert open_model(results / "fold_1/checkpoint_final.pth").sha256 == one.sha256 != expected


def test_of_two_trained_configurations_one_has_to_be_chosen(a_results_folder: Path, tmp_path: Path) -> None:
    results = peer.copied(a_results_folder, tmp_path / "Dataset042_Sample")
    shutil.copytree(results, results.with_name("nnUNetTrainer__nnUNetPlans__2d"))
    error = refusal(lambda: open_model(results.parent))
    assert error.code == "nnunet-several"
    assert "nnUNetTrainer__nnUNetPlans__3d_fullres" in error.message


def test_millimetres_of_layers_are_those_of_the_plans(trained: Trained) -> None:
    layers = {layer.name: layer for layer in model_layers(open_model(trained(plans_that(spacing=[3.0, 1.5, 1.0]))))}
    assert layers["encoder.stages.0"].mm == (3.0, 1.5, 1.0)
    assert layers["encoder.stages.1"].mm == (3.0, 3.0, 2.0)  # this stage strides within slices alone
    assert {layer.mm for layer in model_layers(open_model(trained(plans_that(**UNCHANGED))))} == {()}


def test_a_zip_with_plans_in_an_odd_place_is_refused(a_results_folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "odd.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(a_results_folder / "plans.json", "some/where/plans.json")
        packed.writestr("readme.txt", "here")
    error = refusal(lambda: open_model(archive))
    assert (error.code, "odd.zip" in error.message) == ("nnunet-incomplete", True)


def test_the_fold_of_all_data_counts_only_where_it_is_alone(a_results_folder: Path, tmp_path: Path) -> None:
    results = peer.copied(a_results_folder, tmp_path)
    (results / "fold_1").rename(results / "fold_all")
    assert open_model(results).name.endswith("(fold 0)")
    shutil.rmtree(results / "fold_0")
    assert open_model(results).name.endswith("(fold all)")


# From one end to the other


@pytest.mark.parametrize(
    ("plans", "folds", "labels"),
    [
        (plans_that(dims=2), 1, peer.LABELS),
        (plans_that(transpose_forward=[2, 0, 1]), 1, peer.LABELS),
        (plans_that(image_reader_writer="NibabelIOWithReorient"), 2, peer.LABELS),
        (peer.sample_plans(3, residual=True), 1, {"background": 0, "tumor": [1, 2], "core": 2}),
    ],
    ids=["2D", "3D, transposed", "3D, two folds", "3D, residual, regions"],
)
def test_an_opened_model_segments_and_explains_on_the_volumes_own_grid(
    trained: Trained, tmp_path: Path, plans: dict[str, Any], folds: int, labels: dict[str, Any]
) -> None:
    dataset = peer.sample_dataset(labels=labels, regions_class_order=[1, 2])
    model = open_model(trained(plans, dataset, folds=folds))
    volume = read_volume(scan(tmp_path, DIRECTIONS["left-handed, oblique"]))
    explanation = explain(ExplainRequest.of(volume, model, segment="tumor", device="cpu"))
    heatmap = explanation.heatmap
    assert heatmap.shape == volume.shape
    assert torch.equal(heatmap.affine, volume.affine)
    assert heatmap.max() > 0
    assert (explanation.segmentation.labels == model.label("tumor").value).any()
    outside = volume.as_tensor()[0, :, :, :3]  # cropped away
    assert not outside.any()
    assert not heatmap.as_tensor()[0, :, :, :2].any()
    if folds > 1:
        assert explanation.layer.name.startswith("fold_")


def test_a_folds_map_in_the_mean_is_its_own_map_over_the_number_of_folds(
    a_results_folder: Path, tmp_path: Path
) -> None:
    volume = read_volume(scan(tmp_path))
    mask = MetaTensor((volume.as_tensor() > 60).float(), affine=volume.affine)
    both, alone = open_model(a_results_folder), open_model(a_results_folder / "fold_1")
    in_mean, own = (
        explain(ExplainRequest.of(volume, model, segment="kidney", layer=layer, mask=mask, device="cpu")).signed_map
        for model, layer in ((both, "fold_1.decoder.stages.0"), (alone, "decoder.stages.0"))
    )
    torch.testing.assert_close(2 * in_mean, own, rtol=1e-3, atol=1e-4 * float(own.abs().max()))


def test_slices_of_a_2d_model_are_those_that_nnunet_cuts_whatever_they_are_to_the_patient(
    trained: Trained, tmp_path: Path
) -> None:
    model = open_model(trained(plans_that(dims=2)))
    sagittal = np.eye(3)[:, [1, 2, 0]]  # the third stored axis runs from left to right
    volume = read_volume(scan(tmp_path, sagittal))
    image = prepare(model, volume).image
    assert to_stack(model, image, "auto").shape[0] == image.shape[1] == volume.shape[3] - 3


# What is refused


def spoil_plans(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        plans = json.loads((results / "plans.json").read_text(encoding="utf-8"))
        change(plans, plans["configurations"]["3d_fullres"])
        (results / "plans.json").write_text(json.dumps(plans), encoding="utf-8")

    return spoil


def network_of(change: dict[str, Any]) -> Callable[[Path], None]:
    return spoil_plans(lambda _, chosen: chosen["architecture"]["arch_kwargs"].update(change))


def spoil_dataset(**changes: Any) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        dataset = json.loads((results / "dataset.json").read_text(encoding="utf-8"))
        (results / "dataset.json").write_text(json.dumps({**dataset, **changes}), encoding="utf-8")

    return spoil


def spoil_checkpoint(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        file = results / "fold_0/checkpoint_final.pth"
        checkpoint = torch.load(file, weights_only=False)
        change(checkpoint)
        torch.save(checkpoint, file)

    return spoil


FIRST = "encoder.stages.0.0.convs.0.conv.weight"


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (lambda results: (results / "dataset.json").unlink(), "config-unreadable", "dataset.json"),
        (lambda results: (results / "plans.json").write_text("{"), "config-unreadable", "plans.json"),
        (spoil_plans(lambda _, chosen: chosen.update(previous_stage="3d_lowres")), "nnunet-cascade", "second stage"),
        (spoil_plans(lambda plans, _: plans.update(configurations={})), "nnunet-plans", "3d_fullres"),
        (spoil_plans(lambda _, chosen: chosen.update(inherits_from="3d_fullres")), "nnunet-plans", "3d_fullres"),
        (spoil_plans(lambda plans, _: plans.update(transpose_forward=[0, 0, 1])), "nnunet-plans", "transpose_forward"),
        (spoil_plans(lambda plans, _: plans.update(image_reader_writer="os.system")), "nnunet-plans", "os.system"),
        (spoil_plans(lambda _, chosen: chosen.update(patch_size=[10**9] * 3)), "nnunet-plans", "patch_size"),
        (spoil_plans(lambda _, chosen: chosen.update(patch_size=[1 << 12] * 3)), "nnunet-plans", "patch_size"),
        (spoil_plans(lambda _, chosen: chosen.update(patch_size=[15, 16, 16])), "nnunet-plans", "patch_size"),
        (spoil_plans(lambda _, chosen: chosen.update(patch_size="16")), "nnunet-plans", "patch_size"),
        (spoil_plans(lambda _, chosen: chosen.update(spacing=[0, 1, 1])), "nnunet-plans", "spacing"),
        (spoil_plans(lambda _, chosen: chosen.update(spacing=[float("nan")] * 3)), "nnunet-plans", "spacing"),
        (spoil_plans(lambda _, chosen: chosen.update(normalization_schemes=["Mine"])), "nnunet-plans", "Mine"),
        (spoil_plans(lambda _, chosen: chosen.update(use_mask_for_norm=[])), "nnunet-plans", "use_mask_for_norm"),
        (spoil_plans(lambda _, chosen: chosen.update(resampling_fn_data="mine")), "nnunet-plans", "mine"),
        (
            spoil_plans(lambda plans, _: plans["foreground_intensity_properties_per_channel"]["0"].pop("std")),
            "nnunet-plans",
            "std",
        ),
        (
            spoil_plans(lambda _, chosen: chosen["architecture"].update(network_class_name="my.code.Net")),
            "nnunet-network",
            "Net",
        ),
        (network_of({"n_stages": 10**9}), "nnunet-plans", "n_stages"),
        (network_of({"n_conv_per_stage": [10**9] * 3}), "nnunet-plans", "n_conv_per_stage"),
        (network_of({"features_per_stage": [10**4] * 3}), "weights-mismatch", FIRST),
        (network_of({"strides": [[0, 1, 1]] * 3}), "nnunet-plans", "strides"),
        (network_of({"conv_op": "torch.nn.Conv2d"}), "nnunet-plans", "conv_op"),
        (network_of({"norm_op": "builtins.eval"}), "nnunet-plans", "norm_op"),
        (network_of({"nonlin_kwargs": {"inplace": "yes"}}), "nnunet-plans", "nonlin_kwargs"),
        (network_of({"nonlin": "torch.nn.ReLU", "nonlin_kwargs": {"alpha": 1}}), "nnunet-network", "alpha"),
        (network_of({"kernel_sizes": [[2, 3, 3]] * 3}), "nnunet-plans", "odd"),
        (spoil_dataset(labels={"kidney": 1}), "nnunet-plans", "background"),
        (spoil_dataset(labels={"background": 0}), "nnunet-plans", "labels"),
        (spoil_dataset(labels={"background": 0, "a": 1, "b": 5}), "nnunet-plans", "labels"),
        (spoil_dataset(labels={"background": 0, "a": [1, 2], "b": 2}), "nnunet-plans", "regions_class_order"),
        (spoil_dataset(labels={"background": 0, "a": "x"}), "nnunet-plans", "labels"),
        (spoil_dataset(channel_names={"1": "CT"}), "nnunet-plans", "channel_names"),
        (spoil_dataset(channel_names={"0": "CT", "1": "PET"}), "nnunet-plans", "normalization_schemes"),
        (spoil_checkpoint(lambda content: content.pop("network_weights")), "nnunet-incomplete", "network_weights"),
        (spoil_checkpoint(lambda content: content.pop("init_args")), "nnunet-incomplete", "configuration"),
        (
            spoil_checkpoint(lambda content: content["init_args"].update(configuration="a\nb")),
            "nnunet-incomplete",
            "configuration",
        ),
        (
            spoil_checkpoint(lambda content: content["init_args"].update(configuration="2d")),
            "nnunet-plans",
            "'2d'",
        ),
        (
            spoil_checkpoint(lambda content: content["network_weights"].update({FIRST: torch.zeros(4, 1, 3, 3, 3)})),
            "weights-mismatch",
            "all_modules",
        ),
        (
            spoil_checkpoint(lambda content: content["network_weights"].update({FIRST: torch.eye(3).to_sparse()})),
            "nnunet-incomplete",
            "plain tensors",
        ),
        (
            spoil_checkpoint(lambda content: content["network_weights"].update({7: torch.eye(3)})),
            "nnunet-incomplete",
            "by name",
        ),
        (
            spoil_checkpoint(lambda content: content["network_weights"][FIRST].fill_(torch.nan)),
            "weights-not-finite",
            FIRST,
        ),
        (
            spoil_checkpoint(
                lambda content: content.update(
                    trainer_name="MyTrainer", network_weights={"other.weight": torch.zeros(1000)}
                )
            ),
            "weights-mismatch",
            "MyTrainer",
        ),
        (lambda results: (results / "fold_0/checkpoint_final.pth").write_bytes(b""), "weights-empty", "fold_0"),
        (
            lambda results: (results / "fold_0/checkpoint_final.pth").write_bytes(b"PK\x03\x04"),
            "weights-damaged",
            "fold_0",
        ),
        (lambda results: [shutil.rmtree(fold) for fold in results.glob("fold_*")], "nnunet-incomplete", "fold_0"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_a_message(
    a_results_folder: Path, tmp_path: Path, spoil: Callable[[Path], object], code: str, words: str
) -> None:
    results = peer.copied(a_results_folder, tmp_path)
    spoil(results)
    error = refusal(lambda: open_model(results))
    assert (error.code, words in error.message) == (code, True), error.message


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}), st.just([[0, 1], "x"]),
    st.sampled_from(["0", [1], [-1] * 3, 10**12, {"0": 1}]),
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_descriptions_with_anything_anywhere_open_or_are_refused_with_a_message(
    a_results_folder: Path, tmp_path: Path, data: st.DataObject
) -> None:
    results = tmp_path / "results"
    if not results.exists():
        shutil.copytree(a_results_folder, results)
        shutil.rmtree(results / "fold_1")
    descriptions = [peer.sample_plans(3), peer.sample_dataset()]
    which = data.draw(st.integers(0, 1))
    path = data.draw(st.sampled_from(list(places(descriptions[which]))))
    descriptions[which] = changed_at(descriptions[which], path, data.draw(JUNK))
    peer.write_descriptions(results, *descriptions)
    with done_or_refused():
        assert open_model(results).labels


def test_a_checkpoint_that_would_run_code_is_refused_and_nothing_runs(a_results_folder: Path, tmp_path: Path) -> None:
    results, trap = peer.copied(a_results_folder, tmp_path), tmp_path / "ran"
    spoil_checkpoint(lambda content: content.update(logging=Trap(trap)))(results)
    error = refusal(lambda: open_model(results))
    assert (error.code, trap.exists()) == ("weights-code", False)
    assert "init_args" in error.message


def test_numpy_numbers_that_are_no_numbers_are_refused(a_results_folder: Path, tmp_path: Path) -> None:
    class Objects:
        def __reduce__(self) -> tuple[Any, ...]:
            return (np._core.multiarray.scalar, (np.dtype("O"), b"12345678"))

    results = peer.copied(a_results_folder, tmp_path)
    spoil_checkpoint(lambda content: content.update(_best_ema=Objects()))(results)
    error = refusal(lambda: open_model(results))
    assert (error.code, "numpy.dtype" in error.message) == ("weights-code", True)


def test_checkpoints_written_with_numpy_1_open(a_results_folder: Path, tmp_path: Path) -> None:
    results = peer.copied(a_results_folder, tmp_path)
    for file in results.glob("fold_*/checkpoint_final.pth"):
        with zipfile.ZipFile(file) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        pickled = next(name for name in entries if name.endswith("/data.pkl"))
        assert b"numpy._core.multiarray\nscalar" in entries[pickled]
        entries[pickled] = entries[pickled].replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
        with zipfile.ZipFile(file, "w") as archive:  # stored, as PyTorch wants it
            for name, content in entries.items():
                archive.writestr(name, content)
    image = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(open_model(results).network(image), open_model(a_results_folder).network(image))


def test_a_checkpoint_without_the_optimisers_state_opens(a_results_folder: Path, tmp_path: Path) -> None:
    results = peer.copied(a_results_folder, tmp_path)
    for fold in (0, 1):
        file = results / f"fold_{fold}/checkpoint_final.pth"
        content = torch.load(file, weights_only=False)
        torch.save({key: content[key] for key in ("network_weights", "init_args", "trainer_name")}, file)
    image = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(open_model(results).network(image), open_model(a_results_folder).network(image))


def test_a_spacing_that_would_fill_the_memory_is_refused(a_results_folder: Path, tmp_path: Path) -> None:
    results = peer.copied(a_results_folder, tmp_path)
    spoil_plans(lambda _, chosen: chosen.update(spacing=[1e-4] * 3))(results)
    error = refusal(lambda: prepare(open_model(results), read_volume(scan(tmp_path))))
    assert (error.code, "0.0001" in error.message) == ("preprocessing-size", True)


def test_an_empty_scan_is_refused(a_results_folder: Path) -> None:
    nothing = MetaTensor(torch.zeros(1, 20, 20, 20), affine=torch.eye(4))
    assert refusal(lambda: prepare(open_model(a_results_folder), nothing)).code == "preprocessing-empty"


def test_a_zip_that_would_land_elsewhere_is_refused(a_results_folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(a_results_folder / "plans.json", "results/plans.json")
        packed.writestr("../outside.txt", "here")
    assert refusal(lambda: open_model(archive)).code == "archive-outside"
    assert not (tmp_path.parent / "outside.txt").exists()


def test_other_folders_and_files_are_not_taken_for_results(tmp_path: Path) -> None:
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0/checkpoint_final.pth").write_bytes(b"weights")
    (tmp_path / "some.zip").write_bytes(b"PK\x03\x04 and no more")
    for path in (tmp_path, tmp_path / "fold_0", tmp_path / "fold_0/checkpoint_final.pth", tmp_path / "some.zip"):
        assert not is_nnunet(path)


def test_what_is_there_twice_with_other_values_is_found_out(a_results_folder: Path) -> None:
    from SegHiResCAMLib.engine.models.nnunet.unets import once

    content = torch.load(a_results_folder / "fold_0/checkpoint_final.pth", weights_only=False)["network_weights"]
    assert set(once(content, "file")) == set(open_model(a_results_folder / "fold_0").network.state_dict())
    changed = copy.copy(content)
    changed[f"decoder.{FIRST}"] = content[FIRST] + 1
    assert refusal(lambda: once(changed, "file")).code == "weights-mismatch"
