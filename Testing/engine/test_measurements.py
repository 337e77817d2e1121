from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from engine.geometry import AFFINES, affine, any_affine
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from SegHiResCAMLib.engine.answer import measurements
from SegHiResCAMLib.engine.answer.measurements import measure
from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.records.explanation import Measurements
from SegHiResCAMLib.records.json_form import from_json, to_json

SHAPE = (11, 9, 8)


def a_map(values: np.ndarray, matrix: np.ndarray | None = None) -> MetaTensor:
    return MetaTensor(
        torch.from_numpy(values.astype(np.float32))[None],
        affine=torch.from_numpy(np.eye(4) if matrix is None else matrix),
    )


def some_values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def some_mask(seed: int = 1, share: float = 0.01) -> np.ndarray:
    mask = np.random.default_rng(seed).uniform(size=SHAPE) < share
    mask[5, 4, 3] = True
    return mask


def points_of(matrix: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return indices @ matrix[:3, :3].T + matrix[:3, 3]


def share_by_brute_force(values: np.ndarray, mask: np.ndarray, matrix: np.ndarray, radius: float) -> float:
    """From the distance of every voxel to every voxel of the segment, in float64."""
    everywhere = points_of(matrix, np.argwhere(np.ones_like(mask)))
    distances = cdist(everywhere, points_of(matrix, np.argwhere(mask))).min(axis=1)
    positive = np.maximum(values.astype(np.float64), 0).ravel()
    return float(positive[distances <= radius + 1e-6].sum() / positive.sum())


@pytest.mark.parametrize("matrix", AFFINES.values(), ids=AFFINES)
def test_shares_are_those_of_distances_in_the_patient(matrix: np.ndarray) -> None:
    values, mask = some_values(), some_mask()
    found = measure(a_map(values, matrix), torch.from_numpy(mask))
    for share, radius in ((found.share_inside, 0), (found.share_within_5_mm, 5), (found.share_within_10_mm, 10)):
        assert share == pytest.approx(share_by_brute_force(values, mask, matrix, radius), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(matrix=any_affine(), seed=st.integers(0, 2**16))
def test_shares_are_right_on_any_grid(matrix: np.ndarray, seed: int) -> None:
    values, mask = some_values(seed), some_mask(seed + 1)
    found = measure(a_map(values, matrix), torch.from_numpy(mask))
    assert found.share_within_5_mm == pytest.approx(share_by_brute_force(values, mask, matrix, 5), rel=1e-6)


def test_a_voxel_exactly_5_mm_away_is_within_5_mm_and_the_next_is_not() -> None:
    mask = np.zeros((40, 1, 1), dtype=bool)
    mask[0] = True
    values = np.ones((40, 1, 1))
    fine = affine(np.eye(3), (0.1, 1, 1), (0.3, 0, 0)) @ np.diag([5, 1, 1, 1])  # 0.5 mm, with rounding
    found = measure(a_map(values, fine), torch.from_numpy(mask))
    assert found.share_inside == pytest.approx(1 / 40)
    assert found.share_within_5_mm == pytest.approx(11 / 40)
    assert found.share_within_10_mm == pytest.approx(21 / 40)


@pytest.mark.parametrize("degrees", range(1, 90, 4))
def test_a_voxel_5_mm_away_along_an_oblique_axis_is_not_lost_to_rounding(degrees: int) -> None:
    """5 mm is 4.999999999999999 or 5.000000000000001 mm here, and 10 voxels are 9.999999999999998."""
    mask = np.zeros((40, 1, 1), dtype=bool)
    mask[0] = True
    turned = affine(Rotation.from_euler("z", degrees, degrees=True).as_matrix(), (0.5, 1, 1), (0.3, 0, 0))
    found = measure(a_map(np.ones((40, 1, 1)), turned), torch.from_numpy(mask))
    assert found.share_within_5_mm == pytest.approx(11 / 40)
    assert found.share_within_10_mm == pytest.approx(21 / 40)


@pytest.mark.parametrize("matrix", AFFINES.values(), ids=AFFINES)
def test_planes_that_are_measured_some_at_a_time_give_the_same(
    matrix: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, mask = some_values(), some_mask()
    whole = measure(a_map(values, matrix), torch.from_numpy(mask))
    monkeypatch.setattr(measurements, "AT_ONCE", 1)
    reported: list[float] = []
    found = measure(a_map(values, matrix), torch.from_numpy(mask), lambda fraction, _text: reported.append(fraction))
    assert found.share_within_5_mm == pytest.approx(whole.share_within_5_mm, rel=1e-12)
    assert found.share_within_10_mm == pytest.approx(whole.share_within_10_mm, rel=1e-12)
    assert reported == sorted(reported)


def test_measuring_is_cancelled_between_planes() -> None:
    def cancel(_fraction: float, _text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        measure(a_map(some_values()), torch.from_numpy(some_mask()), cancel)


def test_thick_slices_count_in_millimetres_not_in_voxels() -> None:
    mask = np.zeros((21, 21, 5), dtype=bool)
    mask[10, 10, 2] = True
    values = np.zeros((21, 21, 5))
    values[10, 10, 3] = values[14, 10, 2] = values[10, 16, 2] = 1  # 6 mm, 4 mm and 6 mm away
    found = measure(a_map(values, affine(np.eye(3), (1, 1, 6), (0, 0, 0))), torch.from_numpy(mask))
    assert (found.share_inside, found.share_within_5_mm, found.share_within_10_mm) == (
        0.0,
        pytest.approx(1 / 3),
        pytest.approx(1.0),
    )


@pytest.mark.parametrize("matrix", AFFINES.values(), ids=AFFINES)
def test_the_peak_is_where_it_was_put(matrix: np.ndarray) -> None:
    values = some_values()
    values[7, 2, 6] = 50
    found = measure(a_map(values, matrix), torch.from_numpy(some_mask()))
    assert found.peak == 50
    np.testing.assert_allclose(found.peak_ras_mm, points_of(matrix, np.array([7, 2, 6])), atol=1e-9)


@pytest.mark.parametrize("matrix", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("level", [1e-30, 3.0, 1e30])
def test_a_uniform_map_has_the_effective_volume_that_it_fills(matrix: np.ndarray, level: float) -> None:
    mask = some_mask(share=0.3)
    found = measure(a_map(mask * np.float32(level), matrix), torch.from_numpy(mask))
    edges = matrix[:3, :3].T
    volume_ml = mask.sum() * abs(np.dot(np.cross(edges[0], edges[1]), edges[2])) / 1000
    assert found.effective_volume_ml == pytest.approx(volume_ml)
    assert found.segment_volume_ml == pytest.approx(volume_ml)


def test_a_gaussian_has_the_effective_volume_of_its_closed_form() -> None:
    sigma, spacing = 4.0, (0.8, 1.0, 1.25)
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip((61, 51, 41), spacing, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    values = 7 * np.exp(-(x**2 + y**2 + z**2) / (2 * sigma**2))
    found = measure(a_map(values, affine(np.eye(3), spacing, (0, 0, 0))), torch.ones(values.shape))
    assert found.effective_volume_ml == pytest.approx(8 * (np.pi**0.5 * sigma) ** 3 / 1000, rel=1e-4)


def test_what_is_negative_counts_as_nothing() -> None:
    values, mask = some_values(), torch.from_numpy(some_mask())
    assert measure(a_map(values), mask) == measure(a_map(np.maximum(values, 0)), mask)


def test_a_blank_map_has_no_shares_no_place_and_no_volume() -> None:
    found = measure(a_map(-np.ones(SHAPE)), torch.from_numpy(some_mask()))
    assert (found.share_inside, found.share_within_5_mm, found.share_within_10_mm) == (None, None, None)
    assert (found.peak, found.peak_ras_mm, found.effective_volume_ml) == (0.0, None, None)


def test_an_empty_segment_has_no_shares_but_the_map_keeps_its_peak_and_volume() -> None:
    found = measure(a_map(np.ones(SHAPE)), torch.zeros(SHAPE))
    assert (found.share_inside, found.share_within_5_mm, found.share_within_10_mm) == (None, None, None)
    assert (found.peak, found.segment_volume_ml) == (1.0, 0.0)
    assert found.effective_volume_ml == pytest.approx(np.prod(SHAPE) / 1000)


def test_numbers_are_ready_for_json() -> None:
    for mask in (torch.from_numpy(some_mask()), torch.zeros(SHAPE)):
        found = measure(a_map(some_values()), mask[None])
        assert from_json(Measurements, json.loads(json.dumps(to_json(found), allow_nan=False))) == found


def test_a_mask_of_another_shape_is_refused_with_both_shapes() -> None:
    with pytest.raises(EngineError, match="3 x 3 x 3 voxels and the heat map 11 x 9 x 8") as problem:
        measure(a_map(some_values()), torch.zeros(3, 3, 3))
    assert problem.value.code == "measure-shape"
