"""OpenVINO computes forward passes only where it agrees with PyTorch, and says so."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor
from monai.networks.nets import BasicUNet, UNet
from monai.transforms import Compose
from refusals import refusal
from torch import nn

from SegHiResCAMLib.engine.inference import engine_choice
from SegHiResCAMLib.engine.inference.engine_choice import CHECKED, FEW, LOGITS, Forward, choose_forward, spread
from SegHiResCAMLib.engine.inference.segmentation import decide, segment
from SegHiResCAMLib.engine.models import SegmentationModel, WindowSettings, open_model
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.question import Engine

CPU = torch.device("cpu")

needs_openvino = pytest.mark.skipif(not engine_choice.is_installed(), reason="OpenVINO is not installed")


def a_model(dims: int) -> SegmentationModel:
    torch.manual_seed(0)
    network = (
        UNet(3, 1, 3, channels=(4, 8, 16), strides=(2, 2), num_res_units=1, norm="batch")
        if dims == 3
        else BasicUNet(2, 1, 3, features=(4, 4, 8, 8, 16, 4))
    )
    labels = tuple(Label(name, value, value, (1.0, 0.0, 0.0)) for value, name in enumerate(("kidney", "cyst"), 1))
    return SegmentationModel(
        "Tiny", network.eval().requires_grad_(False), dims, 1, labels, "softmax", Compose([]),
        WindowSettings((16, 16, 16), 0.25, "gaussian") if dims == 3 else WindowSettings(), "0" * 64, "here",
    )  # fmt: skip


def chosen(
    model: SegmentationModel, windows: int = 100, engine: Engine = "auto", device: torch.device = CPU
) -> Forward:
    window = torch.randn(
        1, 1, *[32 if model.spatial_dims == 2 else 16] * model.spatial_dims, generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        return choose_forward(model, device, windows, lambda: iter([window]), partial(decide, model), engine)


@needs_openvino
@pytest.mark.parametrize("dims", [2, 3])
def test_openvino_answers_as_pytorch_does(dims: int) -> None:
    model = a_model(dims)
    found = chosen(model)
    assert found.engine.startswith("OpenVINO")
    images = torch.randn(3, 1, *[32 if dims == 2 else 16] * dims)
    with torch.no_grad():
        own = model.network(images)
    assert (found.network(images) - own).abs().max() <= LOGITS * (own.max() - own.min())


@needs_openvino
@pytest.mark.parametrize("dims", [2, 3])
def test_a_volume_is_segmented_the_same_way_by_both_and_the_answer_says_by_which(dims: int) -> None:
    model = a_model(dims)
    values = torch.randn(1, 32, 32, 24, generator=torch.Generator().manual_seed(2))
    volume = MetaTensor(values, affine=torch.eye(4, dtype=torch.float64))
    by = {engine: segment(model, volume, device="cpu", engine=engine) for engine in ("torch", "openvino", "auto")}
    assert by["torch"].engine == "PyTorch: as chosen"
    assert by["openvino"].engine.startswith("OpenVINO")
    assert by["auto"].engine.startswith("OpenVINO")
    differing = (by["torch"].labels != by["openvino"].labels).float().mean()
    assert differing < 1e-4  # at ties
    assert len(by["torch"].labels.unique()) > 1


@needs_openvino
def test_a_network_is_converted_once_and_then_serves_short_jobs_too() -> None:
    model = a_model(2)
    assert (
        chosen(model, FEW - 1).engine == f"PyTorch: too few windows ({FEW - 1}) to be worth a conversion for OpenVINO"
    )
    first, again = chosen(model), chosen(model, CHECKED + 1)
    assert again.network is first.network
    assert chosen(model, CHECKED).engine == f"PyTorch: too few windows ({CHECKED}) to be worth a check of OpenVINO"
    assert chosen(model, CHECKED, "openvino").network is first.network


@needs_openvino
def test_a_network_that_openvino_cannot_read_is_computed_by_pytorch() -> None:
    class Odd(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.cat([images, torch.special.bessel_j0(images), images], 1)

    model = a_model(2)
    model.network = Odd()
    found = chosen(model)
    assert found.network is model.network
    assert found.engine.startswith("PyTorch: OpenVINO cannot compute this network")


@needs_openvino
def test_converting_reports_nothing_to_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    main = pytest.importorskip("openvino_telemetry.main")
    told: list[str] = []
    for name in ("init", "send_event", "start_session", "send_error"):
        monkeypatch.setattr(main.Telemetry, name, lambda *_args, name=name, **_options: told.append(name))
    chosen(a_model(3))
    assert told == []


@pytest.mark.parametrize("wrong", [1.01, float("nan")])
def test_an_engine_that_disagrees_is_not_used(monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    model = a_model(3)
    monkeypatch.setattr(engine_choice, "is_installed", lambda: True)
    monkeypatch.setattr(engine_choice, "convert", lambda network, _window: lambda images: network(images) * wrong)
    found = chosen(model)
    assert found.network is model.network
    assert found.engine.startswith("PyTorch: OpenVINO differed by")


@pytest.mark.parametrize("odd", [0, 1, 2])
def test_an_engine_that_disagrees_on_any_window_is_not_used(monkeypatch: pytest.MonkeyPatch, odd: int) -> None:
    model, windows = a_model(2), [torch.full((1, 1, 32, 32), float(number)) for number in range(3)]
    monkeypatch.setattr(engine_choice, "is_installed", lambda: True)
    monkeypatch.setattr(
        engine_choice,
        "convert",
        lambda network, _: lambda images: network(images) * (1.01 if images[0, 0, 0, 0] == odd else 1),
    )
    with torch.no_grad():
        found = choose_forward(model, CPU, 100, lambda: iter(windows), partial(decide, model), "auto")
    assert found.network is model.network
    assert found.engine.startswith("PyTorch: OpenVINO differed by")


def test_windows_to_compare_on_are_spread_over_all() -> None:
    assert [spread(count) for count in (1, 2, 3, 30)] == [[0], [0, 1], [0, 1, 2], [5, 15, 25]]


def test_without_openvino_pytorch_computes_and_asking_for_it_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice, "is_installed", lambda: False)
    assert chosen(a_model(2)).engine == "PyTorch: OpenVINO is not installed"
    error = refusal(lambda: chosen(a_model(2), engine="openvino"))
    assert error.code == "engine-missing"
    assert "pip install seghirescam[cpu]" in str(error)


@needs_openvino
def test_a_gpu_computes_by_pytorch() -> None:
    assert chosen(a_model(2), device=torch.device("cuda")).engine == "PyTorch: OpenVINO is used on the CPU only"


@needs_openvino
@pytest.mark.real_data
@pytest.mark.parametrize("name", ["kits19-unet2d", "spleen-unet3d"])
def test_real_networks_agree(name: str, test_data: Path, tmp_path: Path) -> None:
    from real_data import assemble_bundle

    model = open_model(assemble_bundle(test_data, tmp_path, name))
    size = (256, 256) if model.spatial_dims == 2 else (64, 64, 64)
    window = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)) * (
        255 if model.spatial_dims == 2 else 1
    )
    with torch.no_grad():
        found = choose_forward(model, CPU, 100, lambda: iter([window]), partial(decide, model), "auto")
        assert found.engine.startswith("OpenVINO")
        own, other = model.network(window), found.network(window)
    assert (other - own).abs().max() <= LOGITS * (own.max() - own.min())
    assert (decide(model, other) != decide(model, own)).float().mean() <= 1e-5
