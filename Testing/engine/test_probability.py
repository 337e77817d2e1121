"""The mean probability over a pixel set is that of MONAI's blended prediction, in float64."""

from __future__ import annotations

import pytest
import torch
from engine.test_stitched import CASES, network
from monai.inferers import sliding_window_inference
from torch import nn

from SegHiResCAMLib.engine.cam.leaf import Target
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.cam.passes import ScoreQuestion
from SegHiResCAMLib.engine.cam.stitched import stitched_maps
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.windows import plan_windows, predict_windows
from SegHiResCAMLib.engine.models.model import WindowSettings
from SegHiResCAMLib.engine.models.nnunet.even_windows import EVEN_STEPS
from SegHiResCAMLib.engine.progress import silent

LAYER = "model.1.submodule.1.submodule"
FLAT = plan_windows((40, 52), WindowSettings((32, 32), 0.5, "gaussian"))


def probabilities(net: nn.Module, images, questions, windows, *, batch: int | None = 1, method="seg-hires-grad-cam"):
    """One for each question."""
    workplace = Workplace(net, torch.device("cpu"), batch)
    maps = stitched_maps(workplace, images, questions, [LAYER], METHODS[method], windows, progress=silent)
    return [one.mean_probability for (one,) in maps]


def expected(logits: torch.Tensor, pixel_set: torch.Tensor, channel: int, activation: str = "softmax") -> float:
    probability = logits.softmax(1)[:, channel] if activation == "softmax" else logits[:, channel].sigmoid()
    return float((probability * pixel_set).sum() / pixel_set.sum())


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize(("dims", "shape", "window", "overlap", "blending"), CASES)
def test_it_is_that_of_the_blended_prediction(dims, shape, window, overlap, blending, activation, batch) -> None:
    net, images = network(dims), 3 * torch.randn(shape, dtype=torch.float64)
    windows = plan_windows(shape[2:], WindowSettings(window, overlap, blending))
    some, weighted = torch.rand(shape[0], *shape[2:]) > 0.7, torch.rand(shape[0], *shape[2:], dtype=torch.float64)
    corner = torch.zeros_like(some)
    corner[(-1, *[slice(-5, None)] * dims)] = True
    logits = sliding_window_inference(images, windows.size, 1, net, overlap, mode=windows.blending)
    questions = [ScoreQuestion(Target(number), one, activation) for number, one in enumerate((some, weighted, corner))]
    found = probabilities(net, images, questions, windows, batch=batch)
    for question, mean in zip(questions, found, strict=True):
        wanted = expected(logits, question.pixel_set, question.target.channel, activation)
        assert mean == pytest.approx(wanted, rel=1e-12)


def test_a_softmax_of_each_window_would_be_another_number() -> None:
    net, images = network(2), 3 * torch.randn(1, 1, 40, 52, dtype=torch.float64)
    blended = predict_windows(net, images, FLAT, 1).softmax(1)
    each = predict_windows(lambda images: net(images).softmax(1), images, FLAT, 1)
    assert float((blended - each).abs().max()) > 1e-3


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("seg-cam", "seg-legrad")])
def test_it_is_the_same_however_often_a_method_passes_over_the_windows(method: str) -> None:
    net, images = network(2), torch.randn(1, 1, 40, 52, dtype=torch.float64)
    pixel_set = torch.zeros(1, 40, 52)
    pixel_set[0, 3:9, 4:11] = 1
    logits = sliding_window_inference(images, FLAT.size, 1, net, 0.5, mode="gaussian")
    (mean,) = probabilities(net, images, [ScoreQuestion(Target(1), pixel_set, "softmax")], FLAT, method=method)
    assert mean == pytest.approx(expected(logits, pixel_set, 1), rel=1e-12)


def test_windows_of_nnunet_are_blended_as_it_does() -> None:
    net, images = network(3), torch.randn(1, 1, 36, 24, 28, dtype=torch.float64)
    windows = plan_windows((36, 24, 28), WindowSettings((16, 16, 16), 0.5, "gaussian", scheme=EVEN_STEPS))
    pixel_set = torch.rand(1, 36, 24, 28) > 0.5
    logits = predict_windows(net, images, windows, 1)
    (mean,) = probabilities(net, images, [ScoreQuestion(Target(2), pixel_set, "softmax")], windows)
    assert mean == pytest.approx(expected(logits, pixel_set, 2), rel=1e-12)


class Cramped(nn.Module):
    """Runs out of memory once on the way back from several windows, when their logits are known already."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.model, self.failed = net.model, False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.model(images)
        if logits.requires_grad and len(images) > 1:
            logits.register_hook(self.fail)
        return logits

    def fail(self, _gradient: torch.Tensor) -> None:
        if not self.failed:
            self.failed = True
            raise MemoryError


def test_windows_that_are_computed_again_count_once() -> None:
    net, images = network(2), torch.randn(1, 1, 40, 52, dtype=torch.float64)
    pixel_set = torch.rand(1, 40, 52) > 0.5
    logits = sliding_window_inference(images, FLAT.size, 1, net, 0.5, mode="gaussian")
    cramped = Cramped(net)
    (mean,) = probabilities(cramped, images, [ScoreQuestion(Target(1), pixel_set, "softmax")], FLAT, batch=4)
    assert cramped.failed
    assert mean == pytest.approx(expected(logits, pixel_set, 1), rel=1e-12)


def test_an_empty_set_has_none_and_whoever_does_not_ask_gets_none() -> None:
    net, images = network(2), torch.randn(1, 1, 40, 52, dtype=torch.float64)
    empty, whole = (
        ScoreQuestion(Target(1), torch.zeros(1, 40, 52), "softmax"),
        ScoreQuestion(Target(1), torch.ones(1, 40, 52)),
    )
    assert probabilities(net, images, [empty, whole], FLAT) == [None, None]
