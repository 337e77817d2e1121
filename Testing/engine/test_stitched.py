"""Maps over windows against one graph through MONAI's own inferer, in float64."""

from __future__ import annotations

import pytest
import torch
from cam_reference import ADDED, Reference
from monai.inferers import sliding_window_inference
from monai.networks.nets import BasicUNet, SegResNet, UNet
from one_map import stitched_map
from rounding import close, condition_of
from torch import nn

from SegHiResCAMLib.engine.cam import activation_map
from SegHiResCAMLib.engine.cam.leaf import Target
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.cam.passes import ScoreQuestion
from SegHiResCAMLib.engine.cam.stitched import StitchedMap, stitched_maps
from SegHiResCAMLib.engine.errors import Cancelled
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.windows import plan_windows, predict_windows
from SegHiResCAMLib.engine.models.model import WindowSettings
from SegHiResCAMLib.engine.progress import silent

CPU = torch.device("cpu")
GENERAL = [
    name
    for name, one in METHODS.items()
    if name not in {"seg-cam", "seg-shapley-cam"} and not (one.integrates or one.of_attention)
]
"""Seg-CAM needs a 1x1 tail; what integrates is held to captum in `test_integrated.py`, and second derivatives in `test_shapley.py`."""


def network(dims: int) -> nn.Module:
    torch.manual_seed(5)
    return UNet(dims, 1, 3, channels=(4, 8, 16), strides=(2, 2), num_res_units=1).double().eval().requires_grad_(False)


LAYERS = {"deep": "model.1.submodule.1.submodule", "shallow": "model.1.submodule.2"}
CASES = [  # dims, stack of images, window, overlap, blending
    (2, (1, 1, 40, 52), (32, 32), 0.5, "gaussian"),
    (2, (3, 1, 40, 20), (32, 32), 0.25, "constant"),  # smaller than the window along one axis: padded
    (3, (1, 1, 32, 24, 28), (16, 16, 16), 0.5, "gaussian"),
    (3, (1, 1, 20, 24, 12), (16, 16, 16), 0.25, "constant"),
]


def one_graph(net: nn.Module, images, pixel_set, index: int, layer: str, windows):
    """A and G of every window, and S, from one graph of the whole sliding window inference."""
    kept: list[torch.Tensor] = []

    def keep(_module, _inputs, output):
        output = output.requires_grad_() if output.is_leaf else output
        kept.append(output)
        return output.clone()

    handle = net.get_submodule(layer).register_forward_hook(keep)
    logits = sliding_window_inference(
        images.clone().requires_grad_(), windows.size, 1, net, windows.settings.overlap, mode=windows.blending
    )
    handle.remove()
    score = (logits[:, index] * pixel_set).sum()
    return kept, torch.autograd.grad(score, kept), float(score.detach())


def upsampled(raw: torch.Tensor, size) -> torch.Tensor:
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return nn.functional.interpolate(raw[None, None], size=size, mode=mode, align_corners=False)[0, 0]


@pytest.mark.parametrize("depth", LAYERS)
@pytest.mark.parametrize(("dims", "shape", "window", "overlap", "blending"), CASES)
def test_hires_window_by_window_equals_one_graph(dims, shape, window, overlap, blending, depth) -> None:
    net, images = network(dims), torch.randn(shape, dtype=torch.float64)
    windows = plan_windows(shape[2:], WindowSettings(window, overlap, blending))
    pixel_set = torch.rand(shape[0], *shape[2:], dtype=torch.float64) > 0.4
    activations, gradients, score = one_graph(net, images, pixel_set, 1, LAYERS[depth], windows)
    size = (predict_windows(net, images, windows, 1)[:, 1] * pixel_set).abs().sum()
    expected = torch.zeros(shape[0], *windows.padded, dtype=torch.float64)
    for number, (activation, gradient) in enumerate(zip(activations, gradients, strict=True)):
        image, box = divmod(number, len(windows.boxes))
        expected[(image, *windows.boxes[box])] += upsampled((activation * gradient).sum(1)[0].detach(), window)
    found = stitched_map(
        net,
        images,
        pixel_set,
        1,
        LAYERS[depth],
        METHODS["seg-hires-grad-cam"],
        windows,
        batch=2,
    )
    assert close(found.values, windows.crop(expected))
    assert close(found.score, score, size=size)


@pytest.mark.parametrize("depth", LAYERS)
@pytest.mark.parametrize(("dims", "shape", "window", "overlap", "blending"), CASES)
def test_grad_weights_come_from_the_whole_volume_as_in_one_graph(dims, shape, window, overlap, blending, depth) -> None:
    net, images = network(dims), torch.randn(shape, dtype=torch.float64)
    windows = plan_windows(shape[2:], WindowSettings(window, overlap, blending))
    pixel_set = torch.zeros(shape[0], *shape[2:], dtype=torch.float64)
    pixel_set[0, :9, :9] = 1
    activations, gradients, _ = one_graph(net, images, pixel_set, 2, LAYERS[depth], windows)
    positions = sum(gradient[0, 0].numel() for gradient in gradients)
    weights = sum(gradient.flatten(2).sum(2)[0] for gradient in gradients) / positions
    importance, total = windows.importance(torch.float64), windows.weight_sum(torch.float64)
    expected = torch.zeros(shape[0], *windows.padded, dtype=torch.float64)
    for number, activation in enumerate(activations):
        image, box = divmod(number, len(windows.boxes))
        place = windows.boxes[box]
        raw = torch.einsum("k,k...->...", weights, activation[0].detach())
        expected[(image, *place)] += upsampled(raw, window) * importance / total[place]
    found = stitched_map(net, images, pixel_set, 2, LAYERS[depth], METHODS["seg-grad-cam"], windows)
    assert close(found.values, windows.crop(expected))


@pytest.mark.parametrize("build", [BasicUNet, SegResNet])
def test_other_networks_are_exact_over_windows_too(build) -> None:
    torch.manual_seed(1)
    small = {"features": (4, 4, 8, 8, 16, 4)} if build is BasicUNet else {"init_filters": 8}
    net = build(spatial_dims=3, in_channels=1, out_channels=2, **small).double().eval().requires_grad_(False)
    layer = "down_3" if build is BasicUNet else "down_layers.2"
    side = 32 if build is BasicUNet else 16
    images, window = torch.randn(1, 1, side + 8, side, side, dtype=torch.float64), (side, side, side)
    windows = plan_windows(images.shape[2:], WindowSettings(window, 0.5, "gaussian"))
    pixel_set = torch.ones(1, *images.shape[2:], dtype=torch.float64)
    activations, gradients, _ = one_graph(net, images, pixel_set, 1, layer, windows)
    expected = torch.zeros(1, *windows.padded, dtype=torch.float64)
    for box, activation, gradient in zip(windows.boxes, activations, gradients, strict=True):
        expected[(0, *box)] += upsampled((activation * gradient).sum(1)[0].detach(), window)
    found = stitched_map(net, images, pixel_set, 1, layer, METHODS["seg-hires-grad-cam"], windows)
    assert close(found.values, expected)


def test_windows_that_the_pixel_set_does_not_touch_are_skipped_and_are_exactly_zero_in_the_one_graph() -> None:
    net, images = network(2), torch.randn(1, 1, 32, 96, dtype=torch.float64)
    windows = plan_windows((32, 96), WindowSettings((32, 32), 0.5, "gaussian"))
    pixel_set = torch.zeros(1, 32, 96, dtype=torch.float64)
    pixel_set[0, 4:8, 2:6] = 1
    _, gradients, _ = one_graph(net, images, pixel_set, 1, LAYERS["deep"], windows)
    found = stitched_map(net, images, pixel_set, 1, LAYERS["deep"], METHODS["seg-hires-grad-cam"], windows)
    assert (found.touched, found.windows) == (1, len(windows.boxes)) == (1, 5)
    assert all(gradient.abs().max() == 0 for gradient in gradients[1:])
    assert found.values[0, :, 32:].abs().max() == 0


def reference(net: nn.Module, images, pixel_set, index: int, layer: str, windows) -> Reference:
    activations, gradients, _ = one_graph(net, images, pixel_set, index, layer, windows)
    padded, importance, total = windows.pad(images), windows.importance(images.dtype), windows.weight_sum(images.dtype)
    places = [(image, box) for image in range(len(images)) for box in windows.boxes]

    def score(change) -> float:
        handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, output: change(output))
        logits = predict_windows(net, images, windows, 1)
        handle.remove()
        return float((logits[:, index] * pixel_set).sum())

    def score_of(inputs) -> float:
        parts = []
        for one, (image, box) in zip(inputs, places, strict=True):
            cotangent = windows.pad(pixel_set)[(image, *box)] * importance / total[box]
            parts.append((net(torch.from_numpy(one)[None])[0, index] * cotangent).sum())
        return float(sum(parts))

    inputs = [padded[(image, slice(None), *box)].numpy() for image, box in places]
    arrays = ([one[0].detach().numpy() for one in values] for values in (activations, gradients))
    return Reference(*arrays, score, score_of, inputs, float(pixel_set.sum()))


@pytest.mark.parametrize("method", GENERAL)
@pytest.mark.parametrize(("dims", "shape", "window", "overlap", "blending"), [CASES[1], CASES[3]])
def test_every_method_is_that_of_the_whole_volume_in_one_graph(dims, shape, window, overlap, blending, method) -> None:
    """The pixel set leaves windows untouched; channel statistics come from all of them."""
    net, images = network(dims), torch.randn(shape, dtype=torch.float64)
    windows = plan_windows(shape[2:], WindowSettings(window, overlap, blending))
    pixel_set = torch.zeros(shape[0], *shape[2:], dtype=torch.float64)
    pixel_set[0, :3, :3] = 1
    direct = reference(net, images, pixel_set, 2, LAYERS["deep"], windows)
    importance, total = windows.importance(torch.float64), windows.weight_sum(torch.float64)
    whole = torch.zeros(shape[0], *windows.padded, dtype=torch.float64)
    for number, raw in enumerate(direct.maps(method)):
        image, box = divmod(number, len(windows.boxes))
        place = windows.boxes[box]
        share = 1 if method in ADDED else importance / total[place]
        whole[(image, *place)] += upsampled(torch.from_numpy(raw), window) * share
    expected = torch.from_numpy(direct.finished(method, windows.crop(whole).numpy()))

    def explained() -> StitchedMap:
        return stitched_map(net, images, pixel_set, 2, LAYERS["deep"], METHODS[method], windows, batch=2)

    found = explained()
    assert found.touched < found.windows
    assert close(found.values, expected, lambda: condition_of(lambda: explained().values, net))


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if not one.of_attention])
def test_one_window_equals_a_single_pass(method: str) -> None:
    torch.manual_seed(5)
    net = BasicUNet(2, 1, 3, features=(4, 4, 6, 6, 8, 4)).double().eval().requires_grad_(False)
    images, layer = torch.randn(1, 1, 32, 48, dtype=torch.float64), "upcat_1" if method == "seg-cam" else "down_2"
    windows = plan_windows((32, 48), WindowSettings(None, multiple=16))
    pixel_set = torch.rand(1, 32, 48, dtype=torch.float64)
    found = stitched_map(net, images, pixel_set, 0, layer, METHODS[method], windows)

    def single() -> torch.Tensor:
        return activation_map(net, images, pixel_set[0], 0, layer, method)

    assert close(found.values[0], upsampled(single(), (32, 48)), lambda: condition_of(single, net))


def test_seg_cam_over_windows_is_the_stitched_logit_without_its_bias() -> None:
    torch.manual_seed(5)
    net = BasicUNet(2, 1, 3, features=(4, 4, 6, 6, 8, 4)).double().eval().requires_grad_(False)
    images = torch.randn(1, 1, 48, 48, dtype=torch.float64)
    windows = plan_windows((48, 48), WindowSettings((32, 32), 0.5, "gaussian"))
    found = stitched_map(net, images, torch.ones(1, 48, 48), 1, "upcat_1", METHODS["seg-cam"], windows)
    assert close(found.values, predict_windows(net, images, windows, 1)[:, 1] - net.final_conv.bias[1])


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if not one.of_attention])
def test_an_empty_pixel_set_gives_an_empty_map_but_for_methods_that_know_no_class(method: str) -> None:
    torch.manual_seed(5)
    net = BasicUNet(2, 1, 3, features=(4, 4, 6, 6, 8, 4)).double().eval().requires_grad_(False)
    images, windows = torch.randn(2, 1, 32, 48, dtype=torch.float64), plan_windows((32, 48), WindowSettings((32, 32)))
    found = stitched_map(net, images, torch.zeros(2, 32, 48), 1, "upcat_1", METHODS[method], windows)
    assert (found.touched, found.score) == (0, 0)
    assert torch.isfinite(found.values).all()
    assert bool(found.values.any()) == (
        method in {"seg-cam", "seg-eigen-cam", "seg-fem", "seg-kpca-cam", "seg-score-cam"}
    )


def test_several_layers_are_served_by_the_same_passes_and_each_as_if_it_were_alone() -> None:
    net, images = network(2), torch.randn(1, 1, 40, 52, dtype=torch.float64)
    windows = plan_windows((40, 52), WindowSettings((32, 32), 0.5))
    pixel_set, forwards, backwards = torch.ones(1, 40, 52, dtype=torch.float64), [], []
    for method in ("seg-hires-grad-cam", "seg-grad-cam", "seg-ablation-cam"):
        alone = [stitched_map(net, images, pixel_set, 1, layer, METHODS[method], windows) for layer in LAYERS.values()]
        first = net.model[0].register_forward_hook(lambda *_: forwards.append(1))
        last = net.model[2].register_full_backward_hook(lambda *_: backwards.append(1))
        (together,) = stitched_maps(
            Workplace(net, CPU), images, [ScoreQuestion(Target(1), pixel_set)], list(LAYERS.values()), METHODS[method], windows,
            progress=silent,
        )  # fmt: skip
        first.remove()
        last.remove()
        assert all(close(one.values, other.values) for one, other in zip(together, alone, strict=True))
        if method == "seg-hires-grad-cam":
            assert len(forwards) == len(backwards) == len(windows.boxes)


def test_contrast_explains_one_class_rather_than_another() -> None:
    """The score is linear, so is Seg-HiRes-Grad CAM: the map of z_c - alpha z_j is that of z_c less alpha times that of z_j."""
    net, images = network(2), torch.randn(1, 1, 40, 52, dtype=torch.float64)
    windows = plan_windows((40, 52), WindowSettings((32, 32), 0.5))
    pixel_set = torch.ones(1, 40, 52, dtype=torch.float64)

    def maps(target: Target, layer: str = LAYERS["deep"], method: str = "seg-hires-grad-cam", of: nn.Module = net):
        return stitched_maps(
            Workplace(of, CPU), images, [ScoreQuestion(target, pixel_set)], [layer], METHODS[method], windows, progress=silent
        )[0][0]  # fmt: skip

    this, other, rather = maps(Target(1)), maps(Target(2)), maps(Target(1, 2, 0.6))
    assert close(rather.values, this.values - 0.6 * other.values)
    assert close(
        rather.score, this.score - 0.6 * other.score, size=predict_windows(net, images, windows, 1).abs().sum()
    )

    torch.manual_seed(5)
    pointwise = BasicUNet(2, 1, 3, features=(4, 4, 6, 6, 8, 4)).double().eval()
    logits, bias = predict_windows(pointwise, images, windows, 1).detach(), pointwise.final_conv.bias.detach()
    found = maps(Target(1, 2, 0.6), "upcat_1", "seg-cam", pointwise)
    assert close(found.values, logits[:, 1] - bias[1] - 0.6 * (logits[:, 2] - bias[2]))


@pytest.mark.parametrize("method", ["seg-ablation-cam", "seg-score-cam"])
def test_long_methods_can_be_cancelled_between_channels(method: str) -> None:
    seen: list[str] = []

    def stop_soon(_fraction: float, text: str) -> None:
        seen.append(text)
        if "channel 3 of 16" in text:
            raise Cancelled

    net, images = network(2), torch.randn(1, 1, 16, 16, dtype=torch.float64)
    with pytest.raises(Cancelled):
        stitched_map(
            net, images, torch.ones(1, 16, 16), 0, LAYERS["deep"], METHODS[method],
            plan_windows((16, 16), WindowSettings()), progress=stop_soon,
        )  # fmt: skip
    assert not any(module._forward_hooks or "forward" in vars(module) for module in net.modules())


@pytest.mark.parametrize(("dims", "shape", "window", "overlap", "blending"), CASES)
def test_the_plan_has_the_windows_and_weights_of_monai(dims, shape, window, overlap, blending) -> None:
    """A network that marks its window shows where MONAI puts it and how much it counts there."""
    windows = plan_windows(shape[2:], WindowSettings(window, overlap, blending))
    count = len(windows.boxes)
    calls = iter(range(count * shape[0]))

    def marks(image: torch.Tensor) -> torch.Tensor:
        marked = image.new_zeros(1, count, *image.shape[2:])
        marked[:, next(calls) % count] = 1
        return marked

    seen = predict_windows(marks, torch.zeros(shape, dtype=torch.float64), windows, 1)
    shares = torch.zeros(count, *windows.padded, dtype=torch.float64)
    for number, box in enumerate(windows.boxes):
        shares[(number, *box)] = windows.importance(torch.float64) / windows.weight_sum(torch.float64)[box]
    for image in seen:
        assert close(image, windows.crop(shares))


def test_it_can_be_cancelled_between_windows() -> None:
    def stop_soon(fraction: float, _text: str) -> None:
        if fraction > 0.3:
            raise Cancelled

    net, images = network(2), torch.randn(5, 1, 16, 16, dtype=torch.float64)
    with pytest.raises(Cancelled):
        stitched_map(
            net, images, torch.ones(5, 16, 16), 0, LAYERS["deep"], METHODS["seg-hires-grad-cam"],
            plan_windows((16, 16), WindowSettings()), progress=stop_soon,
        )  # fmt: skip
    assert not any(module._forward_hooks for module in net.modules())
