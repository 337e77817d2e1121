"""How often the network runs, and that running it less often changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureTyped, Orientationd
from rounding import close, condition_of
from torch import nn

from SegHiResCAMLib.engine.answer.explain import explain, explain_segments
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.cam.leaf import Target
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.cam.passes import ScoreQuestion
from SegHiResCAMLib.engine.cam.stitched import StitchedMap, stitched_maps
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.segmentation import segment
from SegHiResCAMLib.engine.inference.windows import plan_windows, predict_windows
from SegHiResCAMLib.engine.models.model import SegmentationModel, WindowSettings
from SegHiResCAMLib.engine.progress import silent
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.regions import Background, Probable, Region, Released, Sphere

CPU = torch.device("cpu")
NAMES = ("kidney", "tumour")


class Small(nn.Module):
    """A U-Net of two levels with a 1x1 head."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        conv, up = (nn.Conv2d, nn.ConvTranspose2d) if dims == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        norm = nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d
        self.top = nn.Sequential(conv(1, 4, 3, padding=1), norm(4), nn.LeakyReLU(0.1, inplace=True))
        self.deep = nn.Sequential(conv(4, 6, 3, stride=2, padding=1), norm(6), nn.PReLU())
        self.up, self.shallow = up(6, 4, 2, stride=2), nn.Sequential(conv(8, 4, 3, padding=1), nn.ReLU())
        self.final_conv = conv(4, 3, 1)
        self.final_conv.weight.data -= self.final_conv.weight.data.mean(dim=1, keepdim=True)  # no class is everywhere
        self.final_conv.weight.data *= 5
        self.final_conv.bias.data.zero_()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        top = self.top(image)
        return self.final_conv(self.shallow(torch.cat([top, self.up(self.deep(top))], dim=1)))


def network(dims: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(32)
    return Small(dims).to(dtype).eval().requires_grad_(False)


def model(dims: int = 2, **changes) -> SegmentationModel:
    labels = tuple(Label(name, number, number, (1.0, 0.0, 0.0)) for number, name in enumerate(NAMES, start=1))
    preprocessing = Compose([Orientationd("image", "RAS", labels=None), EnsureTyped("image")])
    defaults = {"window": WindowSettings(multiple=16), "activation": "softmax", "preprocessing": preprocessing}
    return SegmentationModel(
        "Tiny", network(dims), dims, 1, labels, **(defaults | changes), sha256="0" * 64, source="here"
    )


def volume(*shape: int) -> MetaTensor:
    values = torch.randn(1, *shape, generator=torch.Generator().manual_seed(4))
    return MetaTensor(values, affine=torch.diag(torch.tensor([1.5, 1.0, 2.0, 1.0], dtype=torch.float64)))


@contextmanager
def counted(net: nn.Module) -> Iterator[dict[str, int]]:
    """How many images went forward through the network, and how many backward through its head. Shapes and probes do not count."""
    seen = {"forward": 0, "backward": 0}

    def forward(_module, inputs) -> None:
        (images,) = inputs
        seen["forward"] += len(images) * (images.device == CPU and max(images.shape[2:]) <= 40)

    def backward(_module, gradients) -> None:
        seen["backward"] += len(gradients[0])

    handles = [net.register_forward_pre_hook(forward), net.final_conv.register_full_backward_pre_hook(backward)]
    yield seen
    for handle in handles:
        handle.remove()


def mask(like: MetaTensor, *where: slice) -> MetaTensor:
    drawn = torch.zeros_like(like.as_tensor())
    drawn[(0, *where)] = 1
    return MetaTensor(drawn, affine=like.affine)


def test_a_mask_is_explained_without_segmenting() -> None:
    of, image = model(3, window=WindowSettings((16, 16, 16), 0.25)), volume(40, 16, 16)
    request = ExplainRequest.of(image, of, "kidney", layer="shallow", mask=mask(image, slice(0, 3)), device="cpu")
    with counted(of.network) as seen:
        alone = explain(request, outline=False)
    assert alone.segmentation is None
    assert (alone.windows, alone.windows_touched) == (3, 1)
    assert seen["forward"] == 1
    with counted(of.network) as seen:
        found = explain(request)
    assert seen["forward"] == 3 + 1
    assert found.segmentation is not None
    assert torch.equal(found.segmentation.labels, segment(of, image, device="cpu").labels)
    assert torch.equal(alone.signed_map, found.signed_map)


SETS: list[Region | None] = [None, Background(), Probable(0.3), Released(), Sphere((15.0, 10.0, 8.0), 6.0)]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("region", SETS)
def test_where_a_window_holds_an_image_segmenting_and_explaining_are_one_pass(dims: int, region: Region | None) -> None:
    of, image = model(dims), volume(20, 16, 7 if dims == 2 else 16)
    request = ExplainRequest.of(image, of, "kidney", layer="deep", region=region, device="cpu")
    images = 7 if dims == 2 else 1
    with counted(of.network) as seen:
        found = explain(request)
    assert seen["forward"] == images
    assert 0 < seen["backward"] <= images
    expected = explain(request, segment(of, image, device="cpu"))
    assert found.segmentation is not None
    assert expected.segmentation is not None
    assert torch.equal(found.segmentation.labels, expected.segmentation.labels)
    assert close(found.signed_map, expected.signed_map, dtype=torch.float32)
    assert found.score == pytest.approx(expected.score, rel=1e-5)
    assert (found.voxel_count, found.windows_touched) == (expected.voxel_count, expected.windows_touched)
    assert [one.code for one in found.findings] == [one.code for one in expected.findings]


def test_where_a_largest_component_is_kept_the_outline_is_found_first() -> None:
    of, image = model(largest_component=True), volume(20, 16, 7)
    with counted(of.network) as seen:
        found = explain(ExplainRequest.of(image, of, "kidney", layer="deep", device="cpu"))
    assert seen["forward"] == 7 + found.windows_touched
    assert found.segmentation is not None
    assert found.voxel_count == int((found.segmentation.model_labels == 1).sum())


def test_a_segment_that_is_not_there_is_told_after_one_pass_too() -> None:
    of = model()
    of.network.final_conv.bias[1] = -1e3
    with pytest.raises(EngineError, match="found no 'kidney'") as raised:
        explain(ExplainRequest.of(volume(20, 16, 3), of, "kidney", layer="deep", device="cpu"))
    assert raised.value.code == "region-empty"


@pytest.mark.parametrize("dims", [2, 3])
def test_several_segments_come_from_one_forward_and_each_is_as_if_alone(dims: int) -> None:
    windows = WindowSettings(multiple=16) if dims == 2 else WindowSettings((16, 16, 16), 0.25)
    of, image = model(dims, window=windows), volume(20, 32, 5 if dims == 2 else 16)
    found_before = segment(of, image, device="cpu")
    request = ExplainRequest.of(image, of, "kidney", layer="deep", device="cpu")
    with counted(of.network) as seen:
        together = explain_segments(request, NAMES, found_before)
    windows_of_all = together[0].windows
    assert seen["forward"] == windows_of_all
    assert seen["backward"] <= 2 * windows_of_all
    for name, one in zip(NAMES, together, strict=True):
        alone = explain(ExplainRequest.of(image, of, name, layer="deep", device="cpu"), found_before)
        assert one.label.name == alone.label.name == name
        assert close(one.signed_map, alone.signed_map, dtype=torch.float32)
        assert one.score == pytest.approx(alone.score, rel=1e-5)
        assert one.windows_touched == alone.windows_touched


def maps(
    net: nn.Module, images: torch.Tensor, questions: list[ScoreQuestion], method: str, **options
) -> list[StitchedMap]:
    windows = plan_windows(tuple(images.shape[2:]), options.pop("settings", WindowSettings()))
    layer = "shallow" if method == "seg-cam" else "deep"
    workplace = Workplace(net, CPU, options.pop("batch", 2))
    found = stitched_maps(workplace, images, questions, [layer], METHODS[method], windows, progress=silent, **options)
    return [one for (one,) in found]


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if not one.of_attention])
def test_every_method_in_one_pass_is_the_same_as_in_two(method: str) -> None:
    """In double precision. The third slice has nothing of the class, so that its window is not touched."""
    net, images = network(2, torch.float64), torch.randn(5, 1, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        chosen = net(images).argmax(1) == 1
        chosen[2] = False

    def reveal(places, logits) -> None:
        for (image, _), one in zip(places, logits.argmax(1) == 1, strict=True):
            revealed[image] = one & (image != 2)

    def condition() -> float:
        return condition_of(lambda: maps(net, images, [ScoreQuestion(Target(1), chosen)], method)[0].values, net)

    (expected,) = maps(net, images, [ScoreQuestion(Target(1), chosen)], method)
    size = (net(images)[:, 1] * chosen).abs().sum()
    for batch in (2, 5):  # two slices at once, and all of them
        revealed = torch.zeros_like(chosen)
        (found,) = maps(net, images, [ScoreQuestion(Target(1), revealed)], method, reveal=reveal, batch=batch)
        assert torch.equal(revealed, chosen)
        # Batches are others, and so is the order of sums.
        assert close(found.values, expected.values, condition)
        assert close(found.score, expected.score, size=size)
        assert found.touched == expected.touched == 4
        assert found.gradient_balance == (
            None if expected.gradient_balance is None else pytest.approx(expected.gradient_balance, rel=1e-9)
        )


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if not one.of_attention])
def test_every_method_answers_several_questions_as_if_each_were_alone(method: str) -> None:
    """One pixel set in some windows, one in others, one in none, over overlapping windows."""
    net, images = network(2, torch.float64), torch.randn(2, 1, 40, 16, dtype=torch.float64)
    sets = [torch.zeros(2, 40, 16, dtype=torch.float64) for _ in range(3)]
    sets[0][0, :4], sets[1][:, 30:] = 1, 0.5
    questions = [ScoreQuestion(Target(number % 3, 2 if number == 1 else None), one) for number, one in enumerate(sets)]
    settings = WindowSettings((16, 16), 0.25)
    together = maps(net, images, questions, method, settings=settings)
    for question, found in zip(questions, together, strict=True):

        def explained(question: ScoreQuestion = question) -> StitchedMap:
            return maps(net, images, [question], method, settings=settings)[0]

        alone = explained()
        assert close(found.values, alone.values, lambda: condition_of(lambda: explained().values, net))
        assert close(
            found.score, alone.score, size=predict_windows(net, images, plan_windows((40, 16), settings), 1).abs().sum()
        )
        assert found.touched == alone.touched


@pytest.mark.parametrize("method", ["seg-grad-cam", "seg-xgrad-cam", "seg-grad-cam-pp", "seg-eigengrad-cam"])
def test_methods_of_several_walks_compute_once_where_one_batch_holds_everything(method: str) -> None:
    net, images = network(3), torch.randn(1, 1, 16, 16, 16)
    question = ScoreQuestion(Target(1), torch.ones(1, 16, 16, 16))
    with counted(net) as seen:
        maps(net, images, [question], method)
    walks_without_gradient = method == "seg-grad-cam-pp"
    assert seen == {"forward": 1 + walks_without_gradient, "backward": 1}


def test_mixed_precision_is_near_full_precision_and_leaves_the_outline_as_it_is() -> None:
    of, image = model(), volume(32, 32, 3)
    full, mixed = (
        explain(ExplainRequest.of(image, of, "kidney", layer="deep", device="cpu", precision=precision))
        for precision in ("full", "mixed")
    )
    assert full.segmentation is not None
    assert mixed.segmentation is not None
    assert torch.equal(full.segmentation.labels, mixed.segmentation.labels)
    assert mixed.signed_map.dtype == torch.float32
    assert 0 < float((mixed.signed_map - full.signed_map).norm() / full.signed_map.norm()) < 0.1
    assert mixed.record().question.precision == "mixed"
    assert full.record().question.precision == "full"


def test_a_deterministic_request_gives_the_same_bits_every_time() -> None:
    of, image = model(), volume(32, 32, 13)
    first, second = (
        explain(ExplainRequest.of(image, of, "kidney", layer="deep", device="cpu", deterministic=True))
        for _ in range(2)
    )
    assert np.array_equal(first.signed_map.numpy(), second.signed_map.numpy())
    assert not torch.are_deterministic_algorithms_enabled()


class Scattered(nn.Module):
    """Puts values in their places by an operation that PyTorch has no deterministic form of."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.features(image)).contiguous()
        return logits.put(torch.tensor([0]), logits.flatten()[:1])


def test_what_cannot_be_deterministic_is_said_in_a_message() -> None:
    of = model()
    of.network = Scattered().eval()
    request = ExplainRequest.of(volume(16, 16, 2), of, "kidney", layer="features", device="cpu", deterministic=True)
    with pytest.raises(EngineError) as raised:
        explain(request)
    assert raised.value.code == "not-deterministic"
    assert not torch.are_deterministic_algorithms_enabled()
