"""Weights are found whatever training wrapped around them, and a wrong description never passes for a right one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks import nets
from refusals import refusal
from torch import nn

from SegHiResCAMLib.engine import open_model
from SegHiResCAMLib.engine.models.describe import describe_checkpoint
from SegHiResCAMLib.engine.output import main_output

UNET: dict[str, Any] = {
    "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2], "num_res_units": 1, "norm": "batch",
}  # fmt: skip
IMAGE = torch.linspace(-1, 1, 32 * 32).reshape(1, 1, 32, 32)

Weights = dict[str, torch.Tensor]
Saved = Callable[..., Path]


def build(name: str, arguments: dict[str, Any], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: nn.Module = getattr(nets, name)(**arguments)
    return network.eval()


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """A checkpoint with a description of its network beside it."""

    def save(content: object, name: str = "UNet", arguments: dict[str, Any] = UNET, file: str = "model.pt") -> Path:
        torch.save(content, tmp_path / file)
        description = {"network": {"class": name, "arguments": arguments}, "labels": [{"name": "kidney"}]}
        (tmp_path / "model.json").write_text(json.dumps(description), encoding="utf-8")
        return tmp_path / file

    return save


def assert_opens_as(network: nn.Module, path: Path, image: torch.Tensor = IMAGE) -> tuple[str, ...]:
    """The opened network predicts exactly what this one does; gives the notes."""
    model = open_model(path)
    with torch.no_grad():
        assert torch.equal(main_output(model.network(image)), main_output(network(image)))
    return model.notes


def lightning(weights: Weights, prefix: str, beside: Weights) -> dict[str, Any]:
    """As Lightning's ModelCheckpoint lays a checkpoint out."""
    return {
        "epoch": 3,
        "global_step": 400,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {**{prefix + name: one for name, one in weights.items()}, **beside},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'dice'}": {"best_model_score": torch.tensor(0.9)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}],
        "lr_schedulers": [],
        "hyper_parameters": {"lr": 1e-3},
    }


@pytest.mark.parametrize("prefix", ["_model.", "model.", "net.", "network.", "student_unet.", "a.b.c.", ""])
def test_a_lightning_checkpoint_opens_whatever_its_module_calls_the_network(prefix: str, saved: Saved) -> None:
    network = build("UNet", UNET)
    beside = {"loss.weight": torch.ones(2), "metric.total": torch.zeros(())}
    path = saved(lightning(network.state_dict(), prefix, beside), file="model.ckpt")
    notes = assert_opens_as(network, path)
    assert len(notes) == 1
    assert "'loss.weight'" in notes[0]


@pytest.mark.parametrize("file", ["model.pt", "model.pth", "model.pth.tar", "model.ckpt", "model.bin"])
def test_a_checkpoint_opens_under_every_usual_ending(file: str, saved: Saved) -> None:
    network = build("UNet", UNET)
    assert assert_opens_as(network, saved(network.state_dict(), file=file)) == ()


def test_parallel_and_compiled_networks_open_as_themselves(saved: Saved) -> None:
    network = build("UNet", UNET)
    for wrapped in (
        nn.DataParallel(network),
        torch.compile(network),
        nn.DataParallel(torch.compile(network)),
        nn.ModuleDict({"net": torch.compile(nn.DataParallel(network))}),
    ):
        assert assert_opens_as(network, saved({"epoch": 1, "model": wrapped.state_dict()})) == ()


def trained_twice() -> tuple[nn.Module, nn.Module, nn.Module]:
    """A network, another one, and torch's average of both."""
    first, second = build("UNet", UNET, 1), build("UNet", UNET, 2)
    averaged = torch.optim.swa_utils.AveragedModel(first, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    averaged.update_parameters(first)
    averaged.update_parameters(second)
    return first, second, averaged.eval()


def test_an_averaged_network_opens_with_its_averages(saved: Saved) -> None:
    _, _, averaged = trained_twice()
    assert assert_opens_as(averaged, saved(averaged.state_dict())) == ()


@pytest.mark.parametrize("layout", ["mapping", "lightning", "lightning, averages first"])
def test_averaged_weights_are_preferred_to_the_last_ones_and_the_choice_is_noted(layout: str, saved: Saved) -> None:
    _, last, averaged = trained_twice()
    raw = {f"model.{name}": one for name, one in last.state_dict().items()}
    means = {f"ema_model.{name}": one for name, one in averaged.state_dict().items()}
    content = {
        "mapping": {"model": last.state_dict(), "model_ema": averaged.state_dict()},
        "lightning": {"state_dict": raw | means},
        "lightning, averages first": {"state_dict": means | raw},
    }[layout]
    (note,) = assert_opens_as(averaged, saved(content))
    assert "2 sets of weights" in note
    assert "ema" in note.partition(" is used")[0]


def test_the_only_difference_of_an_early_unetr_is_never_used(saved: Saved) -> None:
    arguments = {
        "in_channels": 1, "out_channels": 2, "img_size": [32, 32], "feature_size": 4, "hidden_size": 24, "mlp_dim": 48, "num_heads": 2,
        "spatial_dims": 2,
    }  # fmt: skip
    network = build("UNETR", arguments)
    weights = {name: one for name, one in network.state_dict().items() if "norm_cross_attn" not in name}
    assert len(weights) < len(network.state_dict())
    assert assert_opens_as(network, saved(weights, "UNETR", arguments)) == ()
    weights["vit.patch_embedding.cls_token"] = torch.zeros(1, 1, 24)
    assert_opens_as(network, saved(weights, "UNETR", arguments))
    early = {**arguments, "pos_embed": "conv"}
    assert assert_opens_as(network, saved(weights, "UNETR", early)) == ()


def test_a_swin_unetr_opens_with_the_names_and_arguments_of_early_versions(saved: Saved) -> None:
    arguments = {"in_channels": 1, "out_channels": 2, "feature_size": 12, "spatial_dims": 2}
    network = build("SwinUNETR", arguments)
    weights = {name.replace(".mlp.linear", ".mlp.fc"): one for name, one in network.state_dict().items()}
    image = torch.randn(1, 1, 64, 64)
    (note,) = assert_opens_as(network, saved(weights, "SwinUNETR", {**arguments, "img_size": [64, 64]}), image)
    assert "img_size" in note


def test_one_of_several_names_of_the_same_weights_is_enough(saved: Saved) -> None:
    """DynUNet names most of its weights twice; safetensors keeps one of the two."""
    arguments = {
        "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "kernel_size": [3, 3, 3], "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
    }  # fmt: skip
    network = build("DynUNet", arguments)
    weights = {name: one for name, one in network.state_dict().items() if not name.startswith("skip_layers.")}
    assert len(weights) < len(network.state_dict())
    assert assert_opens_as(network, saved(weights, "DynUNet", arguments)) == ()


def test_counters_of_training_may_be_missing(saved: Saved) -> None:
    network = build("UNet", UNET)
    weights = {name: one for name, one in network.state_dict().items() if "num_batches" not in name}
    assert assert_opens_as(network, saved(weights)) == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bias": False}, "do not belong to it"),  # the file's biases would be lost
        ({"norm": "instance"}, "do not belong to it"),  # and its statistics
        ({"num_res_units": 0}, "missing"),
        ({"channels": [4, 9]}, "another shape"),
        ({"out_channels": 3}, "another shape"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "_model."])
def test_a_wrong_description_is_refused_for_what_differs(
    prefix: str, change: dict[str, Any], says: str, saved: Saved
) -> None:
    weights = {prefix + name: one for name, one in build("UNet", UNET).state_dict().items()}
    error = refusal(lambda: open_model(saved({"state_dict": weights}, arguments={**UNET, **change})))
    assert error.code == "weights-mismatch"
    assert says in error.message


def test_a_weight_that_the_forward_pass_uses_may_not_be_missing(saved: Saved) -> None:
    weights = build("UNet", UNET).state_dict()
    for name in ("model.0.conv.unit0.conv.weight", "model.0.conv.unit0.adn.N.running_var", "model.2.0.conv.bias"):
        less = copy.copy(weights)
        del less[name]
        error = refusal(lambda less=less: open_model(saved(less)))  # type: ignore[misc]
        assert error.code == "weights-mismatch"
        assert name in error.message


def test_weights_that_are_not_finite_are_refused_behind_a_prefix_too(saved: Saved) -> None:
    weights = {f"net.{name}": one for name, one in build("UNet", UNET).state_dict().items()}
    weights["net.model.2.0.conv.bias"][:] = torch.nan
    assert refusal(lambda: open_model(saved({"state_dict": weights}))).code == "weights-not-finite"


def test_values_beside_the_weights_may_be_anything(saved: Saved) -> None:
    network = build("UNet", UNET)
    content = lightning(network.state_dict(), "net.", {"loss.weight": torch.full((2,), torch.nan)})
    assert_opens_as(network, saved(content))


@pytest.mark.parametrize("prefix", ["", "_model.", "model.", "module._orig_mod."])
def test_a_wrapped_network_is_recognised_by_its_weights(prefix: str, saved: Saved) -> None:
    network = build("UNet", UNET)
    draft = describe_checkpoint(saved(lightning(network.state_dict(), prefix, {"loss.weight": torch.ones(2)})))
    assert draft.content["network"]["class"] == "UNet"
    assert draft.content["network"]["arguments"]["channels"] == UNET["channels"]
    assert any("loss.weight" in item for item in draft.content["to_do"])


def test_many_names_with_many_dots_are_matched_at_once(saved: Saved) -> None:
    network = build("UNet", UNET)
    weights = {f"{'a.' * 200}{number}": torch.zeros(()) for number in range(2000)}
    assert_opens_as(network, saved({"state_dict": weights | network.state_dict()}))
