"""The maps of several models for the same voxels: identical ones have no spread, and two differ by what their maps differ."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from monai.data import MetaTensor
from rounding import close
from tiny_bundle import noise, write_tiny_bundle

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.evidence.several_models import explain_models
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.records.regions import Mask, Sphere


@pytest.fixture(scope="module", params=[3, 2], ids=["volumetric", "slice-wise"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SegmentationModel:
    return open_model(write_tiny_bundle(tmp_path_factory.mktemp("bundle"), spatial_dims=request.param))


def a_request(model: SegmentationModel) -> ExplainRequest:
    volume = MetaTensor(torch.from_numpy(noise((20, 18, 22)))[None], affine=torch.diag(torch.tensor([-2.0, 2, 3, 1])))
    return ExplainRequest.of(volume, model, "kidney")


def changed(model: SegmentationModel, seed: int) -> SegmentationModel:
    """Another checkpoint of the same training: weights a tenth away."""
    network, generator = deepcopy(model.network), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in network.parameters():
            one.mul_(1 + 0.1 * torch.randn(one.shape, generator=generator))
    return replace(model, network=network)


def test_identical_folds_have_a_standard_deviation_of_0_and_their_own_mean(model: SegmentationModel) -> None:
    request = a_request(model)
    found = explain_models(request, [model, model])
    assert not found.deviation.any()
    assert found.record.deviation == 0
    assert found.difference is None
    alone = explain(request).signed_map.as_tensor()
    assert close(found.mean.as_tensor(), alone, dtype=torch.float32, size=alone.abs().max())


def test_two_checkpoints_differ_by_what_their_maps_of_the_same_voxels_differ(model: SegmentationModel) -> None:
    request, other = a_request(model), changed(model, 1)
    found = explain_models(request, [other])
    voxels = MetaTensor(explain(request).explained_voxels.float(), affine=request.volume.affine)
    asked = replace(request, mask=voxels, question=replace(request.question, region=Mask(), deterministic=True))
    first, second = (explain(replace(asked, model=one)).signed_map.as_tensor() for one in (model, other))
    assert found.difference is not None
    assert torch.equal(found.difference.as_tensor(), second - first)
    assert found.difference.any()
    assert close(found.mean.as_tensor(), (first + second) / 2, dtype=torch.float32, size=first.abs().max())
    # The standard deviation of two is their difference over the root of 2.
    expected = (second - first).abs() / 2**0.5
    assert close(found.deviation.as_tensor(), expected, dtype=torch.float32, size=first.abs().max())
    norm = torch.linalg.vector_norm
    assert found.record.difference == pytest.approx(
        float(norm((second - first).double()) / norm(first.double())), rel=1e-5
    )


def test_a_region_is_that_of_the_first_model_for_all(model: SegmentationModel) -> None:
    request = a_request(model)
    request = replace(request, question=replace(request.question, region=Sphere((-20.0, 18.0, 33.0), 9.0)))
    found = explain_models(request, [changed(model, 2)])
    assert found.record.region == "sphere"
    assert {one.voxel_count for one in found.explanations} == {explain(request).voxel_count}


def test_a_single_model_cannot_be_compared(model: SegmentationModel) -> None:
    with pytest.raises(EngineError) as problem:
        explain_models(a_request(model), [])
    assert problem.value.code == "models-one"
