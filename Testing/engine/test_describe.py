"""Networks are recognised by their weights: what `describe` drafts builds a network that takes them all and predicts the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.networks import nets

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.models.authors_unet import AuthorsUNet
from SegHiResCAMLib.engine.models.describe import describe_checkpoint, recognise, write_draft
from SegHiResCAMLib.engine.output import main_output

DIMS = st.sampled_from([2, 3])
FEW = st.integers(1, 3)
SOME = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def assert_recognised(name: str, network: torch.nn.Module, image: torch.Tensor, tolerance: float = 0) -> dict[str, Any]:
    """The draft's network has the class's name and predicts the same; gives the draft's arguments."""
    for module in network.modules():  # statistics as after training, not zeros and ones
        if getattr(module, "running_mean", None) is not None:
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    network.eval()
    weights = network.state_dict()
    found, built = recognise(weights, "model.pt")
    assert found.target == name
    json.dumps(found.arguments, allow_nan=False)
    with torch.no_grad():
        ours, theirs = main_output(built(image)), main_output(network(image))
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    return found.arguments


@SOME
@given(st.data())
def test_every_unet_is_recognised_and_predicts_the_same(data: st.DataObject) -> None:
    dims, levels = data.draw(DIMS), data.draw(st.integers(2, 4))
    units = data.draw(st.integers(0, 3))
    strides = (
        data.draw(st.lists(st.sampled_from([1, 2]), min_size=levels - 1, max_size=levels - 1))
        if units
        else [2] * (levels - 1)
    )
    arguments = {
        "spatial_dims": dims,
        "in_channels": data.draw(FEW),
        "out_channels": data.draw(FEW),
        "channels": data.draw(st.lists(st.integers(2, 9), min_size=levels, max_size=levels)),
        "strides": strides,
        "kernel_size": data.draw(st.sampled_from([3, 5])),
        "up_kernel_size": 3,
        "num_res_units": units,
        "act": data.draw(st.sampled_from(["PRELU", "RELU"])),
        "norm": data.draw(st.sampled_from(["batch", "instance", ("instance", {"affine": True})])),
        "bias": data.draw(st.booleans()),
    }
    found = assert_recognised("UNet", nets.UNet(**arguments), torch.randn(1, arguments["in_channels"], *[16] * dims))
    assert found["strides"] == strides
    assert found["num_res_units"] == units


@SOME
@given(st.data())
def test_every_basic_unet_is_recognised_and_predicts_the_same(data: st.DataObject) -> None:
    dims = data.draw(DIMS)
    network = nets.BasicUNet(
        spatial_dims=dims,
        in_channels=data.draw(FEW),
        out_channels=data.draw(FEW),
        features=data.draw(st.lists(st.integers(1, 4).map(lambda n: 2 * n), min_size=6, max_size=6)),
        norm=data.draw(st.sampled_from(["batch", "instance", ("instance", {"affine": True})])),
        bias=data.draw(st.booleans()),
        upsample=data.draw(st.sampled_from(["deconv", "nontrainable", "pixelshuffle"])),
    )
    channels = network.state_dict()["conv_0.conv_0.conv.weight"].shape[1]
    assert_recognised("BasicUNet", network, torch.randn(1, channels, *[32] * dims))


@SOME
@given(st.data())
def test_every_dyn_unet_is_recognised_and_predicts_the_same(data: st.DataObject) -> None:
    dims, levels = data.draw(DIMS), data.draw(st.integers(3, 4))
    strides = [[1] * dims] + [
        data.draw(st.lists(st.sampled_from([1, 2]), min_size=dims, max_size=dims)) for _ in range(levels - 1)
    ]
    supervised = data.draw(st.booleans())
    network = nets.DynUNet(
        dims,
        data.draw(FEW),
        data.draw(FEW),
        kernel_size=[data.draw(st.sampled_from([[3] * dims, [3] * (dims - 1) + [1]])) for _ in range(levels)],
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=data.draw(st.lists(st.integers(2, 8), min_size=levels, max_size=levels)),
        norm_name=data.draw(st.sampled_from(["batch", "instance", ("INSTANCE", {"affine": True})])),
        deep_supervision=supervised,
        deep_supr_num=data.draw(st.integers(1, levels - 2)) if supervised else 1,
        res_block=data.draw(st.booleans()),
        trans_bias=data.draw(st.booleans()),
    )
    channels = network.state_dict()["input_block.conv1.conv.weight"].shape[1]
    found = assert_recognised("DynUNet", network, torch.randn(1, channels, *[16] * dims))
    assert found["strides"] == strides


@SOME
@given(st.data())
def test_every_seg_res_net_is_recognised_and_predicts_the_same(data: st.DataObject) -> None:
    dims, levels, channels = data.draw(DIMS), data.draw(st.integers(2, 3)), data.draw(FEW)
    upsample = data.draw(st.sampled_from(["nontrainable", "deconv", "pixelshuffle"]))
    blocks_down = data.draw(st.lists(FEW, min_size=levels, max_size=levels))
    blocks_up = data.draw(st.lists(FEW, min_size=levels - 1, max_size=levels - 1))
    network = nets.SegResNet(
        dims,
        8,
        channels,
        data.draw(FEW),
        norm=data.draw(st.sampled_from(["batch", ("GROUP", {"num_groups": 8})])),
        blocks_down=blocks_down,
        blocks_up=blocks_up,
        upsample_mode=upsample,
    )
    found = assert_recognised("SegResNet", network, torch.randn(1, channels, *[8] * dims))
    assert (found["blocks_down"], found["blocks_up"], found["upsample_mode"]) == (blocks_down, blocks_up, upsample)


@SOME
@given(st.data())
def test_every_seg_res_net_ds_is_recognised_and_predicts_the_same(data: st.DataObject) -> None:
    dims, levels, channels = data.draw(DIMS), data.draw(st.integers(2, 3)), data.draw(FEW)
    network = nets.SegResNetDS(
        dims,
        8,
        channels,
        data.draw(FEW),
        norm=data.draw(st.sampled_from(["batch", "instance", ("instance", {"affine": True})])),
        blocks_down=data.draw(st.lists(FEW, min_size=levels, max_size=levels)),
        dsdepth=data.draw(st.integers(1, levels - 1)),
        upsample_mode=data.draw(st.sampled_from(["nontrainable", "deconv"])),
    )
    assert_recognised("SegResNetDS", network, torch.randn(1, channels, *[8] * dims))


@SOME
@given(st.data())
def test_every_attention_unet_is_recognised_and_predicts_the_same(data: st.DataObject) -> None:
    dims, levels, channels = data.draw(DIMS), data.draw(st.integers(2, 4)), data.draw(FEW)
    widths = data.draw(st.lists(st.integers(1, 4).map(lambda n: 2 * n), min_size=levels, max_size=levels))
    network = nets.AttentionUnet(
        dims, channels, data.draw(FEW), widths, [2] * (levels - 1), kernel_size=data.draw(st.sampled_from([3, 5]))
    )
    found = assert_recognised("AttentionUnet", network, torch.randn(1, channels, *[16] * dims))
    assert found["channels"] == widths


@pytest.mark.parametrize(
    ("name", "build", "size"),
    [
        ("VNet", lambda: nets.VNet(2, 1, 2), (32, 32)),
        ("VNet", lambda: nets.VNet(2, 2, 3, act="prelu", bias=True), (32, 32)),
        ("UNETR", lambda: nets.UNETR(1, 2, (32, 32), 4, 64, 96, 1, spatial_dims=2), (32, 32)),
        (
            "UNETR",
            lambda: nets.UNETR(1, 2, (32, 32, 32), 4, 128, 96, 2, "perceptron", "batch", False, False, qkv_bias=True),
            (32, 32, 32),
        ),
        ("SwinUNETR", lambda: nets.SwinUNETR(in_channels=1, out_channels=2, feature_size=12, spatial_dims=2), (64, 64)),
        (
            "SwinUNETR",
            lambda: nets.SwinUNETR(
                in_channels=2, out_channels=2, feature_size=12, spatial_dims=2, use_v2=True, window_size=4,
                depths=(1, 1, 1, 1), num_heads=(3, 3, 6, 6), qkv_bias=False, mlp_ratio=2.0,
            ),
            (64, 64),
        ),
        ("Vanilla_UNet_2d", lambda: AuthorsUNet([1, 2, 4, 8, 16, 32], [32, 16, 8, 4, 2, 3]), (32, 40)),
        ("Vanilla_UNet_2d", lambda: AuthorsUNet([3, 2, 4, 8], [8, 4, 2, 1]), (32, 40)),
    ],
)  # fmt: skip
def test_networks_with_few_arguments_are_recognised(
    name: str, build: Callable[[], torch.nn.Module], size: tuple
) -> None:
    torch.manual_seed(0)
    network = build()
    first = network.state_dict()
    channels = next(tensor.shape[1] for tensor in first.values() if tensor.ndim == len(size) + 2)
    assert_recognised(name, network, torch.randn(1, channels, *size), 1e-5)


@pytest.mark.parametrize(
    ("network", "guesses"),
    [
        (nets.UNet(3, 1, 2, (2, 4), (3,), norm="batch"), ["strides"]),
        (nets.UNet(3, 1, 2, (2, 4), (2,), act="elu", norm="instance"), ["strides", "act", "norm"]),
        (nets.SegResNet(3, 8, blocks_down=(1, 1), blocks_up=(1,)), ["act", "use_conv_final", "norm"]),
        (nets.UNETR(1, 2, (16, 16), 2, 64, 8, 2, spatial_dims=2), ["img_size", "num_heads", "norm_name"]),
    ],
)
def test_what_weights_cannot_show_is_named_as_a_guess(
    network: torch.nn.Module, guesses: list[str], tmp_path: Path
) -> None:
    torch.save(network.state_dict(), tmp_path / "model.pt")
    to_do = " ".join(describe_checkpoint(tmp_path / "model.pt").content["to_do"])
    assert all(f"network.arguments.{guess}: a guess" in to_do for guess in guesses)
    assert to_do.count("network.arguments") == len(guesses)
    assert all(f"{field}:" in to_do for field in ("labels", "orientation", "spacing", "intensity", "window"))


def test_a_draft_opens_once_it_is_finished_and_not_before(tmp_path: Path) -> None:
    saved = nets.UNet(3, 1, 3, (2, 4), (2,)).eval()
    torch.save(saved.state_dict(), tmp_path / "model.pt")
    file = tmp_path / "model.json"
    write_draft(describe_checkpoint(tmp_path / "model.pt"), file)
    with pytest.raises(EngineError, match="with open questions: labels") as caught:
        open_model(tmp_path / "model.pt")
    assert caught.value.code == "description-draft"
    content = json.loads(file.read_text())
    del content["to_do"]
    file.write_text(json.dumps(content))
    model = open_model(tmp_path / "model.pt")
    assert [label.name for label in model.labels] == ["structure 1", "structure 2"]
    image = torch.randn(1, 1, 8, 8, 8)
    assert torch.equal(model.network(image), saved(image))


def test_a_description_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    torch.save(nets.UNet(3, 1, 3, (2, 4), (2,)).state_dict(), tmp_path / "model.pt")
    draft, file = describe_checkpoint(tmp_path / "model.pt"), tmp_path / "model.json"
    file.write_text("mine")
    with pytest.raises(EngineError, match="exists already"):
        write_draft(draft, file)
    assert file.read_text() == "mine"
    write_draft(draft, file, replace=True)
    assert json.loads(file.read_text())["network"]["class"] == "UNet"
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


@pytest.mark.parametrize(
    "weights",
    [
        torch.nn.Linear(2, 3).state_dict(),
        {name: tensor[..., :1] for name, tensor in nets.UNet(3, 1, 3, (2, 4), (2,)).state_dict().items()},
        {"model.0.conv.weight": torch.zeros(()), "model.1.submodule.conv.weight": torch.zeros(2)},
    ],
)
def test_other_weights_are_refused_with_the_names_they_begin_with(weights: dict, tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "model.pt")
    with pytest.raises(EngineError, match=next(iter(weights))) as caught:
        describe_checkpoint(tmp_path / "model.pt")
    assert caught.value.code == "network-unrecognised"


def test_names_of_weights_cannot_break_the_message_or_command_the_terminal(tmp_path: Path) -> None:
    torch.save({"two\nlines\x1b[2J": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(EngineError, match=r"'two lines \[2J'"):
        describe_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("positions", [(1, 1, 9984), (1, 10**12 + 39, 0)])
def test_a_small_file_cannot_ask_for_a_huge_network(tmp_path: Path, positions: tuple[int, ...]) -> None:
    """Names of a UNETR of terabytes, with tensors of a few numbers."""
    shapes = {
        "vit.patch_embedding.position_embeddings": positions,
        "vit.patch_embedding.patch_embeddings.weight": (1,),
        "encoder1.layer.conv1.conv.weight": (9999, 1, 1, 1, 1),
        "vit.blocks.0.mlp.linear1.weight": (9999,),
        "out.conv.conv.weight": (2, 1),
    }
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "model.pt")
    with pytest.raises(EngineError):
        describe_checkpoint(tmp_path / "model.pt")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "name", "config"),
    [
        ("kits19-unet2d/basicunet2d_kits19_kidney.pt", "BasicUNet", "kits19-unet2d"),
        ("spleen-unet3d/spleen_unet3d_state_dict.pt", "UNet", "spleen-unet3d"),
    ],
)
def test_real_networks_are_recognised(test_data: Path, file: str, name: str, config: str) -> None:
    draft = describe_checkpoint(test_data / file)
    bundle = json.loads((Path(__file__).parents[1] / "data" / config / "configs" / "inference.json").read_text())
    given = {key: value for key, value in bundle["network_def"].items() if key != "_target_"}
    found = draft.content["network"]["arguments"]
    assert draft.content["network"]["class"] == name
    assert {key: found[key] for key in given} == given
