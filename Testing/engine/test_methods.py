"""Every method against its formula in NumPy, against peers, and against what it must be in closed form."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from cam_reference import NETWORKS, Reference, activation_and_gradient, basic_unet, blocks, kernel_component, stretched
from captum.attr import LayerFeatureAblation
from one_map import stitched_map
from peers import grad_cam_raw
from rounding import close, condition_of
from torch import nn

from SegHiResCAMLib.engine.cam import activation_map
from SegHiResCAMLib.engine.cam.leaf import Target
from SegHiResCAMLib.engine.cam.methods import METHODS, find_method
from SegHiResCAMLib.engine.cam.passes import ScoreQuestion
from SegHiResCAMLib.engine.cam.stitched import stitched_maps
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.windows import plan_windows
from SegHiResCAMLib.engine.models.model import WindowSettings
from SegHiResCAMLib.engine.progress import silent

GENERAL = [
    name
    for name, one in METHODS.items()
    if name not in {"seg-cam", "seg-shapley-cam"} and not (one.integrates or one.of_attention)
]
"""Seg-CAM needs a 1x1 tail; what integrates is held to captum in `test_integrated.py`, and second derivatives in `test_shapley.py`."""


@functools.lru_cache
def case(name: str, dims: int, dtype: torch.dtype):
    """A network, an image, a segment of it, its class, and the layer."""
    torch.manual_seed(3)
    build, (first, others), layer = NETWORKS[name]
    network = build(dims).eval().to(dtype).requires_grad_(False)
    image = torch.randn(1, 1, first, *(others,) * (dims - 1), dtype=dtype)
    labels = network(image).argmax(dim=1)[0]
    index = int(labels.flatten().bincount().argmax())
    return network, image, labels == index, index, layer


@functools.lru_cache
def reference(name: str, dims: int, dtype: torch.dtype) -> Reference:
    network, image, segment, index, layer = case(name, dims, dtype)
    activation, gradient = activation_and_gradient(network, image, segment, index, layer)

    def score(change) -> float:
        handle = network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: change(output))
        found = score_of([image[0].numpy()])
        handle.remove()
        return found

    def score_of(images) -> float:
        return float((network(torch.from_numpy(images[0])[None])[0, index] * segment).sum())

    return Reference([activation], [gradient], score, score_of, [image[0].numpy()], float(segment.sum()))


@functools.lru_cache
def condition(name: str, dims: int, method: str) -> float:
    """Of a method's map: that of Seg-Grad CAM++ has poles."""
    network, image, segment, index, layer = case(name, dims, torch.float64)
    return condition_of(lambda: activation_map(network, image, segment, index, layer, method), network)


@pytest.mark.parametrize("method", GENERAL)
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_method_equals_its_formula_in_double_precision(name: str, dims: int, method: str) -> None:
    network, image, segment, index, layer = case(name, dims, torch.float64)
    direct = reference(name, dims, torch.float64)
    expected = direct.finished(method, direct.maps(method)[0])
    found = activation_map(network, image, segment, index, layer, method)
    assert close(found, expected, lambda: condition(name, dims, method))


@pytest.mark.parametrize("method", GENERAL)
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_method_equals_its_formula_in_single_precision(name: str, dims: int, method: str) -> None:
    network, image, segment, index, layer = case(name, dims, torch.float32)
    direct = reference(name, dims, torch.float32)
    expected = direct.finished(method, direct.maps(method)[0])
    found = activation_map(network, image, segment, index, layer, method)
    assert close(found, expected, lambda: condition(name, dims, method), dtype=torch.float32)


PEERS = {
    "seg-hires-grad-cam": "HiResCAM",
    "seg-grad-cam": "GradCAM",
    "seg-xgrad-cam": "XGradCAM",
    "seg-layer-cam": "LayerCAM",
    "seg-elementwise-cam": "GradCAMElementWise",
    "seg-eigen-cam": "EigenCAM",
    "seg-fem": "FEM",
    "seg-kpca-cam": "KPCA_CAM",
    "seg-eigengrad-cam": "EigenGradCAM",
    "seg-eigen-cam-2025": "SegEigenCAM",
}


@pytest.mark.parametrize("method", PEERS)
@pytest.mark.parametrize("dims", [2, 3])
def test_a_method_equals_grad_cam_where_it_is_right(dims: int, method: str) -> None:
    network, image, segment, index, layer = case("UNet", dims, torch.float32)
    found = activation_map(network, image, segment, index, layer, method)
    peer = grad_cam_raw(PEERS[method], network, image, segment, index, layer)
    peer = (
        peer if not ("eigen" in method or "kpca" in method) or peer.max() >= -peer.min() else -peer
    )  # its EigenCAM leaves the sign to chance
    assert close(found, peer, lambda: condition("UNet", dims, method), dtype=torch.float32)


def test_ablation_equals_the_drops_that_captum_finds() -> None:
    network, image, segment, index, layer = case("UNet", 2, torch.float64)

    def score(inputs: torch.Tensor) -> torch.Tensor:
        return (network(inputs)[:, index] * segment).sum((1, 2))

    channels = torch.arange(16).view(1, -1, 1, 1)
    drops = LayerFeatureAblation(score, network.get_submodule(layer)).attribute(image, layer_mask=channels)[0, :, 0, 0]
    activation, _ = activation_and_gradient(network, image, segment, index, layer)
    expected = np.einsum("k,k...->...", drops.numpy() / abs(score(image).item()), activation)
    found = activation_map(network, image, segment, index, layer, "seg-ablation-cam")
    assert close(found, expected, lambda: condition("UNet", 2, "seg-ablation-cam"))


def test_ablation_runs_what_lies_before_the_layer_twice_however_many_channels_there_are() -> None:
    network, image, segment, index, _ = case("UNet", 2, torch.float64)
    calls = {"model.0.conv": 0, "model.2.0.conv": 0}
    handles = [
        network.get_submodule(name).register_forward_pre_hook(lambda _m, _i, n=name: calls.update({n: calls[n] + 1}))
        for name in calls
    ]
    activation_map(network, image, segment, index, "model.1.submodule.1.submodule", "seg-ablation-cam")
    for handle in handles:
        handle.remove()
    assert calls == {"model.0.conv": 2, "model.2.0.conv": 1 + 16}
    assert not any("forward" in vars(module) for module in network.modules())


@pytest.mark.parametrize("layer", ["down_4.convs.conv_1.adn.N", "upcat_2.convs", "conv_0.conv_1.conv"])
def test_ablation_is_exact_where_the_next_operation_works_in_place(layer: str) -> None:
    torch.manual_seed(2)
    network, image = basic_unet(2).double().eval().requires_grad_(False), torch.randn(1, 1, 32, 32, dtype=torch.float64)
    module = network.get_submodule(layer)
    kept = {}

    def score(channel: int | None) -> float:
        def change(_module, _inputs, output):
            kept["A"] = output.clone()
            changed = output.clone()
            if channel is not None:
                changed[:, channel] = 0
            return changed

        handle = module.register_forward_hook(change)
        found = float(network(image)[0, 1].sum())
        handle.remove()
        return found

    whole = score(None)
    activation = kept["A"][0]
    drops = [(whole - score(channel)) / abs(whole) for channel in range(len(activation))]
    expected = torch.einsum("k,k...->...", torch.tensor(drops, dtype=torch.float64), activation)

    def ablated() -> torch.Tensor:
        return activation_map(network, image, torch.ones(32, 32), 1, layer, "seg-ablation-cam")

    assert close(ablated(), expected, lambda: condition_of(ablated, network))


def test_seg_cam_is_the_logit_without_its_bias_before_a_1x1_head() -> None:
    network, image, segment, index, _ = case("BasicUNet", 3, torch.float64)
    found = activation_map(network, image, segment, index, "upcat_1", "seg-cam")
    head = network.final_conv
    assert close(found, network(image)[0, index] - head.bias[index])


def test_seg_cam_is_seg_hires_on_the_pixel_set_and_seg_grad_scaled() -> None:
    network, image, segment, index, _ = case("BasicUNet", 2, torch.float64)
    cam, hires, grad = (
        activation_map(network, image, segment, index, "upcat_1", name)
        for name in ("seg-cam", "seg-hires-grad-cam", "seg-grad-cam")
    )
    assert close(hires, cam * segment)
    assert close(grad, cam * segment.sum() / segment.numel())


@pytest.mark.parametrize(
    ("name", "layer"), [("UNet", "model.1.submodule.2"), ("BasicUNet", "upcat_2"), ("BasicUNet", "final_conv")]
)
def test_seg_cam_is_refused_where_the_tail_is_anything_but_one_1x1_convolution(name: str, layer: str) -> None:
    network, image, segment, index, _ = case(name, 2, torch.float64)
    with pytest.raises(EngineError) as raised:
        activation_map(network, image, segment, index, layer, "seg-cam")
    assert raised.value.code == "tail-not-1x1"


def with_options(method: str, name: str = "UNet", **options):
    network, image, segment, index, layer = case(name, 2, torch.float64)
    windows = plan_windows(tuple(image.shape[2:]), WindowSettings(None))
    chosen = find_method(method).with_options(options)
    return stitched_map(
        network, image, segment[None].double(), index, layer, chosen, windows,
    ).values[0]  # fmt: skip


def test_seg_xres_lies_between_hires_and_grad() -> None:
    assert close(with_options("seg-xres-cam", pool=1), with_options("seg-hires-grad-cam"))
    assert close(with_options("seg-xres-cam", pool=64), with_options("seg-grad-cam"))


@pytest.mark.parametrize("kernel", ["sigmoid", "rbf"])
def test_seg_kpca_is_the_projection_of_scikit_learn_where_only_some_locations_are_sampled(kernel: str) -> None:
    """16 locations, of which every fourth makes the component."""
    network, image, segment, index, layer = case("UNet", 2, torch.float64)
    activation, _ = activation_and_gradient(network, image, segment, index, layer)
    expected = kernel_component(activation[None], kernel, 4)[0]
    options = {"kernel": kernel, "samples": 4}
    found = activation_map(network, image, segment, index, layer, "seg-kpca-cam", options).numpy()
    expected = expected if expected.max() >= -expected.min() else -expected

    def own() -> torch.Tensor:
        return activation_map(network, image, segment, index, layer, "seg-kpca-cam", options)

    assert close(found, expected, lambda: condition_of(own, network))


@pytest.mark.parametrize("kernel", ["sigmoid", "rbf"])
def test_where_all_locations_are_alike_there_is_no_kernel_component(kernel: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 2, 1)).double()
    found = activation_map(
        network, torch.ones(1, 1, 8, 8).double(), torch.ones(8, 8), 1, "0", "seg-kpca-cam", {"kernel": kernel}
    )
    assert not found.any()


def test_in_a_channel_that_is_the_same_everywhere_nothing_stands_out() -> None:
    """Over many windows its mean is rounded, below its value for some; the other channel has a location that stands out."""
    images = torch.zeros(1, 1, 8, 8 * 28).double()
    images[0, 0, 3, 3] = 1
    windows = plan_windows((8, 8 * 28), WindowSettings(size=(8, 8), overlap=0, blending="constant"))
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)).double().eval().requires_grad_(False)
    network[0].weight[:] = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    for level in torch.rand(25, generator=torch.Generator().manual_seed(0), dtype=torch.float64):
        network[0].bias[:] = torch.stack([level, torch.zeros_like(level)])
        question = ScoreQuestion(Target(1), torch.ones(1, 8, 8 * 28))
        workplace = Workplace(network, torch.device("cpu"), 1)
        ((found,),) = stitched_maps(
            workplace, images, [question], ["0"], find_method("seg-fem"), windows, progress=silent
        )
        assert float(found.values[0, 3, 3]) == pytest.approx(1 / (64 * 28), rel=1e-12)
        assert found.values.count_nonzero() == 1


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_seg_xres_pools_blocks_and_cuts_off_the_last(mode: str) -> None:
    """Blocks of 3 on a grid of 4."""
    network, image, segment, index, layer = case("UNet", 2, torch.float64)
    activation, gradient = activation_and_gradient(network, image, segment, index, layer)
    pooled = blocks(gradient[None], 3, {"mean": np.mean, "max": np.max}[mode])[0]
    expected = stretched((pooled * activation).sum(0), image.shape[2:])
    assert close(with_options("seg-xres-cam", pool=3, mode=mode), expected)


@pytest.mark.parametrize(
    "options", [{"size": 2}, {"pool": 0}, {"pool": 1.5}, {"pool": True}, {"mode": "median"}], ids=str
)
def test_options_that_a_method_does_not_have_are_refused_with_a_message(options: dict) -> None:
    with pytest.raises(EngineError) as raised:
        find_method("seg-xres-cam").with_options(options)
    assert raised.value.code == "method-option"
    assert find_method("seg-xres-cam").options == {"pool": 2, "mode": "mean"}


class AfterNorm(nn.Module):
    """A normalisation whose output is explained, then what sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(3)
        self.tail = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.tail(self.norm(image))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_xgrad_leaves_out_channels_whose_activations_sum_to_nothing(dtype: torch.dtype) -> None:
    """The formula divides by that sum; what is left of it is rounding, and the map would be noise of any size."""
    torch.manual_seed(0)
    network, image = AfterNorm().to(dtype).eval(), torch.randn(1, 3, 16, 16, dtype=dtype)
    found = activation_map(network, image, torch.ones(16, 16), 1, "norm", "seg-xgrad-cam")
    assert found.abs().max() == 0


def test_a_weight_without_a_value_is_zero_in_grad_cam_pp() -> None:
    network, image, segment, index, layer = case("UNet", 2, torch.float64)
    for method in ("seg-grad-cam-pp", "seg-grad-cam-pp-local"):
        found = activation_map(network, image, torch.zeros_like(segment), index, layer, method)
        assert found.abs().max() == 0


@pytest.mark.parametrize("name", METHODS)
def test_the_table_says_what_a_method_is_in_one_line(name: str) -> None:
    method = METHODS[name]
    assert name.startswith("seg-")
    assert method.title.startswith("Seg-")
    assert 0 < len(method.summary) < 80
    assert method.source


def test_walks_in_the_table_are_the_walks_that_are_made() -> None:
    network, image, segment, index, _ = case("BasicUNet", 2, torch.float64)
    windows = plan_windows(tuple(image.shape[2:]), WindowSettings(None))
    for name, method in METHODS.items():
        if method.of_attention:  # this network has none
            continue
        fractions: list[float] = []
        stitched_maps(
            Workplace(network, torch.device("cpu")), image, [ScoreQuestion(Target(index), segment[None].double())], ["upcat_1"], method,
            windows, progress=lambda fraction, _text, seen=fractions: seen.append(fraction),
        )  # fmt: skip
        starts = [step / method.walks for step in range(method.walks)]
        assert set(starts) <= set(fractions), name
        assert fractions == sorted(fractions)
        assert fractions[-1] < 1
