"""Shapley values of input images: closed forms, the average over all orders, and an image that the network ignores."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from tiny_bundle import write_tiny_bundle

from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.evidence.fills import FILLS, fill
from SegHiResCAMLib.engine.evidence.input_shares import input_shares, shapley_values
from SegHiResCAMLib.engine.inference.segmentation import segment
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.engine.window_settings import WindowSettings
from SegHiResCAMLib.records.input_shares import InputShares
from SegHiResCAMLib.records.json_form import from_json, to_json
from SegHiResCAMLib.records.regions import Sphere, WholeImage

WEIGHTS = (2.0, -1.0, 0.0, 0.5)
BALL = Sphere((8.0, 8.0, 8.0), 4.0)


class Sum(torch.nn.Module):
    """The logit is a weighted sum of the images; with `product`, what the first and the last have in common as well."""

    def __init__(self, product: bool = False) -> None:
        super().__init__()
        self.product = product
        self.weights = torch.nn.Parameter(torch.tensor(WEIGHTS).reshape(1, 4, 1, 1, 1), requires_grad=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logit = (images * self.weights).sum(dim=1, keepdim=True)
        if self.product:
            logit = logit + images[:, :1] * images[:, 3:]
        return torch.cat([torch.zeros_like(logit), logit], dim=1)


def a_request(folder: Path, *, product: bool = False, region: object = BALL) -> ExplainRequest:
    tiny = open_model(write_tiny_bundle(folder / "bundle"))
    model = replace(
        tiny,
        network=Sum(product).eval(),
        in_channels=4,
        inputs=("T1", "T1c", "T2", "FLAIR"),
        labels=tiny.labels[:1],
        window=WindowSettings(size=(12, 12, 12), overlap=0.5),
    )
    values = np.random.default_rng(0).normal(1, 1, (4, 18, 17, 16)).astype(np.float32)
    volume = MetaTensor(torch.from_numpy(values), affine=torch.eye(4, dtype=torch.float64))
    return ExplainRequest.of(volume, model, "kidney", region=region)


def in_ball(request: ExplainRequest) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, request.volume.shape[1:]), indexing="ij"), axis=-1)
    return np.linalg.norm(index - 8, axis=-1) <= 4


@pytest.mark.parametrize("kind", FILLS)
def test_images_of_a_weighted_sum_get_what_they_add(tmp_path: Path, kind: str) -> None:
    request = a_request(tmp_path)
    found = input_shares(request, segment(request.model, request.volume), kind)
    inside = in_ball(request)
    image = request.volume.numpy()
    filled = fill(kind, image, inside, np.eye(3))
    for weight, own, other, one in zip(WEIGHTS, image, filled, found.inputs, strict=True):
        # Sums of 257 numbers of float32, of which differences are taken.
        assert one.value == pytest.approx(weight * float((own - other)[inside].sum(dtype=float)), abs=2e-3)
    assert [one.name for one in found.inputs] == ["T1", "T1c", "T2", "FLAIR"]


def test_values_add_up_and_an_image_that_is_ignored_gets_nothing(tmp_path: Path) -> None:
    request = a_request(tmp_path, product=True)
    found = input_shares(request, segment(request.model, request.volume))
    assert sum(one.value for one in found.inputs) == pytest.approx(found.score_all - found.score_none, rel=1e-12)
    assert sum(one.share or 0.0 for one in found.inputs) == pytest.approx(1, rel=1e-12)
    assert found.inputs[2].value == 0
    assert found.predictions == 16
    image, inside = request.volume.numpy().astype(float), in_ball(request)
    whole = np.tensordot(WEIGHTS, image, 1) + image[0] * image[3]
    assert found.score_all == pytest.approx(whole[inside].sum(), rel=1e-5)
    assert from_json(InputShares, to_json(found)) == found


def test_values_are_the_mean_over_all_orders() -> None:
    generator = np.random.default_rng(1)
    scores = {frozenset(i for i in range(4) if number >> i & 1): generator.normal() for number in range(16)}
    expected = np.zeros(4)
    for order in permutations(range(4)):
        present: frozenset[int] = frozenset()
        for one in order:
            expected[one] += (scores[present | {one}] - scores[present]) / 24
            present |= {one}
    assert shapley_values(scores, 4) == pytest.approx(expected)


def test_a_single_image_cannot_share_a_score(tmp_path: Path) -> None:
    model: SegmentationModel = open_model(write_tiny_bundle(tmp_path / "bundle"))
    volume = MetaTensor(torch.rand(1, 18, 17, 16), affine=torch.eye(4, dtype=torch.float64))
    with pytest.raises(EngineError, match="single input image"):
        input_shares(ExplainRequest.of(volume, model, "kidney"), segment(model, volume))


def test_a_region_that_is_everything_leaves_nothing_to_fill_with(tmp_path: Path) -> None:
    request = a_request(tmp_path, region=WholeImage())
    with pytest.raises(EngineError, match="whole volume"):
        input_shares(request, segment(request.model, request.volume))
