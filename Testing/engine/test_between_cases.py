"""Maps of different patients are laid over each other at the middle of what was explained, in the patient's axes, whatever the volumes' own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.stats import spearmanr
from tiny_bundle import noise, write_tiny_bundle

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.evidence.between_cases import POINTS, STEP_MM, map_around, similarity_between
from SegHiResCAMLib.engine.models import open_model

MIDDLE = np.array([12.0, -30.0, 250.0])
AFFINES = {
    "oblique, left-handed": np.array([[2.4, 1.0, 0.3, 0], [-1.0, 2.4, 0.1, 0], [0.2, 0.1, -3.0, 0], [0, 0, 0, 1.0]]),
    "sheared, thick": np.array([[2.0, 0, 0.8, 0], [0, 2.0, 0, 0], [0, 0, 5.0, 0], [0, 0, 0, 1.0]]),
    "turned": np.array([[0, 0, 3.0, 0], [-2.0, 0, 0, 0], [0, 2.5, 0, 0], [0, 0, 0, 1.0]]),
}


@pytest.fixture(scope="module")
def any_explanation(tmp_path_factory: pytest.TempPathFactory) -> Explanation:
    model = open_model(write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny"))
    volume = MetaTensor(torch.from_numpy(noise((20, 18, 16)))[None], affine=torch.eye(4).double())
    return explain(ExplainRequest.of(volume, model, "kidney"))


def explained(known: Explanation, linear: np.ndarray, middle: np.ndarray) -> Explanation:
    """A map that grows with the distance along a direction from `middle`, whose voxel is the one that is explained."""
    shape = np.array([60, 56, 50])
    affine = linear.copy()
    affine[:3, 3] = middle - linear[:3, :3] @ (shape // 2)
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    values = (indices @ affine[:3, :3].T + affine[:3, 3] - middle) @ [1.0, 10.0, 100.0] + 0.5
    chosen = torch.zeros(1, *shape.tolist(), dtype=torch.uint8)
    chosen[(0, *(shape // 2).tolist())] = 1
    where = torch.from_numpy(affine)
    return replace(
        known,
        signed_map=MetaTensor(torch.from_numpy(values).float()[None], affine=where),
        chosen=MetaTensor(chosen, affine=where),
    )


@pytest.mark.parametrize("name", AFFINES)
def test_the_grid_lies_around_the_middle_along_the_patients_axes(any_explanation: Explanation, name: str) -> None:
    around = map_around(explained(any_explanation, AFFINES[name], MIDDLE))
    assert around is not None
    assert tuple(around.shape) == (1, POINTS, POINTS, POINTS)
    steps = STEP_MM * (np.arange(POINTS) - POINTS // 2)
    expected = steps[:, None, None] + 10 * steps[:, None] + 100 * steps + 0.5
    computed = around.numpy()[0] != 0
    assert computed[8:17, 8:17, 8:17].all()
    assert np.abs(around.numpy()[0] - expected)[computed].max() < 1e-2  # of 5000, in float32
    assert np.allclose((around.affine.numpy() @ [*[POINTS // 2] * 3, 1])[:3], MIDDLE)


def test_patients_who_lie_otherwise_have_the_same_map(any_explanation: Explanation) -> None:
    first, *others = (
        map_around(explained(any_explanation, linear, MIDDLE + 40 * number))
        for number, linear in enumerate(AFFINES.values())
    )
    assert first is not None
    for other in others:
        assert other is not None
        found = similarity_between(first, other)
        assert found is not None
        assert found > 1 - 1e-6  # ties of rounding
        assert similarity_between(first, MetaTensor(-other)) == pytest.approx(-found)


def test_only_points_where_both_were_computed_are_compared() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (MetaTensor(torch.randn(1, POINTS, POINTS, POINTS, generator=generator)) for _ in range(2))
    one[0, :12], other[0, :, 20:] = 0, 0
    both = [values.numpy()[0, 12:, :20].ravel() for values in (one, other)]
    assert similarity_between(one, other) == pytest.approx(spearmanr(*both).statistic, abs=1e-12)
    one[0, 12:, :, 2:] = 0
    one[0, 13:] = 0
    assert similarity_between(one, other) is None, "too few"


def test_without_explained_voxels_there_is_none(any_explanation: Explanation) -> None:
    nothing = MetaTensor(torch.zeros_like(any_explanation.explained_voxels, dtype=torch.uint8))
    assert map_around(replace(any_explanation, chosen=nothing)) is None
