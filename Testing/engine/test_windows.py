"""Windows are padded and blended as the model's inferer says, in predictions and in maps alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import BasicUNet
from one_map import stitched_map
from rounding import close

from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.windows import plan_windows, predict_windows
from SegHiResCAMLib.engine.models import WindowSettings

SETTINGS: list[dict[str, Any]] = [
    {"padding_mode": "replicate"},
    {"padding_mode": "reflect", "blending": "constant"},
    {"padding_mode": "circular"},
    {"cval": -3.5},
    {"sigma_scale": 0.4, "overlap": 0.5},
    {"sigma_scale": 0.05, "overlap": 0.6, "padding_mode": "replicate"},
]
IMAGE = (21, 59)
"""Smaller than a window along the first axis, larger along the second."""


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    torch.manual_seed(3)
    return BasicUNet(2, 1, 2, features=(4, 4, 6, 6, 8, 4)).double().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 1, *IMAGE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def monai(settings: WindowSettings) -> SlidingWindowInferer:
    return SlidingWindowInferer(
        settings.size,
        overlap=settings.overlap,
        mode=settings.blending,
        sigma_scale=settings.sigma_scale,
        padding_mode=settings.padding_mode,
        cval=settings.cval,
    )


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_predictions_are_those_of_monais_inferer(changes: dict[str, Any], net: torch.nn.Module, images: Any) -> None:
    settings = WindowSettings((32, 32), **changes)
    found = predict_windows(net, images, plan_windows(IMAGE, settings), 1)
    assert torch.equal(found, monai(settings)(images, net))
    assert not torch.equal(found, predict_windows(net, images, plan_windows(IMAGE, WindowSettings((32, 32))), 1))


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_maps_explain_the_prediction_of_monais_inferer(
    changes: dict[str, Any], net: torch.nn.Module, images: Any
) -> None:
    """The layer is the logits themselves: each one's gradient is its share of the score, so that the map adds up to the score."""
    settings = WindowSettings((32, 32), **changes)
    predicted = monai(settings)(images, net)
    pixel_set = torch.rand(2, *IMAGE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = stitched_map(
        net, images, pixel_set, 1, "final_conv", METHODS["seg-hires-grad-cam"], plan_windows(IMAGE, settings),
    )  # fmt: skip
    expected = predicted[:, 1] * pixel_set
    assert close(found.score, expected.sum(), size=expected.abs().sum())
    assert close(found.values, expected)


def test_pixel_sets_are_padded_with_zeros_whatever_images_are_padded_with() -> None:
    windows = plan_windows((4, 8), WindowSettings((8, 8), padding_mode="replicate"))
    ones = torch.ones(1, 4, 8)
    assert windows.pad(ones).sum() == 32
    assert windows.pad_images(ones[None]).sum() == 64


def test_whole_images_are_padded_to_the_networks_multiple_with_the_inferers_value() -> None:
    windows = plan_windows((4, 8), WindowSettings(multiple=8, cval=7))
    assert windows.pad_images(torch.zeros(1, 1, 4, 8)).sum() == 7 * 32


@pytest.mark.parametrize(("mode", "least"), [("reflect", 17), ("circular", 16)])
def test_images_too_small_for_the_inferers_padding_are_refused(mode: Any, least: int) -> None:
    settings = WindowSettings((48, 48), padding_mode=mode)
    windows = plan_windows((least, 48), settings)
    assert windows.pad_images(torch.zeros(1, 1, least, 48)).shape == (1, 1, 48, 48)
    with pytest.raises(EngineError, match=rf"{least - 1} x 48 on the model's grid.*{mode}"):
        plan_windows((least - 1, 48), settings)


def test_a_window_over_whole_axes_explains_what_it_predicts() -> None:
    """As above: the layer is the logits themselves, so that the map adds up to the score of MONAI's own prediction."""
    torch.manual_seed(3)
    net = BasicUNet(2, 1, 2, features=(4, 4, 6, 6, 8, 4)).double().eval().requires_grad_(False)
    images = torch.randn(2, 1, 21, 83, dtype=torch.float64)
    pixel_set = torch.rand(2, 21, 83, dtype=torch.float64)
    windows = plan_windows((21, 83), WindowSettings((None, 32), (0.0, 0.6)), lambda _: True)
    expected = SlidingWindowInferer((-1, 32), overlap=(0.0, 0.6), mode="gaussian")(images, net)
    found = stitched_map(net, images, pixel_set, 1, "final_conv", METHODS["seg-hires-grad-cam"], windows)
    assert len(windows.boxes) > 1
    assert torch.allclose(found.values, expected[:, 1] * pixel_set, rtol=1e-10, atol=1e-12)
