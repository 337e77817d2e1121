"""Values at the positions of another grid: a plane in patient space, and voxels that are told apart by their number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine.geometry import AFFINES, SHAPE, VOXELS
from monai.data import MetaTensor

from SegHiResCAMLib.engine.images.resampling import is_same_grid, resample_onto

OUTSIDE = -7.0
SLOPE, LEVEL = np.array([0.3, -0.2, 0.1]), 5.0


def _grid(affine: np.ndarray, shape: tuple[int, ...] = SHAPE) -> MetaTensor:
    return MetaTensor(torch.zeros(2, *shape), affine=torch.from_numpy(affine))


def _indices(shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)


def _places(affine: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return indices @ affine[:3, :3].T + affine[:3, 3]


def _around(affine: np.ndarray) -> np.ndarray:
    """A grid of finer, turned voxels around the middle of the volume."""
    middle = _places(affine, (np.array(SHAPE) - 1) / 2)
    turned = np.array(AFFINES["sheared, oblique, left-handed"])
    turned[:3, :3] *= 0.7
    turned[:3, 3] = middle - turned[:3, :3] @ (np.array((9, 8, 7)) - 1) / 2
    return turned


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
def test_a_plane_in_space_stays_that_plane_on_any_other_grid(affine):
    plane = _places(affine, _indices(SHAPE)) @ SLOPE + LEVEL
    volume = MetaTensor(torch.from_numpy(plane.astype(np.float32))[None], affine=torch.from_numpy(affine))
    grid = _around(affine)

    found = resample_onto(volume, _grid(grid, (9, 8, 7)), "linear", OUTSIDE).numpy()

    places = _places(grid, _indices((9, 8, 7)))
    index = np.linalg.solve(affine[:3, :3], (places - affine[:3, 3]).reshape(-1, 3).T).T.reshape(places.shape)
    between_centres = ((index >= 0) & (index <= np.array(SHAPE) - 1)).all(axis=-1)
    assert between_centres.sum() > 20
    np.testing.assert_allclose(found[between_centres], (places @ SLOPE + LEVEL)[between_centres], atol=1e-5)


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int16, torch.float32])
@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
def test_every_position_takes_the_value_of_the_voxel_it_lies_in_and_nothing_outside(affine, kind):
    values = torch.from_numpy(VOXELS) % 3 == 0 if kind == torch.bool else torch.from_numpy(VOXELS + 1).to(kind)
    volume = MetaTensor(values[None], affine=torch.from_numpy(affine))
    grid = _around(affine)

    found = resample_onto(volume, _grid(grid, (9, 8, 7)), "nearest")

    places = _places(grid, _indices((9, 8, 7))).reshape(-1, 3)
    index = np.linalg.solve(affine[:3, :3], (places - affine[:3, 3]).T).T
    nearest = np.rint(index).astype(int)
    clear = (np.abs(np.abs(index - nearest) - 0.5) > 1e-6).all(axis=1)  # no position between two voxels
    inside = ((nearest >= 0) & (nearest < np.array(SHAPE))).all(axis=1)
    expected = np.zeros(len(places), values.numpy().dtype)
    expected[inside] = values.numpy()[tuple(nearest[inside].T)]
    assert inside.any()
    assert not inside.all()
    assert found.dtype == kind
    np.testing.assert_array_equal(found.numpy().ravel()[clear], expected[clear])


def test_one_and_the_same_grid_gives_the_values_themselves():
    volume = MetaTensor(torch.from_numpy(VOXELS)[None], affine=torch.from_numpy(AFFINES["sheared"]))
    shifted = AFFINES["sheared"] + 1e-4 * np.eye(4, k=3)

    found = resample_onto(volume, _grid(shifted), "linear")

    assert is_same_grid(volume, _grid(shifted))
    assert found.data_ptr() == volume.as_tensor().data_ptr()


def test_a_spacing_that_differs_in_the_third_digit_is_another_grid_where_the_volume_is_large():
    one, other = np.diag([0.7, 0.7, 2, 1]), np.diag([0.7009, 0.7, 2, 1])
    assert is_same_grid(_grid(one, (2, 2, 2)), _grid(other, (2, 2, 2)))
    assert not is_same_grid(_grid(one, (512, 2, 2)), _grid(other, (512, 2, 2)))
