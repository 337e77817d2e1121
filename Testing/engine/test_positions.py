"""Where a layer's positions lie: closed forms, and a network whose features can be seen."""

from __future__ import annotations

import pytest
import torch
from monai.networks import nets
from rounding import close
from torch import nn

from SegHiResCAMLib.engine.cam.positions import Placement, even_placement, measure_placement, to_window

# 3x3 convolutions of stride 2 with padding 1 keep position 0 at 0; pooling by 2 puts it at 1/2, then 3/2, 7/2, 15/2.
CLOSED_FORMS = [
    (nets.UNet(3, 1, 2, (4, 8, 16, 16), (2, 2, 2), num_res_units=2), (64, 64, 48), "model.0", 2, 0.0),
    (nets.UNet(3, 1, 2, (4, 8, 16, 16), (2, 2, 2)), (64, 64, 48), "model.1.submodule.1.submodule.1.submodule", 8, 0.0),
    (nets.UNet(2, 1, 2, (4, 8, 16), (2, 2), norm="batch"), (64, 64), "model.1.submodule.2", 2, 0.0),
    (nets.BasicUNet(2, 1, 2, (4, 4, 4, 8, 8, 4)), (128, 96), "down_1", 2, 0.5),
    (nets.BasicUNet(3, 3, 2, (4, 4, 4, 8, 8, 4)), (64, 64, 64), "down_4", 16, 7.5),
    (nets.BasicUNet(2, 1, 2, (4, 4, 4, 8, 8, 4)), (128, 96), "upcat_1", 1, 0.0),
    (nets.DynUNet(2, 1, 2, [3] * 4, [1, 2, 2, 2], [2] * 3, filters=[4, 4, 8, 8]), (64, 64), "bottleneck", 8, 0.0),
    (nets.AttentionUnet(2, 1, 2, (4, 8, 16), (2, 2)), (64, 64), "model.1.submodule.1.submodule", 4, 0.0),
    (nets.SegResNet(2, 8, 1, 2), (64, 64), "down_layers.3", 8, 0.0),
]


@pytest.mark.parametrize(
    ("network", "window", "layer", "scale", "offset"), CLOSED_FORMS, ids=lambda value: type(value).__name__
)
def test_the_measured_placement_is_the_closed_form(network, window, layer, scale, offset) -> None:
    before = {name: (id(value), value.clone()) for name, value in network.named_parameters()}
    grid = tuple(n // scale for n in window)
    found = measure_placement(network.eval(), layer, _channels(network), window, grid)
    assert found.scale == (scale,) * len(window)
    assert found.offset == pytest.approx((offset,) * len(window), abs=0.02)
    assert all(
        id(value) == before[name][0] and torch.equal(value, before[name][1])
        for name, value in network.named_parameters()
    )
    assert not any(module._forward_hooks for module in network.modules())


def _channels(network: nn.Module) -> int:
    return next(module.in_channels for module in network.modules() if isinstance(module, nn.modules.conv._ConvNd))


def test_a_network_that_takes_one_size_only_falls_back_to_even_shares() -> None:
    network = nets.UNETR(1, 2, (32, 32, 32), feature_size=4, hidden_size=16, mlp_dim=16, num_heads=2).eval()
    found = measure_placement(network, "decoder5", 1, (32, 32, 32), (4, 4, 4))
    assert found == even_placement((32, 32, 32), (4, 4, 4))


class Twice(nn.Module):
    """An encoder that returns two scales, and an activation that is called on both: stride 2, then pooling by 2 as well."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.act = Scales(), nn.ReLU()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        fine, coarse = self.encoder(image)
        return self.act(fine)[:, :, ::2, ::2] + self.act(coarse)


class Scales(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.MaxPool2d(2)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine = self.conv(image)
        return fine, self.pool(fine)


@pytest.mark.parametrize(
    ("layer", "scale", "offset"),
    [("act@1", 2, 0.0), ("act@2", 4, 1.0), ("act", 4, 1.0), ("encoder[0]", 2, 0.0), ("encoder[1]", 4, 1.0)],
)
def test_every_call_and_every_returned_tensor_has_its_own_placement(layer: str, scale: int, offset: float) -> None:
    found = measure_placement(Twice().eval(), layer, 1, (64, 64), (64 // scale, 64 // scale))
    assert found.scale == (scale, scale)
    assert found.offset == pytest.approx((offset, offset), abs=0.02)


@pytest.mark.parametrize(("grid", "size"), [((5, 7), (20, 21)), ((3, 4, 2), (12, 8, 6)), ((1, 6), (16, 6))])
def test_even_shares_are_what_interpolate_does(grid, size) -> None:
    maps = torch.randn(2, *grid, dtype=torch.float64)
    mode = "bilinear" if len(size) == 2 else "trilinear"
    expected = nn.functional.interpolate(maps[:, None], size=size, mode=mode, align_corners=False)[:, 0]
    assert close(to_window(maps, size, even_placement(size, grid)), expected)


def test_a_straight_map_stays_straight_between_the_centres() -> None:
    placement = Placement((4.0,), (0.0,))
    found = to_window(torch.arange(5.0)[None], (20,), placement)[0]
    torch.testing.assert_close(found[:17], torch.arange(17) / 4)
    assert found[17:].tolist() == [4.0, 4.0, 4.0]


def test_a_dot_that_a_strided_network_sees_is_drawn_where_it_is() -> None:
    """Four strided convolutions that only average: the feature of a dot at 64 peaks where the dot is, not 7.5 positions beyond."""
    layers = [nn.Conv1d(1, 1, 3, stride=2, padding=1, bias=False) for _ in range(4)]
    for layer in layers:
        nn.init.constant_(layer.weight, 1 / 3)
    network = nn.Sequential(*layers)
    dot = torch.zeros(1, 1, 512)
    dot[0, 0, 256] = 1
    feature = network(dot)[0].detach()
    placement = measure_placement(network, "3", 1, (512,), (32,))
    drawn = to_window(feature, (512,), placement)[0]
    centroid = float((drawn * torch.arange(512)).sum() / drawn.sum())
    assert centroid == pytest.approx(256, abs=0.5)
