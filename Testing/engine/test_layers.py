"""The list of layers and the suggested one."""

from __future__ import annotations

import pytest
import torch
from monai.networks import nets

from SegHiResCAMLib.engine.cam import activation_map
from SegHiResCAMLib.engine.cam.layers import list_layers, suggest_layer
from SegHiResCAMLib.engine.errors import EngineError

# Network, window, and the block a person would choose: the coarsest grid with 8 positions or more, computed last.
SUGGESTED = [
    (
        nets.UNet(3, 1, 4, (4, 8, 16, 32), (2, 2, 2), num_res_units=2),
        (48,) * 3,
        "model.1.submodule.1.submodule.2",
        (12,) * 3,
    ),
    (nets.UNet(2, 1, 4, (4, 8, 16), (2, 2)), (64, 48), "model.1.submodule.1.submodule", (16, 12)),
    (nets.BasicUNet(2, 1, 1), (512, 512), "down_4", (32, 32)),
    (nets.BasicUNet(3, 1, 4), (96,) * 3, "upcat_4", (12,) * 3),
    (nets.DynUNet(3, 1, 4, [3] * 4, [1, 2, 2, 2], [2] * 3), (64,) * 3, "bottleneck", (8,) * 3),
    (nets.SegResNet(3, in_channels=1, out_channels=4), (96,) * 3, "down_layers.3", (12,) * 3),
    (nets.AttentionUnet(3, 1, 4, (4, 8, 16), (2, 2)), (32,) * 3, "model.1.submodule.1.submodule", (8,) * 3),
    (
        nets.UNETR(1, 4, (96,) * 3, num_heads=2, hidden_size=32, mlp_dim=32, feature_size=4),
        (96,) * 3,
        "decoder5",
        (12,) * 3,
    ),
    (nets.SwinUNETR(1, 4, feature_size=12), (96,) * 3, "decoder4", (12,) * 3),
]


@pytest.mark.parametrize(("network", "window", "name", "grid"), SUGGESTED, ids=lambda value: type(value).__name__)
def test_the_suggested_layer_is_the_deepest_block_that_can_still_be_read(network, window, name, grid) -> None:
    layer, reason = suggest_layer(list_layers(network.eval(), 1, window))
    assert (layer.name, layer.grid) == (name, grid)
    assert "8 positions" in reason


@pytest.mark.parametrize(
    ("network", "window"),
    [
        (nets.UNet(2, 1, 2, (4, 8, 16), (2, 2), num_res_units=2, dropout=0.1), (16, 16)),
        (nets.BasicUNet(2, 1, 2, features=(4, 4, 4, 8, 8, 4)), (32, 32)),
        (nets.SegResNet(2, 8, 1, 2, blocks_down=(1, 1), blocks_up=(1,)), (16, 16)),
        (
            nets.DynUNet(
                2, 1, 2, [3] * 3, [1, 2, 2], [2] * 2, filters=[4, 4, 8], deep_supervision=True, deep_supr_num=1
            ),
            (16, 16),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_listed_layer_computes_on_the_grid_it_names_and_every_other_one_is_refused(network, window) -> None:
    network.eval()
    image, segment = torch.randn(1, 1, *window), torch.ones(window)
    for layer in list_layers(network, 1, window):
        if layer.reason.startswith(("takes no part", "has no influence", "returns a ")):
            with pytest.raises(EngineError):
                activation_map(network, image, segment, 1, layer.name)
        elif not layer.reason:
            assert activation_map(network, image, segment, 1, layer.name).shape == layer.grid


def test_millimetres_are_the_spacing_times_the_stride() -> None:
    network = nets.UNet(3, 1, 2, (4, 8, 16), (2, 2))
    layers = {layer.name: layer for layer in list_layers(network, 1, (32, 32, 16), (0.5, 0.5, 3.0))}
    assert layers["model.1.submodule.0"].mm == (2.0, 2.0, 12.0)
    assert layers["model.0"].channels == 4


def test_modules_shared_under_several_names_keep_their_parameters() -> None:
    network = nets.DynUNet(2, 1, 2, [3] * 3, [1, 2, 2], [2] * 2, filters=[4, 4, 8])
    before = [id(parameter) for parameter in network.parameters()]
    list_layers(network, 1, (16, 16))
    assert [id(parameter) for parameter in network.parameters()] == before


def test_listing_runs_nothing_and_leaves_nothing_behind() -> None:
    network = nets.BasicUNet(3, 1, 2).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    list_layers(network, 1, (256, 256, 256))  # 50 GB of activations if it were computed
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_window_the_network_cannot_take_is_refused_with_a_sentence() -> None:
    with pytest.raises(EngineError) as raised:
        list_layers(nets.UNet(2, 1, 2, (4, 8, 16), (2, 2)), 1, (31, 17))
    assert raised.value.code == "window-unfit"
    assert "31 x 17" in raised.value.sentence
