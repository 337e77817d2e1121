"""The authors' U-Net is the released one: same names, same numbers, same levels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor
from rounding import close
from torch.nn import functional as F

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.cam.layers import layer_named, list_layers
from SegHiResCAMLib.engine.cam.leaf import find_layer, true_name
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.models.authors_unet import AuthorsUNet

ENCODER, DECODER = [3, 2, 4, 8, 16, 32], [32, 16, 8, 4, 2, 5]


@pytest.fixture(scope="module")
def network() -> AuthorsUNet:
    """With statistics of its own, as after training."""
    torch.manual_seed(0)
    built = AuthorsUNet(ENCODER, DECODER).double()
    for _ in range(3):
        built(torch.randn(2, 3, 48, 48, dtype=torch.float64))
    return built.eval()


def by_hand(weights: dict[str, torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """The released network's forward pass in plain functions, and what it calls levels 0 to 8."""

    def convolved(x: torch.Tensor, name: str, numbers: tuple[int, ...]) -> torch.Tensor:
        for number in numbers:
            x = F.conv2d(x, weights[f"{name}.{number}.weight"], weights[f"{name}.{number}.bias"], padding=1)
            norm = [
                weights[f"{name}.{number + 1}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
            ]
            x = F.relu(F.batch_norm(x, *norm))
        return x

    def joined(x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return torch.cat([F.pad(x, (skip.shape[3] - x.shape[3], 0, skip.shape[2] - x.shape[2], 0)), skip], dim=1)

    levels: dict[int, torch.Tensor] = {}
    for level in range(5):
        x = F.max_pool2d(x, 2) if level else x
        x = levels[level] = convolved(x, f"encoder.{level}.conv_block_without_pool", (0, 3))
    x = F.conv_transpose2d(x, weights["upconv.weight"], weights["upconv.bias"], stride=2)
    for level in range(3):
        name = f"decoder.{level}.upconv_block_with_transpose"
        x = convolved(joined(x, levels[3 - level]), name, (0, 3))
        x = levels[5 + level] = F.conv_transpose2d(
            x, weights[f"{name}.6.weight"], weights[f"{name}.6.bias"], stride=2, padding=1
        )
    x = convolved(joined(x, levels[0]), "final_layer.0.conv_block", (0,))
    x = levels[8] = convolved(x, "final_layer.1.conv_block", (0,))
    return F.conv2d(x, weights["final_layer.2.conv_block.0.weight"], weights["final_layer.2.conv_block.0.bias"]), levels


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (37, 64), (64, 35)])
def test_logits_and_levels_are_those_of_the_released_program(network: AuthorsUNet, size: tuple[int, int]) -> None:
    image = torch.randn(1, 3, *size, dtype=torch.float64)
    expected, levels = by_hand(network.state_dict(), image)
    for level, activation in levels.items():
        seen: list[torch.Tensor] = []
        handle = find_layer(network, f"level-{level}").register_forward_hook(
            lambda _m, _i, out, seen=seen: seen.append(out)
        )
        logits = network(image)
        handle.remove()
        assert close(logits, expected)
        assert close(seen[0], activation)


def test_every_level_is_a_layer_that_can_be_explained(network: AuthorsUNet) -> None:
    layers = list_layers(network.float(), 3, (32, 32))
    grids = [layer_named(layers, true_name(network, f"level-{level}")).grid[0] for level in range(9)]
    assert grids == [32, 16, 8, 4, 2, 8, 16, 32, 32]
    network.double()


def test_a_shallower_network_lacks_levels_3_and_7() -> None:
    aliases = AuthorsUNet(ENCODER[:5], DECODER[1:]).layer_aliases
    assert aliases["level-4"] == "encoder.3.conv_block_without_pool"
    assert not {"level-3", "level-7"} & aliases.keys()


@pytest.mark.parametrize("channels", [([3, 2], [2, 5]), (ENCODER, DECODER[1:]), (ENCODER, [32, 16, 8, 4, 3, 5])])
def test_channels_that_do_not_belong_together_are_refused(channels: tuple[list[int], list[int]]) -> None:
    with pytest.raises(ValueError, match="channels"):
        AuthorsUNet(*channels)


def test_a_checkpoint_of_the_paper_opens_and_is_explained_at_its_levels(network: AuthorsUNet, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "model.pt")
    content = {
        "network": {
            "class": "Vanilla_UNet_2d",
            "arguments": {"encoder_channels": ENCODER, "decoder_channels": DECODER},
        },
        "inputs": ["R", "G", "B"],
        "labels": [{"name": name} for name in ("road", "car", "tree", "sky")],
    }
    (tmp_path / "model.json").write_text(json.dumps(content))
    model = open_model(tmp_path / "model.pt")
    assert (model.spatial_dims, model.in_channels, model.inputs) == (2, 3, ("R", "G", "B"))
    volume = MetaTensor(torch.randn(3, 32, 32, 2), affine=torch.eye(4, dtype=torch.float64))
    mask = MetaTensor(torch.ones(1, 32, 32, 2), affine=volume.affine)
    maps = [
        explain(ExplainRequest.of(volume, model, "car", layer=layer, mask=mask)).signed_map
        for layer in ("level-4", "encoder.4.conv_block_without_pool")
    ]
    assert torch.equal(maps[0].as_tensor(), maps[1].as_tensor())
    assert maps[0].abs().max() > 0
    content["network"]["arguments"]["decoder_channels"] = [32, 16]
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(EngineError, match=r"decoder_channels|equally many"):
        open_model(tmp_path / "model.pt")
