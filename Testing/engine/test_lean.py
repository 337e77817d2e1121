"""Gradients that cost less are the gradients that PyTorch computes."""

from __future__ import annotations

import pytest
import torch
from cam_reference import NETWORKS
from monai.networks.nets import UNETR, BasicUNet, UNet, VNet
from rounding import close, condition_of
from torch import nn

from SegHiResCAMLib.engine.cam.leaf import leaves_at
from SegHiResCAMLib.engine.cam.lean import LeanGradients


def gradient(network: nn.Module, image: torch.Tensor, layer: str, flip: bool | None) -> torch.Tensor:
    """dS/dA for a random S; `flip` None is PyTorch alone."""
    weights = torch.randn(
        image.shape[0], 3, *image.shape[2:], dtype=image.dtype, generator=torch.Generator().manual_seed(1)
    )
    with leaves_at(network, [layer]) as (leaf,):
        if flip is None:
            logits = network(image)
            return torch.autograd.grad((logits * weights).sum(), leaf.reached())[0]
        with LeanGradients(flip=flip):
            logits = network(image)
            return torch.autograd.grad((logits * weights).sum(), leaf.reached())[0]


def right(network: nn.Module, image: torch.Tensor, layer: str, flip: bool) -> bool:
    """Whether the gradient is PyTorch's, but for rounding."""

    def expected() -> torch.Tensor:
        return gradient(network, image, layer, None)

    return close(gradient(network, image, layer, flip), expected(), lambda: condition_of(expected, network))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_pytorchs_in_every_network(name: str, dims: int, flip: bool) -> None:
    torch.manual_seed(0)
    build, (first, others), layer = NETWORKS[name]
    network = build(dims).double().eval()
    image = torch.randn(2, 1, first, *(others,) * (dims - 1), dtype=torch.float64)
    assert right(network, image, layer, flip)


WIDE = [  # skip connections of whole blocks of channels, whose gradients are left out
    (UNet(2, 1, 3, channels=(16, 32, 64), strides=(2, 2), num_res_units=2), "model.1.submodule.1.submodule"),
    (UNet(2, 1, 3, channels=(16, 32, 64), strides=(2, 2), num_res_units=2), "model.1.submodule.0"),
    (BasicUNet(2, 1, 3, features=(16, 16, 32, 32, 48, 16)), "down_4"),
    (BasicUNet(2, 1, 3, features=(16, 16, 32, 32, 48, 16)), "upcat_3"),
    (VNet(spatial_dims=2, in_channels=1, out_channels=3, dropout_dim=2), "down_tr64"),
    (UNETR(1, 3, (32, 32), feature_size=16, hidden_size=32, mlp_dim=32, num_heads=4, spatial_dims=2), "decoder5"),
]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("network", "layer"), WIDE, ids=lambda value: type(value).__name__)
def test_they_are_pytorchs_where_only_one_part_of_a_concatenation_needs_them(network, layer: str, flip: bool) -> None:
    image = torch.randn(1, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    network = network.double().eval()
    assert right(network, image, layer, flip)


class Mischief(nn.Module):
    """Overwrites a concatenation in place, and one of its parts, before a convolution takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(32, 3, (3, 5), padding=(1, 2), stride=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.layer(image) * 2
        first = torch.cat([image.expand(-1, 16, -1, -1), features], 1)
        features.neg_()  # what was concatenated does not change with it
        second = torch.cat([image.expand(-1, 16, -1, -1), features], 1)
        second.neg_()
        return self.head(first) + self.head(second) + self.head(torch.cat([features, features], 1))


@pytest.mark.parametrize("flip", [False, True])
def test_a_concatenation_that_is_overwritten_in_place_is_not_mistaken_for_what_it_was(flip: bool) -> None:
    torch.manual_seed(0)
    network, image = Mischief().double(), torch.randn(2, 1, 8, 8, dtype=torch.float64)
    assert right(network, image, "layer", flip)


class Convolutions(nn.Module):
    """Every kind of convolution that the substitutes must pass by or treat."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 3, padding=1)
        self.others = nn.Sequential(
            nn.Conv2d(4, 6, 3, padding="same"),
            nn.PReLU(6),
            nn.Conv2d(6, 6, 3, groups=3, padding=1),
            nn.PReLU(),
            nn.Conv2d(6, 4, 3, dilation=2, padding=2),
            nn.Conv2d(4, 4, 1, padding=1),
            nn.Conv2d(4, 4, 4, stride=2, padding=1, bias=False),
            nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2),
            nn.Conv2d(6, 3, (3, 5), padding=(0, 2), padding_mode="reflect"),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.others(self.layer(image))[..., : image.shape[2], : image.shape[3]]


@pytest.mark.parametrize("flip", [False, True])
def test_they_are_pytorchs_for_every_kind_of_convolution(flip: bool) -> None:
    torch.manual_seed(0)
    network, image = Convolutions().double(), torch.randn(2, 1, 8, 8, dtype=torch.float64)
    assert right(network, image, "layer", flip)


def test_without_flipped_kernels_they_are_pytorchs_bit_for_bit_in_single_precision() -> None:
    network, layer = WIDE[0]
    image = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    network = network.float().eval()
    assert torch.equal(gradient(network, image, layer, False), gradient(network, image, layer, None))


def test_convolutions_do_not_keep_their_input() -> None:
    convolution, kept = nn.Conv2d(2, 3, 3), []
    convolution.requires_grad_(False)
    for context in (LeanGradients(flip=False), torch.enable_grad()):
        image = torch.randn(1, 2, 9, 9, requires_grad=True)
        sizes: list[int] = []
        with (
            torch.autograd.graph.saved_tensors_hooks(
                lambda one, seen=sizes: seen.append(one.numel()) or one, lambda one: one
            ),
            context,
        ):
            convolution(image)
        kept.append(image.numel() in sizes)
    assert kept == [False, True]
