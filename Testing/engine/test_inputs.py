"""Networks with several inputs get several volumes on one grid, or a picture in colour; each is told what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from engine.geometry import AFFINES, SHAPE, affine
from monai.data import MetaTensor
from monai.inferers import SliceInferer
from tiny_bundle import unet_weights, write_bundle

from SegHiResCAMLib.engine import ExplainRequest, explain, open_model, read_volume
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.volume import stack_volumes, volume_from_array
from SegHiResCAMLib.engine.inference.preprocessing import prepare
from SegHiResCAMLib.engine.inference.segmentation import decide, segment
from SegHiResCAMLib.engine.inference.slicing import slice_axis, to_stack
from SegHiResCAMLib.engine.models import SegmentationModel


def bundle(folder: Path, network: dict[str, Any], inputs: list[str], **inference: Any) -> SegmentationModel:
    network = {
        "spatial_dims": 3,
        "out_channels": 3,
        "channels": [4, 8],
        "strides": [2],
        "in_channels": len(inputs),
        **network,
    }
    description = {
        "network_def": {"_target_": "UNet", **network},
        "inferer": {"_target_": "SimpleInferer"},
        **inference,
    }
    metadata = {"name": "Tiny", "network_data_format": {"inputs": {"image": {"channel_def": dict(enumerate(inputs))}}}}
    return open_model(write_bundle(folder, description, metadata, unet_weights(network)))


def ramp(shape: tuple[int, int, int], matrix: np.ndarray) -> MetaTensor:
    """Each voxel's value is linear in its place in the patient: R + 2 A - S / 2, in mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return volume_from_array((index @ matrix[:3, :3].T + matrix[:3, 3]) @ [1, 2, -0.5], matrix)


# Several volumes


@pytest.mark.parametrize("name", AFFINES)
def test_volumes_on_one_grid_become_channels_untouched(name: str) -> None:
    first, second = (
        volume_from_array(np.random.default_rng(seed).normal(size=SHAPE), AFFINES[name]) for seed in (1, 2)
    )
    stacked = stack_volumes([first, second])
    assert torch.equal(stacked.as_tensor(), torch.cat([first.as_tensor(), second.as_tensor()]))
    assert torch.equal(stacked.affine, first.affine)


@pytest.mark.parametrize("grid", AFFINES)
@pytest.mark.parametrize("other", ["identity", "oblique", "left-handed", "permuted", "sheared"])
def test_other_grids_are_resampled_by_patient_position(grid: str, other: str) -> None:
    """Linear interpolation of a linear image is exact, wherever it has voxels."""
    first = ramp((9, 8, 7), AFFINES[grid])
    centre = AFFINES[grid] @ [4, 3.5, 3, 1]
    matrix = AFFINES[other].copy()
    matrix[:3, 3] += (centre - matrix @ [20, 20, 20, 1])[:3]
    matrix[:3] @= np.diag([2, 2, 2, 1]) @ np.array([[1, 0, 0, -10], [0, 1, 0, -10], [0, 0, 1, -10], [0, 0, 0, 1]])
    matrix[:3, 3] += (centre - matrix @ [20, 20, 20, 1])[:3]
    stacked = stack_volumes([first, ramp((41, 41, 41), matrix)])
    assert np.allclose(stacked[1], stacked[0], rtol=0, atol=2e-3)


def test_where_a_volume_shows_nothing_it_has_its_smallest_value() -> None:
    first = volume_from_array(np.ones((8, 4, 4)), np.eye(4))
    second = volume_from_array(np.full((5, 4, 4), -1000.0) + np.arange(5)[:, None, None], np.eye(4))
    stacked = stack_volumes([first, second])
    assert np.allclose(stacked[1, :, 0, 0], [-1000, -999, -998, -997, -996, -1000, -1000, -1000])


def test_volumes_of_different_places_are_refused_by_name() -> None:
    first, second = (volume_from_array(np.ones(SHAPE), affine(np.eye(3), (1, 1, 1), (x, 0, 0))) for x in (0, 100))
    first.meta["filename_or_obj"], second.meta["filename_or_obj"] = "t1.nii", "flair.nii"
    with pytest.raises(EngineError, match=r"flair\.nii and t1\.nii show different places"):
        stack_volumes([first, second])


def test_a_volume_that_covers_little_is_told() -> None:
    first, second = (volume_from_array(np.ones((n, 4, 4)), np.eye(4)) for n in (10, 3))
    with pytest.warns(UserWarning, match="Volume 2 covers only 30%"):
        stack_volumes([first, second])


def test_a_model_of_several_inputs_says_which_volumes_it_wants(tmp_path: Path) -> None:
    model = bundle(tmp_path, {}, ["T1c", "T1", "T2", "FLAIR"])
    assert model.inputs == ("T1c", "T1", "T2", "FLAIR")
    with pytest.raises(EngineError) as refusal:
        prepare(model, volume_from_array(np.ones(SHAPE), np.eye(4)))
    assert "needs 4 volumes of one patient: T1c, T1, T2, FLAIR; it was given 1" in refusal.value.message


def test_several_volumes_are_segmented_and_explained_on_the_first_ones_grid(tmp_path: Path) -> None:
    model = bundle(tmp_path, {}, ["T1", "FLAIR"])
    first, second = (
        volume_from_array(np.random.default_rng(seed).normal(size=(12, 10, 8)), AFFINES["oblique"]) for seed in (1, 2)
    )
    volume = stack_volumes([first, second])
    found = segment(model, volume, device="cpu")
    with torch.no_grad():
        expected = decide(model, model.network(volume.as_tensor()[None]))[0]
    assert torch.equal(found.labels.as_tensor()[0], expected)
    explanation = explain(ExplainRequest.of(volume, model, segment="class 1", device="cpu"))
    assert explanation.heatmap.shape == (1, 12, 10, 8)
    swapped = explain(ExplainRequest.of(stack_volumes([second, first]), model, segment="class 1", device="cpu"))
    assert not torch.equal(explanation.signed_map.as_tensor(), swapped.signed_map.as_tensor())


def test_a_model_of_one_input_says_that_it_takes_one(tmp_path: Path) -> None:
    model = bundle(tmp_path, {}, ["image"])
    with pytest.raises(EngineError, match="takes one grey volume, but was given 3 channels"):
        prepare(model, volume_from_array(np.ones((3, *SHAPE)), np.eye(4)))


# Pictures


def picture(path: Path, pixels: np.ndarray) -> MetaTensor:
    """A picture of (rows, columns) or (rows, columns, colours), written and read back."""
    sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=pixels.ndim == 3), str(path))
    return read_volume(path)


@pytest.fixture
def colours() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (20, 30, 3)).astype(np.uint8)


@pytest.mark.parametrize("extension", [".png", ".tif", ".bmp"])
def test_colours_are_channels_and_grey_stored_as_colour_is_grey(
    extension: str, tmp_path: Path, colours: np.ndarray
) -> None:
    coloured = picture(tmp_path / f"colour{extension}", colours)
    assert np.array_equal(coloured.numpy(), colours.transpose(2, 1, 0)[..., None])
    grey = picture(tmp_path / f"grey{extension}", np.repeat(colours[..., :1], 3, axis=-1))
    assert np.array_equal(grey.numpy(), colours[..., :1].transpose(2, 1, 0)[..., None])


PICTURES = {
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "Resized", "keys": ["image"], "spatial_size": [32, 24], "mode": ["bilinear"]},
            {"_target_": "ScaleIntensityd", "keys": ["image"]},
        ],
    }
}


def test_a_picture_in_colour_is_segmented_and_explained_on_its_own_pixels(tmp_path: Path, colours: np.ndarray) -> None:
    model = bundle(tmp_path / "bundle", {"spatial_dims": 2}, ["R", "G", "B"], **PICTURES)
    volume = picture(tmp_path / "a.png", colours)
    explanation = explain(ExplainRequest.of(volume, model, segment="class 1", device="cpu"))
    assert explanation.heatmap.shape == explanation.segmentation.labels.shape == (1, 30, 20, 1)
    assert explanation.segmentation.model_labels.shape == (32, 24, 1)
    assert set(explanation.segmentation.labels.unique().tolist()) <= {0, 1, 2}
    assert explanation.heatmap.any()


def test_a_grey_picture_is_the_same_in_every_colour(tmp_path: Path, colours: np.ndarray) -> None:
    model = bundle(tmp_path / "bundle", {"spatial_dims": 2}, ["Red", "Green", "Blue"], **PICTURES)
    stack = to_stack(model, prepare(model, picture(tmp_path / "a.png", colours[..., 0])).image, "auto")
    assert stack.shape == (1, 3, 32, 24)
    assert torch.equal(stack[:, 0], stack[:, 2])


def test_a_grey_volume_is_no_picture_in_colour(tmp_path: Path) -> None:
    model = bundle(tmp_path, {"spatial_dims": 2}, ["R", "G", "B"], **PICTURES)
    with pytest.raises(EngineError, match=r"takes colour images \(red, green and blue\), but was given 1 channel"):
        prepare(model, volume_from_array(np.ones(SHAPE), np.eye(4)))


# Slices


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("oriented", [False, True])
@pytest.mark.parametrize("name", AFFINES)
def test_slices_are_those_of_the_models_own_inferer(axis: int, oriented: bool, name: str, tmp_path: Path) -> None:
    """`spatial_dim` counts the axes of the grid that the preprocessing ends on, whatever the volume's own are."""
    orientation = {"_target_": "Orientationd", "keys": "image", "axcodes": "PIR"}
    model = bundle(
        tmp_path,
        {"spatial_dims": 2},
        ["image"],
        inferer={"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": axis},
        preprocessing={"_target_": "Compose", "transforms": [orientation] if oriented else []},
    )
    volume = volume_from_array(np.random.default_rng(1).normal(size=(13, 12, 11)), AFFINES[name])
    found = segment(model, volume, device="cpu")
    with torch.no_grad():
        inferer = SliceInferer(spatial_dim=axis, roi_size=(16, 16))
        expected = decide(model, inferer(found.prepared.image.as_tensor()[None], model.network))
    assert torch.equal(found.model_labels, expected[0])


def test_the_user_may_slice_along_another_axis_than_the_models(tmp_path: Path) -> None:
    inferer = {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 0}
    model = bundle(tmp_path, {"spatial_dims": 2}, ["image"], inferer=inferer)
    image = prepare(model, volume_from_array(np.ones(SHAPE), np.eye(4))).image
    assert slice_axis(image, "auto") == 0
    assert [slice_axis(image, axis) for axis in ("sagittal", "coronal", "axial")] == [0, 1, 2]


def test_a_model_that_names_no_axis_is_sliced_axially(tmp_path: Path) -> None:
    model = bundle(tmp_path, {"spatial_dims": 2}, ["image"])
    permuted = volume_from_array(np.ones(SHAPE), AFFINES["permuted"])
    image = prepare(model, permuted).image
    assert slice_axis(image, "auto") == slice_axis(image, "axial") == 0
