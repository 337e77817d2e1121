"""Every diagnosis on a case that has what it names, and silence where there is nothing to say."""

from __future__ import annotations

import json
import math
from typing import Literal

import pytest
import torch
from monai.data import MetaTensor
from monai.networks.nets import BasicUNet
from monai.transforms import Compose, EnsureTyped
from torch import nn

from SegHiResCAMLib.engine.answer.diagnoses import extent_of
from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.model import SegmentationModel, WindowSettings
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.regions import Empty, Region, Sphere, WholeImage
from SegHiResCAMLib.records.wording import number

WHOLE_IMAGE = WholeImage()


def answer(
    network: nn.Module, *, layer: str, method: str = "seg-hires-grad-cam", size: int = 16, spacing: float = 1.0,
    region: Region | None = WHOLE_IMAGE, dims: int = 3, image: torch.Tensor | None = None,
    activation: Literal["softmax", "sigmoid"] = "softmax", contrast: str | None = None,
    method_options: dict | None = None,
) -> Explanation:  # fmt: skip
    model = SegmentationModel(
        name="Case", network=network.eval().requires_grad_(False), spatial_dims=dims, in_channels=1,
        labels=(Label("cyst", 1, 1, (0, 1, 0)),), activation=activation, preprocessing=Compose([EnsureTyped("image")]),
        window=WindowSettings(None), sha256="0" * 64, source="here",
    )  # fmt: skip
    torch.manual_seed(0)
    values = torch.rand(1, size, size, size) if image is None else image
    affine = torch.diag(torch.tensor([spacing, spacing, spacing, 1.0], dtype=torch.float64))
    volume = MetaTensor(values, affine=affine)
    return explain(
        ExplainRequest.of(
            volume,
            model,
            "cyst",
            method=method,
            layer=layer,
            device="cpu",
            region=region,
            contrast=contrast,
            method_options=method_options or {},
        )
    )


def codes(explanation: Explanation) -> set[str]:
    assert all(one.message.endswith(".") for one in explanation.findings)
    return {one.code for one in explanation.findings}


def message(explanation: Explanation, code: str) -> str:
    return next(one.message for one in explanation.findings if one.code == code)


class Strided(nn.Module):
    """One strided convolution and a way back up, with weights of one sign: the evidence has the sign of the head."""

    def __init__(self, stride: int = 2, head: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.down = nn.Conv3d(1, 2, 3, stride, 1)
        self.up = nn.Upsample(scale_factor=stride)
        self.head = nn.Conv3d(2, 2, 3, padding=1)
        with torch.no_grad():
            for module, weight in ((self.down, 0.1), (self.head, head)):
                module.weight.fill_(weight)
                module.bias.zero_()
            self.head.bias[1] = bias

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.up(self.down(image)))


def test_a_map_that_can_be_read_needs_no_word() -> None:
    found = answer(Strided(), layer="down", region=Sphere((8.0, 8.0, 8.0), 5.0))
    assert found.findings == ()
    assert found.score > 0
    assert found.heatmap.max() > 0


def test_where_all_evidence_is_negative_the_signed_map_is_offered() -> None:
    found = answer(Strided(head=-1.0, bias=1000.0), layer="down")
    assert found.heatmap.max() == 0
    assert found.signed_map.min() < 0
    assert codes(found) == {"all-negative"}
    assert "signed map" in message(found, "all-negative")


def heads(cyst: float, background: float) -> Strided:
    """A network whose logits are these everywhere, but for a trace of the image."""
    network = Strided(head=1e-6)
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([background, cyst]))
    return network


@pytest.mark.parametrize("logits", [(-3.0, -15.0), (2.0, -10.0), (12.0, 0.0)])
def test_a_softmax_that_is_certain_needs_no_word_whatever_the_sign_of_its_logits(logits: tuple[float, float]) -> None:
    for region in (WHOLE_IMAGE, None):  # known beforehand, and decided by the logits themselves
        found = answer(heads(*logits), layer="down", region=region)
        assert found.mean_probability == pytest.approx(1 / (1 + math.exp(-12)), rel=1e-6)
        assert found.findings == ()


@pytest.mark.parametrize("logits", [(7.0, 8.0), (-8.0, -7.0), (0.5, 1.5)])
def test_a_softmax_that_predicts_something_else_is_named_with_its_probability(logits: tuple[float, float]) -> None:
    found = answer(heads(*logits), layer="down")
    assert found.mean_probability == pytest.approx(1 / (1 + math.e), rel=2e-4)  # the trace is 1.5e-4 of a logit
    assert message(found, "probability-low") == (
        "Mean probability of the cyst here is 27 %: the network does not predict it in this region. The map shows the evidence in favour, which "
        "did not prevail."
    )
    assert found.record().mean_probability == found.mean_probability


def test_a_sigmoid_below_zero_is_named_with_its_probability_and_one_above_is_not() -> None:
    below, above = (answer(heads(logit, 20.0), layer="down", activation="sigmoid") for logit in (-1.0, 1.0))
    assert below.mean_probability == pytest.approx(1 / (1 + math.e), rel=2e-4)  # the trace is 1.5e-4 of a logit
    assert message(below, "score-negative").startswith(
        "Mean probability of the cyst here is 27 %: the network does not predict it"
    )
    assert above.findings == ()


def test_with_a_contrast_class_the_sign_of_the_difference_decides() -> None:
    preferred, not_preferred = (
        answer(heads(cyst, background), layer="down", contrast="background")
        for cyst, background in ((-3.0, -5.0), (5.0, 8.0))
    )
    assert codes(preferred) <= {"all-zero", "all-negative"}
    assert not_preferred.score < 0
    assert "the network prefers 'background' in this region" in message(not_preferred, "score-negative")
    assert f"score {number(not_preferred.score, 4)}" in message(not_preferred, "score-negative")


def test_a_layer_without_influence_here_is_named() -> None:
    """A dead ReLU: the layer is connected, but no gradient comes through."""
    network = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv3d(2, 2, 3, padding=1))
    with torch.no_grad():
        network[0].weight.fill_(0.1)
        network[0].bias.fill_(-1000.0)
        network[2].bias.fill_(1.0)
    assert codes(answer(network, layer="0")) == {"all-zero"}


@pytest.mark.parametrize(
    ("method", "void"),
    [("seg-grad-cam", True), ("seg-xgrad-cam", True), ("seg-hires-grad-cam", False), ("seg-layer-cam", False)],
)
@pytest.mark.parametrize(("layer", "before_norm"), [("conv_0.conv_1.conv", True), ("down_1", False)])
def test_mean_gradients_before_a_normalisation_are_found_out_by_their_numbers(method, void, layer, before_norm) -> None:
    torch.manual_seed(2)
    network = BasicUNet(2, 1, 2, features=(4, 4, 4, 8, 8, 4))
    found = answer(network, layer=layer, method=method, dims=2, image=torch.rand(1, 32, 32, 2))
    assert ("feeds-normalisation" in codes(found)) == (void and before_norm)
    if void and before_norm:
        assert layer in message(found, "feeds-normalisation")


def test_a_grid_too_coarse_for_the_segment_is_named_with_both_sizes() -> None:
    """One position of a layer of stride 4 at 4.5 mm is 18 mm; the ball is 9 mm."""
    ball = Sphere((36.0, 36.0, 36.0), 5.0)
    coarse = answer(Strided(4), layer="down", spacing=4.5, region=ball)
    volume = coarse.voxel_count * 4.5**3
    diameter = (6 * volume / math.pi) ** (1 / 3)
    assert 6 < diameter < 13
    assert message(coarse, "grid-too-coarse").startswith(
        f"The grid spacing of layer 'down' is 18 mm, and the sphere is {diameter:.0f} mm across"
    )
    assert codes(answer(Strided(4), layer="down", spacing=1.0, region=Sphere((8.0, 8.0, 8.0), 5.0))) == set()


def test_the_extent_is_the_diameter_of_a_ball_or_in_slices_of_the_largest_disc() -> None:
    grid = torch.stack(torch.meshgrid(*[torch.arange(40.0)] * 3, indexing="ij"))
    ball = ((grid - 20) ** 2).sum(0) <= 15**2
    assert extent_of(ball[None], (1.0, 1.0, 1.0)) == pytest.approx(30, rel=0.01)
    assert extent_of(ball[None], (0.5, 0.5, 4.0)) == pytest.approx(30, rel=0.01)  # the same volume
    assert extent_of(ball, (2.0, 0.5)) == pytest.approx(30, rel=0.01)
    assert extent_of(torch.zeros(1, 4, 4, 4), (1.0, 1.0, 1.0)) == 0


def test_a_trivial_tail_is_named() -> None:
    torch.manual_seed(2)
    network = BasicUNet(2, 1, 2, features=(4, 4, 4, 8, 8, 4))
    image = torch.rand(1, 32, 32, 2)
    ball = Sphere((16.0, 16.0, 0.0), 10.0)
    found = answer(network, layer="upcat_1", dims=2, image=image, region=ball)
    assert "tail-trivial" in codes(found)
    outside = found.signed_map.as_tensor()[0].abs() > 0
    assert int(outside.sum()) <= found.voxel_count
    assert "tail-trivial" not in codes(answer(network, layer="upcat_2", dims=2, image=image, region=ball))


def test_an_empty_pixel_set_is_an_error_unless_it_was_asked_for() -> None:
    network = Strided(head=-1.0)  # the background wins everywhere, or nobody does: no cyst
    with pytest.raises(EngineError) as raised:
        answer(network, layer="down", region=None)
    assert raised.value.code == "region-empty"
    found = answer(network, layer="down", region=Empty())
    assert codes(found) == {"region-empty"}
    assert (found.signed_map == 0).all()
    assert found.score == 0


def test_values_that_are_nan_or_infinite_are_counted_and_shown_as_zero() -> None:
    """Activations near the largest number that single precision holds overflow when they are multiplied by gradients."""
    network = Strided()
    with torch.no_grad():
        network.down.weight[0] = 1e38
        network.head.weight.fill_(50.0)
    found = answer(network, layer="down")
    assert "not-finite" in codes(found)
    assert torch.isfinite(found.signed_map).all()
    json.dumps(to_json(found.record()), allow_nan=False)


def test_diagnoses_travel_with_the_facts() -> None:
    found = answer(Strided(head=-1.0, bias=1000.0), layer="down")
    (only,) = to_json(found.record())["findings"]
    assert only == {"code": "all-negative", "message": found.findings[0].message}


class Normalised(nn.Module):
    """What follows the layer forgets how large its activations are."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.norm, self.head = nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.Conv3d(4, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.features(image)).relu())


def test_a_path_from_zero_through_a_normalisation_does_not_converge_and_from_the_blurred_image_it_does() -> None:
    """Scaling all activations changes nothing behind a normalisation, so the gradient along such a path is zero (but for its epsilon)."""
    torch.manual_seed(0)
    network, region = Normalised(), Sphere((8.0, 8.0, 8.0), 5.0)
    options = {"layer": "features", "method": "seg-integrated-hires-cam", "region": region}
    found = answer(network, **options, method_options={"baseline": "zero", "steps": 16})
    assert "path-not-converged" in codes(found)
    assert "use the baseline 'blurred'" in message(found, "path-not-converged")
    assert "path-not-converged" not in codes(answer(network, **options))
