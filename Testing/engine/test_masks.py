"""Which voxels of a mask are meant: segments of a segmentation file by name, labels by value; never others without a word."""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.masks import read_mask, segments_of
from SegHiResCAMLib.nrrd import write_nrrd

AFFINE = np.diag([-1.5, -1.5, 3, 1])


def segmentation(path: Path, layers: np.ndarray, *segments: dict[str, object]) -> Path:
    header = {
        f"Segment{number}_{key}": str(value)
        for number, segment in enumerate(segments)
        for key, value in segment.items()
    }
    write_nrrd(path, layers, AFFINE, header, first_axis="list")
    return path


@pytest.fixture
def two_layers(tmp_path: Path) -> Path:
    """27 voxels of "kidney" and 64 of "tumour", which overlap, so each has the value 1 in a layer of its own."""
    layers = np.zeros((2, 24, 20, 16), np.uint8)
    layers[0, 3:6, 4:7, 5:8] = 1
    layers[1, 4:8, 4:8, 4:8] = 1
    kidney = {"ID": "Segment_0", "Name": "kidney", "Layer": 0, "LabelValue": 1}
    return segmentation(
        tmp_path / "two.seg.nrrd", layers, kidney, kidney | {"ID": "Segment_1", "Name": "tumour", "Layer": 1}
    )


def refusal(path: Path, code: str, **options: object) -> str:
    with pytest.raises(EngineError) as caught:
        read_mask(path, **options)
    assert caught.value.code == code
    assert str(path) in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("segment", "layer"), [("kidney", 0), ("tumour", 1), ("Segment_1", 1), ("Tumour", 1), ("Segment_0", 0)]
)
def test_a_segment_is_chosen_by_its_name_or_id_whatever_layer_it_lies_in(
    two_layers: Path, segment: str, layer: int
) -> None:
    mask = read_mask(two_layers, segment=segment)
    peer = sitk.GetArrayFromImage(sitk.ReadImage(str(two_layers)))[..., layer].T
    np.testing.assert_array_equal(mask.numpy()[0], peer == 1)
    assert int(mask.sum()) == (27, 64)[layer]
    np.testing.assert_allclose(mask.affine, AFFINE)


@pytest.mark.parametrize("options", [{}, {"value": 1}])
def test_several_segments_without_a_choice_are_refused_with_their_names(
    two_layers: Path, options: dict[str, int]
) -> None:
    message = refusal(two_layers, "mask-segment", **options)
    assert "'kidney'" in message
    assert "'tumour'" in message


@pytest.mark.parametrize("options", [{"segment": "liver"}, {"value": 2}])
def test_a_segment_that_is_not_there_is_refused_with_those_that_are(
    two_layers: Path, options: dict[str, object]
) -> None:
    assert "'kidney', 'tumour'" in refusal(two_layers, "mask-segment", **options)


def test_segments_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0], labels[1] = 3, 5
    twins = [{"ID": f"S{value}", "Name": "cyst", "Layer": 0, "LabelValue": value} for value in (3, 5)]
    path = segmentation(tmp_path / "twins.seg.nrrd", labels, *twins)
    message = refusal(path, "mask-segment", segment="cyst")
    assert "'S3'" in message
    assert "'S5'" in message
    np.testing.assert_array_equal(read_mask(path, segment="S5").numpy()[0], labels == 5)
    np.testing.assert_array_equal(read_mask(path, value=3).numpy()[0], labels == 3)


def test_the_only_segment_needs_no_choice_and_takes_its_own_value_only(tmp_path: Path) -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0], labels[1] = 2, 9
    path = segmentation(tmp_path / "one.seg.nrrd", labels, {"ID": "a", "Name": "a", "Layer": 0, "LabelValue": 2})
    np.testing.assert_array_equal(read_mask(path).numpy()[0], labels == 2)


def test_segments_of_an_old_file_lie_in_layers_of_their_own(tmp_path: Path) -> None:
    layers = np.random.default_rng(0).integers(0, 2, (3, 4, 5, 6)).astype(np.uint8)
    path = segmentation(
        tmp_path / "old.seg.nrrd", layers, *({"ID": f"S{one}", "Name": f"part {one}"} for one in range(3))
    )
    assert [one.layer for one in segments_of(path)] == [0, 1, 2]
    np.testing.assert_array_equal(read_mask(path, segment="part 2").numpy()[0], layers[2] == 1)


def test_a_layer_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = segmentation(
        tmp_path / "a.seg.nrrd", np.ones((4, 4, 4), np.uint8), {"ID": "a", "Name": "a", "Layer": 7, "LabelValue": 1}
    )
    refusal(path, "mask-segment", segment="a")


def test_a_name_in_a_file_without_segments_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), AFFINE), path := tmp_path / "mask.nii.gz")
    refusal(path, "mask-segment", segment="kidney")


def test_labels_that_are_explained_together_are_listed_and_one_is_chosen_by_value(tmp_path: Path) -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0], labels[1] = 1, 7
    nib.save(nib.Nifti1Image(labels, AFFINE), path := tmp_path / "labels.nii.gz")
    with pytest.warns(UserWarning, match=r"labels 1, 7.*--mask-value"):
        np.testing.assert_array_equal(read_mask(path).numpy()[0], labels > 0)
    np.testing.assert_array_equal(read_mask(path, value=7).numpy()[0], labels == 7)
    assert "1, 7" in refusal(path, "mask-value", value=3)


def test_a_mask_of_one_label_or_of_probabilities_needs_no_word(tmp_path: Path) -> None:
    for number, values in enumerate((np.eye(4, dtype=np.uint8) * 255, np.linspace(0, 1, 16).reshape(4, 4))):
        nib.save(nib.Nifti1Image(values[..., None], AFFINE), path := tmp_path / f"{number}.nii")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(read_mask(path).numpy()[0, ..., 0], values > 0)


def test_channels_are_not_taken_for_a_mask(tmp_path: Path) -> None:
    write_nrrd(path := tmp_path / "a.nrrd", np.ones((2, 4, 4, 4), np.uint8), AFFINE, {})
    assert "2 channels" in refusal(path, "mask-channels")
