"""How a map is spread over regions: shares of voxels in the patient, whatever the grids of map and regions; they add up to 1."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from engine.geometry import AFFINES, any_affine, points_of
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy.spatial.distance import cdist

from SegHiResCAMLib.engine.answer.region_shares import share_by_region
from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.images.region_files import Regions, read_regions
from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.records.csv_form import records_csv
from SegHiResCAMLib.records.json_form import from_json, to_json
from SegHiResCAMLib.records.region_shares import RegionShare

SHAPE = (11, 9, 8)
NAMES = {1: "kidney", 3: "liver"}


def a_map(values: np.ndarray, matrix: np.ndarray) -> MetaTensor:
    return MetaTensor(torch.from_numpy(values.astype(np.float32))[None], affine=torch.from_numpy(matrix))


def some_regions(labels: np.ndarray, matrix: np.ndarray) -> Regions:
    return Regions(MetaTensor(torch.from_numpy(labels.astype(np.int16))[None], affine=torch.from_numpy(matrix)), NAMES)


def some_values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def some_labels(shape: tuple[int, ...] = SHAPE, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).choice([0, 1, 3], shape, p=[0.97, 0.02, 0.01])


def parts_of_volume(labels: np.ndarray, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Which voxels each part and neighbourhood has, from the distances of all voxels to all voxels of the regions, in float64."""
    places = points_of(matrix, np.argwhere(np.ones_like(labels)))

    def near(mask: np.ndarray, radius: float) -> np.ndarray:
        return (cdist(places, places[mask.ravel()]).min(axis=1) <= radius + 1e-6).reshape(labels.shape)

    kidney, liver, either = labels == 1, labels == 3, labels > 0
    return {
        "kidney": kidney,
        "liver": liver,
        "0 to 5 mm around": near(either, 5) & ~either,
        "5 to 10 mm around": near(either, 10) & ~near(either, 5),
        "elsewhere": ~near(either, 10),
        "kidney, 5": near(kidney, 5),
        "kidney, 10": near(kidney, 10),
    }


def assert_adds_up(found: tuple[RegionShare, ...]) -> None:
    """To rounding: some thousand sums of numbers below 1, each off by 2^-53 at most."""
    for kind in ("share_of_volume", "positive", "negative"):
        assert sum(getattr(one, kind) for one in found) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("matrix", AFFINES.values(), ids=AFFINES)
def test_shares_are_those_of_distances_in_the_patient(matrix: np.ndarray) -> None:
    values, labels = some_values(), some_labels()
    found = share_by_region(a_map(values, matrix), some_regions(labels, matrix))
    expected = parts_of_volume(labels, matrix)
    positive, negative = (np.maximum(sign * values.astype(np.float64), 0) for sign in (1, -1))
    assert [one.name for one in found] == list(expected)[:5]
    for one in found:
        mask = expected[one.name]
        assert one.positive == pytest.approx(positive[mask].sum() / positive.sum(), rel=1e-12)
        assert one.negative == pytest.approx(negative[mask].sum() / negative.sum(), rel=1e-12)
        assert one.share_of_volume == pytest.approx(mask.mean(), rel=1e-12)
        assert one.volume_ml == pytest.approx(mask.sum() * abs(np.linalg.det(matrix[:3, :3])) / 1000, rel=1e-12)
    kidney = found[0]
    for mm, share in ((5, kidney.positive_within_5_mm), (10, kidney.positive_within_10_mm)):
        assert share == pytest.approx(positive[expected[f"kidney, {mm}"]].sum() / positive.sum(), rel=1e-12)
    for mm, share in ((5, kidney.negative_within_5_mm), (10, kidney.negative_within_10_mm)):
        assert share == pytest.approx(negative[expected[f"kidney, {mm}"]].sum() / negative.sum(), rel=1e-9)
    assert_adds_up(found)


@pytest.mark.parametrize("matrix", AFFINES.values(), ids=AFFINES)
def test_regions_of_whole_fractions_of_a_voxel_are_divided_exactly(matrix: np.ndarray) -> None:
    """Each voxel of the map is 2 x 3 x 4 voxels of the regions, so its share is the fraction of them that a region has."""
    counts = (2, 3, 4)
    fine = matrix @ np.diag([1 / 2, 1 / 3, 1 / 4, 1])
    fine[:3, 3] = matrix[:3, :3] @ [-1 / 4, -1 / 3, -3 / 8] + matrix[:3, 3]
    labels = np.random.default_rng(5).choice([0, 1, 3], [n * c for n, c in zip(SHAPE, counts, strict=True)])
    values = some_values().astype(np.float64)
    found = share_by_region(a_map(values, matrix), some_regions(labels, fine))
    blocks = labels.reshape(11, 2, 9, 3, 8, 4)
    for value, one in zip((1, 3), found, strict=False):
        fraction = (blocks == value).mean(axis=(1, 3, 5))
        own = (np.maximum(values, 0) * fraction).sum() / np.maximum(values, 0).sum()
        assert one.positive == pytest.approx(own, rel=1e-12)
        assert one.share_of_volume == pytest.approx(fraction.mean(), rel=1e-12)
    assert_adds_up(found)


@settings(max_examples=20, deadline=None)
@given(any_affine(), st.integers(0, 2**32 - 1))
def test_on_another_grid_only_voxels_that_a_border_crosses_can_be_off(matrix: np.ndarray, seed: int) -> None:
    """The integral over the map's voxels, by 12^3 points in each, which an index of the regions' grid is computed for directly."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(6, 5, 4))
    turn = AFFINES["sheared, oblique, left-handed"][:3, :3] * generator.uniform(0.5, 2)
    labels = np.kron(generator.choice([0, 1, 3], (4, 4, 4)), np.ones((4, 4, 4)))
    other = np.eye(4)
    other[:3, :3] = turn * np.abs(np.linalg.det(matrix[:3, :3]) / np.linalg.det(turn)) ** (1 / 3) / 2
    other[:3, 3] = points_of(matrix, np.array([[2.5, 2, 1.5]]))[0] - other[:3, :3] @ np.full(3, 7.5)
    found = share_by_region(a_map(values, matrix), some_regions(labels, other))
    offsets = (np.arange(12) + 0.5) / 12 - 0.5
    sub = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    places = points_of(matrix, (np.argwhere(np.ones_like(values))[:, None] + sub).reshape(-1, 3))
    index = np.rint(points_of(np.linalg.inv(other), places)).astype(int)
    inside = ((index >= 0) & (index < labels.shape)).all(axis=1)
    at = np.zeros(len(places))
    at[inside] = labels[tuple(index[inside].T)]
    at = at.reshape(-1, 1728)
    positive = np.maximum(values, 0).ravel()
    for value, one in zip((1, 3), found, strict=False):
        fraction = (at == value).mean(axis=1)
        crossed = (fraction > 0) & (fraction < 1)
        expected = (positive * fraction).sum() / positive.sum()
        assert one.positive == pytest.approx(expected, abs=positive[crossed].sum() / positive.sum() + 1e-9)
    assert_adds_up(found)


def test_a_uniform_map_is_nowhere_enriched() -> None:
    found = share_by_region(a_map(np.full(SHAPE, 2.5), np.eye(4)), some_regions(some_labels(), np.eye(4)))
    assert [one.enrichment for one in found if one.share_of_volume] == pytest.approx([1.0] * 4, rel=1e-12)
    assert all(one.negative is None for one in found)


def test_a_map_of_zeros_has_no_shares_but_regions_keep_their_volumes() -> None:
    found = share_by_region(a_map(np.zeros(SHAPE), np.eye(4)), some_regions(some_labels(), np.eye(4)))
    assert {one.positive for one in found} == {one.enrichment for one in found} == {None}
    assert sum(one.share_of_volume for one in found) == pytest.approx(1, abs=1e-12)


def test_regions_of_another_patient_are_refused() -> None:
    far = np.eye(4)
    far[0, 3] = 500
    with pytest.raises(EngineError, match="belong to this volume"):
        share_by_region(a_map(some_values(), np.eye(4)), some_regions(some_labels(), far))


def test_a_model_that_segments_nothing_leaves_all_evidence_elsewhere() -> None:
    found = share_by_region(a_map(some_values(), np.eye(4)), some_regions(np.zeros(SHAPE), np.eye(4)))
    assert [one.positive for one in found] == [0, 0, 0, 0, 1]


def test_measuring_regions_can_be_cancelled() -> None:
    def cancel(_fraction: float, _text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        share_by_region(a_map(some_values(), np.eye(4)), some_regions(some_labels(), np.eye(4)), cancel)


def test_a_voxel_in_two_segments_belongs_to_the_smaller(tmp_path: Path) -> None:
    layers = np.zeros((2, 6, 6, 6), np.uint8)
    layers[0, 1:3, 1:3, 1:3] = 1
    layers[1, 0:5, 0:5, 0:5] = 1
    header = {"Segment0_ID": "a", "Segment0_Name": "tumour", "Segment0_Layer": "0", "Segment0_LabelValue": "1"}
    header |= {key.replace("0_", "1_", 1): value for key, value in header.items()}
    header |= {"Segment1_Name": "=kidney", "Segment1_Layer": "1", "Segment1_ID": "b"}
    path = tmp_path / "both.seg.nrrd"
    write_nrrd(path, layers, np.eye(4), header, first_axis="list")
    found = read_regions(path)
    assert found.names == {1: "tumour", 2: "=kidney"}
    assert [int((found.labels == value).sum()) for value in (1, 2)] == [8, 117]


def test_labels_of_a_label_map_are_called_by_their_values(tmp_path: Path) -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0], labels[1] = 7, 2
    write_nrrd(tmp_path / "labels.nrrd", labels, np.eye(4), {})
    assert read_regions(tmp_path / "labels.nrrd").names == {2: "label 2", 7: "label 7"}


@pytest.mark.parametrize(
    ("values", "code", "says"),
    [
        (np.linspace(0, 1, 64, dtype=np.float32), "regions-not-labels", "whole numbers"),
        (np.arange(1200, dtype=np.int16), "regions-not-labels", "1199 different values"),
        (np.zeros(64, np.uint8), "regions-empty", "all its voxels are 0"),
    ],
    ids=["an image", "too many", "none"],
)
def test_what_holds_no_regions_is_refused(values: np.ndarray, code: str, says: str, tmp_path: Path) -> None:
    write_nrrd(tmp_path / "odd.nrrd", values.reshape(-1, 4, 4), np.eye(4), {})
    with pytest.raises(EngineError, match=says) as caught:
        read_regions(tmp_path / "odd.nrrd")
    assert caught.value.code == code


def test_regions_travel_as_json_and_as_a_table() -> None:
    found = share_by_region(a_map(some_values(), np.eye(4)), some_regions(some_labels(), np.eye(4)))
    assert tuple(from_json(RegionShare, to_json(one)) for one in found) == found
    rows = list(csv.DictReader(io.StringIO(records_csv(found))))
    assert [row["name"] for row in rows] == [one.name for one in found]
    assert float(rows[0]["positive"]) == found[0].positive
    assert rows[-1]["positive_within_5_mm"] == ""


def test_a_name_in_a_table_is_no_formula() -> None:
    named = RegionShare("=1+1", "region", 1.0, 0.5, None, None, None)
    assert next(csv.DictReader(io.StringIO(records_csv([named]))))["name"] == "'=1+1"
