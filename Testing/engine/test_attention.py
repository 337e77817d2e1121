"""Attention as a map: keys lie where their patches do, whatever windows they were cut into; and Seg-LeGrad made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor
from monai.networks.nets import UNETR, SwinUNETR, UNet
from monai.networks.nets.swin_unetr import window_reverse
from one_map import stitched_map
from rounding import close
from tiny_bundle import noise, write_tiny_bundle
from torch import nn

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.cam import activation_map
from SegHiResCAMLib.engine.cam.layers import layer_named, list_layers, suggest_layer
from SegHiResCAMLib.engine.cam.leaf import leaves_at, run_forward
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.evidence.map_check import check_map
from SegHiResCAMLib.engine.inference.windows import plan_windows, predict_windows
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.window_settings import WindowSettings
from SegHiResCAMLib.records.regions import Sphere

LEGRAD = METHODS["seg-legrad"]
SHIFTED = "swinViT.layers1.0.blocks.1.attn.softmax"
"""Second block of the first stage: its windows are moved."""


def unetr(dims: int = 3, proj: str = "conv") -> nn.Module:
    torch.manual_seed(0)
    size = (32, 16, 48)[:dims]
    built = UNETR(
        1, 3, size, feature_size=4, hidden_size=12, mlp_dim=16, num_heads=3, spatial_dims=dims, proj_type=proj
    )
    return built.double().eval().requires_grad_(False)


def swin(dims: int = 2) -> nn.Module:
    torch.manual_seed(0)
    built = SwinUNETR(1, 3, feature_size=12, depths=(2, 2, 1, 1), num_heads=(3, 3, 3, 3), spatial_dims=dims)
    return built.double().eval().requires_grad_(False)


def attention_and_gradient(network: nn.Module, image: torch.Tensor, weights: torch.Tensor, path: str) -> torch.Tensor:
    """dS/dA as PyTorch has it, (B * windows, heads, queries, keys), without anything of the engine."""
    kept: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1].clone()

    handle = network.get_submodule(path).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            score = (network(image)[:, 1] * weights).sum()
            (gradient,) = torch.autograd.grad(score, kept[-1])
    finally:
        handle.remove()
    return gradient


@pytest.mark.parametrize(("dims", "proj"), [(3, "conv"), (2, "conv"), (3, "perceptron")])
def test_seg_legrad_of_unetr_is_the_mean_positive_gradient_of_each_patch(dims: int, proj: str) -> None:
    network, size = unetr(dims, proj), (32, 16, 48)[:dims]
    image, weights = torch.randn(1, 1, *size).double(), torch.rand(size).double()
    path = "vit.blocks.7.attn.drop_weights"
    found = activation_map(network, image, weights, 1, path, "seg-legrad")
    gradient = attention_and_gradient(network, image, weights, path)
    expected = gradient.clamp(min=0).mean(dim=(0, 1, 2)).view(*[n // 16 for n in size])  # patches in row-major order
    assert expected.any()
    assert close(found, expected, size=expected.max())


@pytest.mark.parametrize("size", [(64, 96), (32, 64, 32)], ids=["2D", "3D"])
def test_seg_legrad_of_swinunetr_puts_moved_windows_back(size: tuple[int, ...]) -> None:
    network, dims = swin(len(size)), len(size)
    image, weights = torch.randn(1, 1, *size).double(), torch.rand(size).double()
    found = activation_map(network, image, weights, 1, SHIFTED, "seg-legrad")
    gradient = attention_and_gradient(network, image, weights, SHIFTED)
    tokens = [n // 2 for n in size]
    padded = [-(-n // 7) * 7 for n in tokens]  # windows of 7, moved by 3
    keys = gradient.clamp(min=0).mean(dim=(1, 2)).view(-1, *[7] * dims, 1)
    together = window_reverse(keys, (7,) * dims, [1, *padded])[0, ..., 0]
    expected = torch.roll(together, (3,) * dims, tuple(range(dims)))[tuple(slice(0, n) for n in tokens)]
    assert expected.any()
    assert close(found, expected, size=expected.max())


@pytest.mark.parametrize("path", [SHIFTED, "swinViT.layers2.0.blocks.1.attn.softmax"])
def test_attention_goes_to_a_map_and_back_unchanged(path: str) -> None:
    """A map of what it was is no change: the prediction stays the same to the last bit."""
    network, image = swin(), torch.randn(1, 1, 64, 96).double()
    plain = network(image)
    with leaves_at(network, [path]) as leaves:
        assert torch.equal(run_forward(network, leaves, image), plain)
        assert leaves[0].reached().shape[2:] == ((32, 48) if path == SHIFTED else (16, 24))


def test_over_windows_it_equals_one_graph_through_monais_inferer() -> None:
    network = unetr(2)
    windows = plan_windows((48, 40), WindowSettings(size=(32, 16), overlap=0.5))
    images, weights = torch.randn(1, 1, 48, 40).double(), torch.rand(1, 48, 40).double()
    path = "vit.blocks.3.attn.drop_weights"
    found = stitched_map(network, images, weights, 1, path, LEGRAD, windows)
    kept: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1].clone()

    handle = network.get_submodule(path).register_forward_hook(keep)
    with torch.enable_grad():
        score = (predict_windows(network, images, windows, 1)[:, 1] * weights).sum()
        gradients = torch.autograd.grad(score, kept)
    handle.remove()
    expected = torch.zeros(1, 48, 40).double()
    for box, gradient in zip(windows.boxes, gradients, strict=True):
        patches = gradient.clamp(min=0).mean(dim=(0, 1, 2)).view(1, 1, 2, 1)
        drawn = nn.functional.interpolate(patches, (32, 16), mode="bilinear", align_corners=False)[0]
        expected[(slice(None), *windows.source(box))] += windows.crop(drawn)
    assert len(windows.boxes) > 2
    assert close(found.values, expected, size=expected.max())


def test_attention_is_listed_with_its_grid_and_never_suggested() -> None:
    layers = list_layers(unetr(), 1, (32, 16, 48), (1.0, 2.0, 1.0))
    listed = [layer for layer in layers if layer.is_attention]
    assert len(listed) == 12
    assert {(layer.grid, layer.channels, layer.mm) for layer in listed} == {((2, 1, 3), 3 * 6, (16.0, 32.0, 16.0))}
    assert not suggest_layer(layers)[0].is_attention
    shifted = layer_named(list_layers(swin(), 1, (64, 96)), SHIFTED)
    assert (shifted.grid, shifted.channels) == ((32, 48), 3 * 49)


def test_seg_legrad_of_a_model_is_the_mean_over_its_blocks_and_can_be_checked(tmp_path: Path) -> None:
    tiny = open_model(write_tiny_bundle(tmp_path / "bundle"))
    network = unetr().float()
    model = replace(tiny, network=network, window=WindowSettings(size=(32, 16, 48)))
    volume = MetaTensor(torch.from_numpy(noise((32, 16, 48)))[None], affine=torch.eye(4, dtype=torch.float64))
    request = ExplainRequest.of(volume, model, "kidney", method="seg-legrad", region=Sphere((16.0, 8.0, 24.0), 5.0))
    found = explain(request)
    blocks = [
        explain(replace(request, question=replace(request.question, layer=f"vit.blocks.{n}.attn.drop_weights")))
        for n in range(12)
    ]
    mean = torch.stack([one.signed_map.as_tensor() for one in blocks]).mean(dim=0)
    assert close(found.signed_map.as_tensor(), mean, dtype=torch.float32, size=mean.max())
    assert "12 blocks" in found.layer.reason
    check = check_map(request, found)
    assert check.weights is not None
    assert len(check.weights.similarities) == 3


def test_networks_and_layers_without_attention_are_refused(tmp_path: Path) -> None:
    model = open_model(write_tiny_bundle(tmp_path / "bundle"))
    volume = MetaTensor(torch.from_numpy(noise((20, 18, 22)))[None], affine=torch.eye(4, dtype=torch.float64))
    with pytest.raises(EngineError) as none:
        explain(ExplainRequest.of(volume, model, "kidney", method="seg-legrad"))
    assert none.value.code == "attention-none"
    network = UNet(2, 1, 2, [4, 8], [2]).eval()
    with pytest.raises(EngineError) as other:
        activation_map(network, torch.zeros(1, 1, 16, 16), torch.ones(16, 16), 1, "model.0", "seg-legrad")
    assert other.value.code == "layer-not-attention"
