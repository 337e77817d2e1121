"""Seg-Shapley CAM against differences of gradients, a closed form and one graph through MONAI's inferer."""

from __future__ import annotations

import pytest
import torch
from cam_reference import NETWORKS
from monai.inferers import sliding_window_inference
from one_map import stitched_map
from rounding import close, condition_of
from torch import nn

from SegHiResCAMLib.engine.cam import activation_map
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.inference.windows import plan_windows
from SegHiResCAMLib.engine.models.model import WindowSettings

SHAPLEY = "seg-shapley-cam"


def derivatives(
    network: nn.Module, layer: str, score
) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    """A, G and H A of every call of a layer in the computation of a score: by PyTorch's Hessian-vector product, in one graph."""
    given: list[torch.Tensor] = []
    count = [0]

    def at(*activations: torch.Tensor) -> torch.Tensor:
        count[0] = 0

        def put(_module, _inputs, output):
            if not activations:
                given.append(output.detach())
                return None
            count[0] += 1
            return activations[count[0] - 1].clone()

        handle = network.get_submodule(layer).register_forward_hook(put)
        found = score()
        handle.remove()
        return found

    at()
    _, gradients = torch.autograd.functional.vjp(at, tuple(given))
    _, products = torch.autograd.functional.hvp(at, tuple(given), tuple(given))
    return given, list(gradients), list(products)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_its_weights_have_the_hessian_vector_product_of_pytorch(name: str, dims: int) -> None:
    torch.manual_seed(3)
    build, (first, others), layer = NETWORKS[name]
    network = build(dims).double().eval().requires_grad_(False)
    layer = "down_layers.1" if name == "SegResNet" else layer
    image = torch.randn(1, 1, first, *(others,) * (dims - 1), dtype=torch.float64)
    pixels = torch.rand(image.shape[2:], dtype=torch.float64)

    def score() -> torch.Tensor:
        return (network(image)[0, 1] * pixels).sum()

    (a,), (g,), (h,) = derivatives(network, layer, score)
    expected = torch.einsum("k,k...->...", (g - h / 2).flatten(2).mean(dim=2)[0], a[0])

    def own() -> torch.Tensor:
        return activation_map(network, image, pixels, 1, layer, SHAPLEY)

    assert close(own(), expected, lambda: condition_of(own, network))


def test_over_windows_it_is_that_of_one_graph_through_monais_inferer() -> None:
    torch.manual_seed(5)
    build, _, layer = NETWORKS["UNet"]
    network = build(2).double().eval().requires_grad_(False)
    images, pixels = torch.randn(1, 1, 40, 52, dtype=torch.float64), torch.zeros(1, 40, 52, dtype=torch.float64)
    pixels[0, :12, :9] = 1
    windows = plan_windows((40, 52), WindowSettings((32, 32), 0.5, "gaussian"))

    def score() -> torch.Tensor:
        logits = sliding_window_inference(images, (32, 32), 1, network, 0.5, mode="gaussian")
        return (logits[:, 1] * pixels).sum()

    a, g, h = derivatives(network, layer, score)
    weights = sum((one - other / 2).flatten(2).sum(2)[0] for one, other in zip(g, h, strict=True))
    weights = weights / sum(one[0, 0].numel() for one in a)
    importance, total = windows.importance(torch.float64), windows.weight_sum(torch.float64)
    expected = torch.zeros(1, *windows.padded, dtype=torch.float64)
    for box, activation in zip(windows.boxes, a, strict=True):
        raw = torch.einsum("k,k...->...", weights, activation[0])
        drawn = nn.functional.interpolate(raw[None, None], size=(32, 32), mode="bilinear", align_corners=False)[0, 0]
        expected[(0, *box)] += drawn * importance / total[box]

    def own() -> torch.Tensor:
        return stitched_map(network, images, pixels, 1, layer, METHODS[SHAPLEY], windows).values

    assert close(own(), windows.crop(expected), lambda: condition_of(own, network))


def test_where_the_tail_is_piecewise_linear_it_is_seg_grad_cam() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 2, 3)
    ).double()
    image = torch.randn(1, 1, 12, 12, dtype=torch.float64)
    maps = [activation_map(network, image, torch.ones(12, 12), 1, "0", name) for name in (SHAPLEY, "seg-grad-cam")]
    assert close(*maps)


class Squared(nn.Module):
    """Features, and their squares as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.features(image) ** 2


def test_of_a_square_the_curvature_takes_half_the_gradient_away() -> None:
    """G = 2 m A and H A = 2 m A, so G - H A / 2 = m A."""
    torch.manual_seed(0)
    network, image = Squared().double().eval(), torch.randn(1, 1, 9, 7, dtype=torch.float64)
    pixels = torch.rand(9, 7, dtype=torch.float64)
    a = network.features(image).detach()[0, 1]
    expected = (pixels * a).mean() * a
    assert close(activation_map(network, image, pixels, 1, "features", SHAPLEY), expected)
