"""Seg-Integrated-HiRes CAM against captum, closed forms and one graph through MONAI's inferer; and the share of the score that a map explains."""

from __future__ import annotations

import pytest
import torch
from cam_reference import NETWORKS
from captum.attr import LayerIntegratedGradients
from monai.inferers import sliding_window_inference
from monai.networks.nets import BasicUNet
from one_map import stitched_map
from peers import captum_raw
from rounding import close, condition_of
from scipy.ndimage import gaussian_filter
from torch import nn

from SegHiResCAMLib.engine.cam import activation_map
from SegHiResCAMLib.engine.cam.baselines import BLUR, blurred
from SegHiResCAMLib.engine.cam.leaf import Target
from SegHiResCAMLib.engine.cam.methods import METHODS, find_method
from SegHiResCAMLib.engine.cam.passes import ScoreQuestion
from SegHiResCAMLib.engine.cam.stitched import StitchedMap, stitched_maps
from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.windows import Windows, plan_windows
from SegHiResCAMLib.engine.models.model import WindowSettings
from SegHiResCAMLib.engine.progress import silent

INTEGRATED = "seg-integrated-hires-cam"


def case(name: str, dims: int):
    torch.manual_seed(3)
    build, (first, others), layer = NETWORKS[name]
    network = build(dims).double().eval().requires_grad_(False)
    if name == "SegResNet":
        layer = "down_layers.1"  # its deepest grid is normalised to nothing here
    image = torch.randn(1, 1, first, *(others,) * (dims - 1), dtype=torch.float64)
    return network, image, torch.rand(image.shape[2:], dtype=torch.float64), layer


def without_content(image: torch.Tensor, baseline: str) -> torch.Tensor:
    """By other code than the engine's."""
    if baseline == "air":
        return torch.full_like(image, float(image.min()))
    sigma = [0, 0, *[BLUR * min(image.shape[2:])] * (image.ndim - 2)]
    return torch.from_numpy(gaussian_filter(image.numpy(), sigma, mode="nearest", radius=[0, 0, *reach(image)]))


def reach(image: torch.Tensor) -> list[int]:
    return [max(round(4 * BLUR * min(image.shape[2:])), 1)] * (image.ndim - 2)


@pytest.mark.parametrize("baseline", ["blurred", "air"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_captums_layer_integrated_gradients_summed_over_channels(name: str, dims: int, baseline: str) -> None:
    """captum keeps the weights of the quadrature in single precision; those of two steps, 1/2 and 1/2, are exact there."""
    network, image, weights, layer = case(name, dims)

    def score(inputs: torch.Tensor) -> torch.Tensor:
        return (network(inputs)[:, 1] * weights).flatten(1).sum(dim=1)

    def own(steps: int = 2) -> torch.Tensor:
        options = {"baseline": baseline, "steps": steps}
        return activation_map(network, image, weights, 1, layer, INTEGRATED, options)

    peer = LayerIntegratedGradients(score, network.get_submodule(layer))

    def expected(steps: int) -> torch.Tensor:
        start = without_content(image, baseline)
        found = peer.attribute(image, baselines=start, n_steps=steps, method="gausslegendre")
        return found.sum(dim=1)[0].detach()

    assert close(own(), expected(2), lambda: condition_of(own, network))
    assert close(own(8), expected(8), lambda: condition_of(own, network), dtype=torch.float32)


def test_from_zero_it_is_captums_with_activations_of_zero() -> None:
    network, image, weights, layer = case("UNet", 2)
    network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: output * scale[0])
    scale = [1.0]  # captum takes its baseline from an input, so the layer is silenced for that one

    class Silenced(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            scale[0] = float(inputs.any())
            return network(inputs)

    silenced = Silenced()

    def score(inputs: torch.Tensor) -> torch.Tensor:
        return (silenced(inputs)[:, 1] * weights).flatten(1).sum(dim=1)

    peer = LayerIntegratedGradients(score, network.get_submodule(layer))
    found = peer.attribute(image, baselines=torch.zeros_like(image), n_steps=2, method="gausslegendre")
    scale[0] = 1.0
    own = activation_map(network, image, weights, 1, layer, INTEGRATED, {"baseline": "zero", "steps": 2})
    assert close(own, found.sum(dim=1)[0].detach())


class Squared(nn.Module):
    """Features, and the square of each as a logit: neither linear nor piecewise so."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.square = nn.Conv2d(1, 2, 3, padding=1), nn.Identity()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.features(image) ** 2


def test_the_integral_of_a_square_is_its_difference_at_every_location() -> None:
    """Two steps of Gauss-Legendre integrate polynomials exactly up to the third degree."""
    torch.manual_seed(0)
    network, image = Squared().double().eval(), torch.randn(1, 1, 12, 10, dtype=torch.float64)
    weights = torch.rand(12, 10, dtype=torch.float64)
    before = network.features(without_content(image, "blurred")).detach()[0, 1]
    after = network.features(image).detach()[0, 1]
    found = activation_map(network, image, weights, 1, "features", INTEGRATED, {"steps": 2})
    assert close(found, weights * (after**2 - before**2))


def test_where_the_tail_is_linear_it_is_seg_hires_of_the_difference_whatever_the_steps() -> None:
    network, image, _, _ = case("BasicUNet", 2)
    weights = torch.rand(image.shape[2:], dtype=torch.float64)
    start = without_content(image, "blurred")
    maps = [activation_map(network, one, weights, 1, "upcat_1") for one in (image, start)]
    for steps in ("auto", 2, 16):
        found = activation_map(network, image, weights, 1, "upcat_1", INTEGRATED, {"steps": steps})
        assert close(found, maps[0] - maps[1])


WINDOWS = [
    (2, (2, 1, 40, 52), (32, 32), 0.5, "gaussian"),
    (2, (1, 1, 40, 20), (32, 32), 0.25, "constant"),  # smaller than the window along one axis: padded
    (3, (1, 1, 20, 24, 12), (16, 16, 16), 0.25, "gaussian"),
]


@pytest.mark.parametrize(("dims", "shape", "window", "overlap", "blending"), WINDOWS)
def test_over_windows_it_equals_one_graph_through_monais_inferer(dims, shape, window, overlap, blending) -> None:
    """Every step of the path is one graph of the whole sliding-window inference, with the layer's output replaced in each window."""
    torch.manual_seed(5)
    build, _, layer = NETWORKS["UNet"]
    network = build(dims).double().eval().requires_grad_(False)
    images = torch.randn(shape, dtype=torch.float64)
    windows = plan_windows(shape[2:], WindowSettings(window, overlap, blending))
    weights = torch.zeros(shape[0], *shape[2:], dtype=torch.float64)
    weights[0, 3:20, :9] = 1

    def passed(inputs: torch.Tensor, given: list[torch.Tensor] | None = None):
        kept: list[torch.Tensor] = []

        def keep(_module, _inputs, output):
            output = (output if given is None else given[len(kept)]).detach().requires_grad_()
            kept.append(output)
            return output.clone()

        handle = network.get_submodule(layer).register_forward_hook(keep)
        logits = sliding_window_inference(inputs, windows.size, 1, network, overlap, mode=windows.blending)
        handle.remove()
        return kept, (logits[:, 1] * weights).sum()

    sigma = BLUR * min(windows.size)
    smooth = torch.stack([blurred(one, tuple(slice(0, n) for n in shape[2:]), sigma) for one in images])
    ends, score = passed(images)
    starts, _ = passed(smooth)
    _, score_of_starts = passed(images, starts)
    expected = torch.zeros(shape[0], *windows.padded, dtype=torch.float64)
    for place, share in ((0.5 - 3**-0.5 / 2, 0.5), (0.5 + 3**-0.5 / 2, 0.5)):
        along, value = passed(images, [a + place * (b - a) for a, b in zip(starts, ends, strict=True)])
        for number, gradient in enumerate(torch.autograd.grad(value, along)):
            image, box = divmod(number, len(windows.boxes))
            raw = (share * gradient * (ends[number] - starts[number])).sum(1)[0].detach()
            mode = "bilinear" if dims == 2 else "trilinear"
            expected[(image, *windows.boxes[box])] += nn.functional.interpolate(
                raw[None, None], size=windows.size, mode=mode, align_corners=False
            )[0, 0]

    def own() -> torch.Tensor:
        return explained(network, images, weights, layer, windows, {"steps": 2}).values

    found = explained(network, images, weights, layer, windows, {"steps": 2})
    assert close(found.values, windows.crop(expected), lambda: condition_of(own, network))
    change = (score - score_of_starts).detach()
    assert found.score_change == pytest.approx(float(change), rel=1e-9)
    assert (found.touched < found.windows) == (shape[0] > 1)


def explained(
    network: nn.Module,
    images: torch.Tensor,
    weights: torch.Tensor,
    layer: str,
    windows: Windows,
    options: dict,
    method: str = INTEGRATED,
    batch: int = 1,
) -> StitchedMap:
    workplace = Workplace(network, torch.device("cpu"), batch)
    chosen = find_method(method).with_options(options)
    ((found,),) = stitched_maps(
        workplace, images, [ScoreQuestion(Target(1), weights)], [layer], chosen, windows, progress=silent, score_change=True
    )  # fmt: skip
    return found


@pytest.mark.parametrize("layer", ["down_1", "upcat_2"])
def test_with_automatic_steps_the_sum_is_the_change_of_the_score(layer: str) -> None:
    torch.manual_seed(0)
    network = BasicUNet(2, 1, 3, features=(4, 4, 6, 6, 8, 4)).double().eval().requires_grad_(False)
    images, weights = torch.randn(1, 1, 64, 64, dtype=torch.float64), torch.zeros(1, 64, 64)
    images = 5 * nn.functional.avg_pool2d(images, 5, 1, 2)
    weights[0, 20:40, 10:30] = 1
    found = explained(network, images, weights, layer, plan_windows(images.shape[2:], WindowSettings()), {})
    assert found.path_integral is not None
    assert found.path_integral.steps in (4, 8, 16)
    assert found.path_integral.error == pytest.approx(abs(found.sum / found.score_change - 1), abs=1e-9)
    assert found.path_integral.error < 0.02


def test_what_a_window_takes_does_not_depend_on_those_beside_it() -> None:
    torch.manual_seed(1)
    build, _, layer = NETWORKS["UNet"]
    network = build(2).double().eval().requires_grad_(False)
    images = torch.randn(6, 1, 16, 16, dtype=torch.float64) * torch.tensor([0.1, 1, 3, 10, 1, 1]).view(-1, 1, 1, 1)
    windows, weights = plan_windows((16, 16), WindowSettings()), torch.ones(6, 16, 16)
    one, six = (explained(network, images, weights, layer, windows, {}, batch=batch) for batch in (1, 6))
    assert close(one.values, six.values)
    assert one.path_integral.steps == six.path_integral.steps
    steps = [explained(network, image[None], weights[:1], layer, windows, {}).path_integral.steps for image in images]
    assert len(set(steps)) > 1  # or this would show nothing
    assert max(steps) == six.path_integral.steps


def test_the_share_of_a_linear_tail_with_one_window_has_a_closed_form() -> None:
    """Before a 1x1 head, Seg-HiRes adds up to the logits without bias; the change of the score is that less the same of the blurred image."""
    network, images, weights, _ = case("BasicUNet", 2)
    windows = plan_windows(images.shape[2:], WindowSettings())
    found = explained(network, images, weights[None], "upcat_1", windows, {}, "seg-hires-grad-cam")
    kept = {}
    handle = network.upcat_1.register_forward_hook(lambda _m, _i, output: kept.update(A=output))
    logits = network(images)[0, 1]
    network(without_content(images, "blurred"))
    handle.remove()
    smooth = network.final_conv(kept["A"])[0, 1]
    assert close(
        found.sum, (weights * (logits - network.final_conv.bias[1])).sum(), size=(weights * logits).abs().sum()
    )
    assert close(found.score_change, (weights * (logits - smooth)).sum(), size=(weights * logits).abs().sum())


@pytest.mark.parametrize("method", ["seg-grad-cam", "seg-xgrad-cam", "seg-hires-grad-cam"])
def test_the_sum_of_a_blended_map_is_that_of_all_windows_locations(method: str) -> None:
    """By their definition Seg-XGrad and Seg-HiRes have the same sum: every channel's weight makes its activations add up to sum G A."""
    torch.manual_seed(5)
    build, _, layer = NETWORKS["UNet"]
    network = build(2).double().eval().requires_grad_(False)
    images, weights = torch.randn(1, 1, 40, 52, dtype=torch.float64), torch.ones(1, 40, 52, dtype=torch.float64)
    windows = plan_windows((40, 52), WindowSettings((32, 32), 0.5, "gaussian"))
    found = explained(network, images, weights, layer, windows, {}, method)
    hires = explained(network, images, weights, layer, windows, {}, "seg-hires-grad-cam")
    assert found.score_change == pytest.approx(hires.score_change, rel=1e-12)
    if method == "seg-grad-cam":
        assert found.sum != pytest.approx(hires.sum, rel=1e-3)
    else:
        assert found.sum == pytest.approx(hires.sum, rel=1e-9)


def test_an_empty_pixel_set_has_a_map_of_zeros_and_no_error() -> None:
    network, images, _, layer = case("UNet", 2)
    windows = plan_windows(images.shape[2:], WindowSettings())
    found = explained(network, images, torch.zeros(1, *images.shape[2:]), layer, windows, {})
    assert not found.values.any()
    assert found.path_integral.error is None


def test_the_layer_that_is_called_twice_starts_from_the_call_that_is_meant() -> None:
    """The earlier call is inside what does not run again."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()
            self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), self.act)
            self.second, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.head(self.act(self.second(self.first(image)))) ** 2

    torch.manual_seed(0)
    network, image = Twice().double().eval(), torch.randn(1, 1, 12, 12, dtype=torch.float64)
    weights = torch.rand(12, 12, dtype=torch.float64)
    maps = [activation_map(network, image, weights, 1, name, INTEGRATED, {"steps": 2}) for name in ("act", "act@2")]
    assert close(maps[0], maps[1])
    score = [float((network(one)[0, 1] * weights).sum()) for one in (image, without_content(image, "blurred"))]
    assert float(maps[1].sum()) == pytest.approx(score[0] - score[1], rel=1e-12)  # there is no way around the layer


def test_it_can_be_cancelled_between_steps_and_leaves_the_network_as_it_was() -> None:
    def stop_soon(_fraction: float, text: str) -> None:
        if "step 3" in text:
            raise Cancelled

    network, images, _, layer = case("UNet", 2)
    with pytest.raises(Cancelled):
        stitched_map(
            network, images, torch.ones(1, *images.shape[2:]), 1, layer, METHODS[INTEGRATED],
            plan_windows(images.shape[2:], WindowSettings()), progress=stop_soon,
        )  # fmt: skip
    assert not any(module._forward_hooks or "forward" in vars(module) for module in network.modules())


def test_steps_that_there_are_not_are_refused_with_those_there_are() -> None:
    with pytest.raises(EngineError, match="'auto' or 2 or 4"):
        find_method(INTEGRATED).with_options({"steps": 5})


@pytest.mark.parametrize("sigma", [0.7, 2.5])
@pytest.mark.parametrize("shape", [(2, 30, 17), (1, 14, 9, 11)])
def test_a_blurred_window_is_cut_from_the_blurred_image(shape: tuple[int, ...], sigma: float) -> None:
    image = torch.randn(shape, dtype=torch.float64)
    radius = max(round(4 * sigma), 1)
    axes = len(shape) - 1
    whole = gaussian_filter(image.numpy(), [0, *[sigma] * axes], mode="nearest", radius=[0, *[radius] * axes])
    box = (slice(3, 14), slice(0, 9), slice(2, 8))[:axes]
    assert close(blurred(image, box, sigma), whole[(slice(None), *box)])


def test_what_captum_calls_gradient_times_activation_is_one_step_at_the_end_of_the_path() -> None:
    """A check of the peer: its layer attribution and ours are of the same layer and score."""
    network, image, weights, layer = case("UNet", 2)
    assert close(
        activation_map(network, image, weights, 1, layer), captum_raw("hires", network, image, weights, 1, layer)
    )
