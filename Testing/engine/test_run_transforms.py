"""Transforms in a row: what is made of an image in pieces is what is made of it at once, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, ScaleIntensityRanged

from SegHiResCAMLib.engine.models import run_transforms
from SegHiResCAMLib.engine.models.run_transforms import run_steps

RANGE = {"keys": "image", "a_min": -200.0, "a_max": 300.0, "b_min": 0.0, "b_max": 1.0, "clip": True}


def nothing(*_: object) -> None:
    """Before each step."""


def images() -> dict[str, torch.Tensor]:
    values = torch.randn(2, 17, 13, 11, generator=torch.Generator().manual_seed(0)) * 300
    return {
        "dense": values,
        "turned": values.permute(0, 3, 1, 2).flip(1),
        "one slice": values[..., :1],
        "with NaN": values.where(values < 400, torch.nan),
    }


@pytest.mark.parametrize("kind", images())
@pytest.mark.parametrize("at_once", [1, 4000, 2**20])
def test_a_transform_of_single_voxels_is_the_same_in_pieces(
    kind: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_transforms, "AT_ONCE", at_once)
    step, affine = ScaleIntensityRanged(**RANGE), torch.diag(torch.tensor([2.0, 3, 4, 1])).double()
    image = MetaTensor(images()[kind], affine=affine, meta={"filename_or_obj": "a"})
    before = image.clone()
    found: Any = run_steps(Compose([step]), {"image": image}, nothing)["image"]
    expected = step({"image": before})["image"]
    assert torch.equal(found.as_tensor().nan_to_num(7), expected.as_tensor().nan_to_num(7))
    assert torch.equal(image.as_tensor().nan_to_num(7), before.as_tensor().nan_to_num(7)), "what was given is changed"
    assert isinstance(found, MetaTensor)
    assert torch.equal(found.affine, affine)
    assert found.meta["filename_or_obj"] == "a"


def test_it_is_given_little_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def noting(self: ScaleIntensityRanged, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        sizes.append(data["image"].nbytes)
        return data

    monkeypatch.setattr(ScaleIntensityRanged, "__call__", noting)
    image = MetaTensor(torch.zeros(1, 256, 256, 40))
    run_steps(Compose([ScaleIntensityRanged(**RANGE)]), {"image": image}, nothing)
    assert max(sizes) <= run_transforms.AT_ONCE
    assert sum(sizes) == image.nbytes


@pytest.mark.parametrize("dtype", [np.float64, None])
def test_one_that_gives_another_type_is_given_the_whole_image(dtype: Any) -> None:
    step = ScaleIntensityRanged(**RANGE, dtype=dtype)
    image = MetaTensor(torch.ones(1, 4, 4, 4))
    found = run_steps(Compose([step]), {"image": image}, nothing)["image"]
    assert found.dtype == step({"image": image})["image"].dtype
