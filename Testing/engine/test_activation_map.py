"""`activation_map` against peer libraries and closed forms."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, UNet
from peers import captum_raw, grad_cam_raw
from rounding import close, condition_of
from torch import nn

from SegHiResCAMLib.engine.cam import activation_map
from SegHiResCAMLib.engine.errors import EngineError

HIRES, GRAD = "seg-hires-grad-cam", "seg-grad-cam"


def unet(dims: int) -> nn.Module:
    return UNet(dims, 1, 3, channels=(4, 8, 16), strides=(2, 2), num_res_units=2)


def basic_unet(dims: int) -> nn.Module:
    return BasicUNet(dims, 1, 3, features=(4, 4, 8, 8, 16, 4))


def dyn_unet(dims: int) -> nn.Module:
    return DynUNet(dims, 1, 3, [3] * 3, [1, 2, 2], [2, 2], filters=[4, 8, 16], res_block=True)


def seg_res_net(dims: int) -> nn.Module:
    return SegResNet(dims, init_filters=8, in_channels=1, out_channels=3, blocks_down=(1, 1, 1), blocks_up=(1, 1))


# Block outputs that nothing overwrites in place, where peers are right: deep, then shallow. (The decoder of SegResNet is left out: only
# linear operations lie between it and a GroupNorm, so that the mean gradient is zero but for rounding.)
CASES = [
    (unet, "model.1.submodule.1.submodule"),
    (unet, "model.1.submodule.2"),
    (basic_unet, "down_4"),
    (basic_unet, "upcat_1"),
    (dyn_unet, "bottleneck"),
    (dyn_unet, "upsamples.1"),
    (seg_res_net, "down_layers.2"),
    (seg_res_net, "down_layers.1"),
]


def case(build, dims: int, dtype: torch.dtype = torch.float32):
    torch.manual_seed(3)
    network = build(dims).eval().to(dtype)
    longest = 32 if build is basic_unet else 16
    image = torch.randn(1, 1, longest, *(16,) * (dims - 1), dtype=dtype)
    with torch.no_grad():
        labels = network(image).argmax(dim=1)[0]
    largest = int(labels.flatten().bincount().argmax())
    return network, image, labels == largest, largest


def double_condition(build, dims: int, layer: str, method: str) -> float:
    network, image, segment, index = case(build, dims, torch.float64)
    return condition_of(lambda: activation_map(network, image, segment, index, layer, method), network)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("build", "layer"), CASES)
def test_seg_hires_grad_cam_equals_grad_cam_and_captum(build, layer: str, dims: int) -> None:
    network, image, segment, index = case(build, dims)
    found = activation_map(network, image, segment, index, layer, HIRES)
    condition = partial(double_condition, build, dims, layer, HIRES)
    assert close(found, grad_cam_raw("HiResCAM", network, image, segment, index, layer), condition, dtype=torch.float32)
    assert close(found, captum_raw("hires", network, image, segment, index, layer), condition, dtype=torch.float32)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("build", "layer"), CASES)
def test_seg_grad_cam_equals_grad_cam_and_captum(build, layer: str, dims: int) -> None:
    network, image, segment, index = case(build, dims)
    found = activation_map(network, image, segment, index, layer, GRAD)
    condition = partial(double_condition, build, dims, layer, GRAD)
    assert close(found, grad_cam_raw("GradCAM", network, image, segment, index, layer), condition, dtype=torch.float32)
    assert close(found, captum_raw("grad", network, image, segment, index, layer), condition, dtype=torch.float32)


@pytest.mark.parametrize("layer", ["conv_0.conv_0.adn.N", "down_4.convs.conv_1.adn.N", "upcat_1.convs.conv_0.adn.N"])
def test_a_layer_that_the_next_operation_overwrites_in_place_is_exact(layer: str) -> None:
    """Here grad-cam raises and others are silently wrong; captum copies, as we do."""
    network, image, segment, index = case(basic_unet, 3, torch.float64)
    found = activation_map(network, image, segment, index, layer, HIRES)
    assert close(found, captum_raw("hires", network, image, segment, index, layer))


class Linear1x1(nn.Module):
    """Features (one 3x3 convolution) and a 1x1 head, so that the map has a closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 5, 3, padding=1)
        self.head = nn.Conv2d(5, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(image))


def test_before_a_1x1_head_the_hires_map_is_the_logit_without_bias_on_the_pixel_set() -> None:
    torch.manual_seed(0)
    network, image = Linear1x1().double().eval(), torch.randn(1, 1, 9, 7, dtype=torch.float64)
    weights = torch.rand(9, 7, dtype=torch.float64)
    found = activation_map(network, image, weights, 1, "features", HIRES)
    logits = network(image).detach()[0, 1] - network.head.bias[1].detach()
    assert close(found, weights * logits)


def test_before_a_1x1_head_the_grad_map_is_the_unmasked_logit_scaled_by_the_share_of_the_pixel_set() -> None:
    torch.manual_seed(0)
    network, image = Linear1x1().double().eval(), torch.randn(1, 1, 9, 7, dtype=torch.float64)
    segment = torch.zeros(9, 7, dtype=torch.bool)
    segment[2:5, 1:4] = True
    found = activation_map(network, image, segment, 0, "features", GRAD)
    logits = network(image).detach()[0, 0] - network.head.bias[0].detach()
    assert close(found, logits * 9 / 63)


def test_the_network_is_left_as_it_was() -> None:
    network, image, segment, index = case(unet, 2)
    next(network.parameters()).requires_grad_(False)
    before = [parameter.requires_grad for parameter in network.parameters()]
    activation_map(network, image, segment, index, "model.1.submodule.2")
    with pytest.raises(EngineError):
        activation_map(network, image, segment, 7, "model.1.submodule.2")
    assert [parameter.requires_grad for parameter in network.parameters()] == before
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_works_where_the_caller_has_switched_gradients_off(context) -> None:
    network, image, segment, index = case(unet, 2)
    expected = activation_map(network, image, segment, index, "model.1.submodule.2")
    with context():
        again = activation_map(network, image * 1, segment, index, "model.1.submodule.2")
    assert torch.equal(again, expected)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"layer": "model.1.submodul"}, "layer-unknown"),
        ({"layer": ""}, "layer-unknown"),
        ({"class_index": 3}, "class-unknown"),
        ({"class_index": -1}, "class-unknown"),
        ({"method": "grad-cam"}, "method-unknown"),
        ({"pixel_set": torch.ones(16, 8)}, "region-shape"),
        ({"inputs": torch.zeros(2, 1, 16, 16)}, "inputs-shape"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_message(change: dict, code: str) -> None:
    network, image, segment, index = case(unet, 2)
    arguments = {"inputs": image, "pixel_set": segment, "class_index": index, "layer": "model.1.submodule.2"} | change
    with pytest.raises(EngineError) as raised:
        activation_map(network, **arguments)
    assert raised.value.code == code
    assert raised.value.message.endswith(".")
