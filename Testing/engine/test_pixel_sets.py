"""Pixel sets against their definition in patient space, on grids of every kind, and against the released code."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
import torch
from cam_reference import unet
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureTyped, Orientationd, Spacingd
from scipy import ndimage
from torch import nn

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.answer.pixel_sets import RULES, WEIGHTS, Surroundings, released_weights, weights_of
from SegHiResCAMLib.engine.cam import activation_map
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.segmentation import predict_values, segment
from SegHiResCAMLib.engine.models.model import SegmentationModel, WindowSettings
from SegHiResCAMLib.engine.progress import silent
from SegHiResCAMLib.records.json_form import MalformedError, to_json
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.regions import (
    Background,
    Box,
    Component,
    Empty,
    Mask,
    Points,
    PredictedSegment,
    Probable,
    Region,
    Released,
    Sphere,
    WholeImage,
    region_from_json,
)

OBLIQUE = [[-0.9, 0.2, 0.3, 20], [0.3, 1.1, -0.4, -31], [-0.2, 0.3, 2.4, 7], [0, 0, 0, 1]]
AFFINES = {
    "oblique": OBLIQUE,
    "left-handed": [[1, 0, 0, -12], [0, 1.5, 0, 3], [0, 0, -2, 40], [0, 0, 0, 1]],
    "permuted": [[0, 0, 2.5, -9], [-1, 0, 0, 5], [0, 0.7, 0, 1], [0, 0, 0, 1]],
    "sheared": [[1, 0.3, 0, 0], [0, 1, 0.2, 0], [0, 0, 1.5, 0], [0, 0, 0, 1]],
}
KIDNEY, CYST = Label("kidney", 1, 1, (1, 0, 0)), Label("cyst", 2, 2, (0, 1, 0))


class Levels(nn.Module):
    """Background below 1, kidney from 1 to 2, cyst above 2, by one 1x1 convolution behind another."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Conv3d(1, 2, 1), nn.Conv3d(2, 3, 1)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([1.0, 0.5]).view(2, 1, 1, 1, 1))
            self.features.bias.copy_(torch.tensor([0.0, 0.2]))
            self.head.weight.copy_(torch.tensor([[0.0, 0.0], [3.0, 0.0], [6.0, 0.0]]).view(3, 2, 1, 1, 1))
            self.head.bias.copy_(torch.tensor([0.0, -3.0, -9.0]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(image))


def model(network: nn.Module | None = None, labels=(KIDNEY, CYST), **changes) -> SegmentationModel:
    network = (network or Levels()).eval().requires_grad_(False)
    preprocessing = Compose([Orientationd("image", "RAS", labels=None), EnsureTyped("image")])
    defaults = {"window": WindowSettings((16, 16, 16), 0.25), "activation": "softmax", "preprocessing": preprocessing}
    return SegmentationModel("Levels", network, 3, 1, labels, **(defaults | changes), sha256="0" * 64, source="here")


def volume(values: np.ndarray, affine=OBLIQUE) -> MetaTensor:
    return MetaTensor(
        torch.from_numpy(values.astype(np.float32))[None], affine=torch.tensor(affine, dtype=torch.float64)
    )


def around(values: np.ndarray, affine=OBLIQUE, mask: MetaTensor | None = None, of: SegmentationModel | None = None):
    of = of or model()
    found = segment(of, volume(values, affine), device="cpu")

    def predict(form):
        return predict_values(of, found.prepared, form, axis="axial", device="cpu", engine="torch", progress=silent)

    return Surroundings(of, KIDNEY, found.prepared, lambda: found.model_labels, mask, predict)


def places(where: Surroundings) -> np.ndarray:
    """RAS mm of every position of the model's grid (x, y, z, 3)."""
    shape = where.shape
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return grid @ where.affine[:3, :3].T + where.affine[:3, 3]


SHAPE = (14, 11, 9)


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_sphere_holds_the_positions_within_its_radius(affine) -> None:
    where = around(np.zeros(SHAPE), affine)
    every = places(where)
    centre = tuple(every[6, 4, 3] + 0.3)
    found = weights_of(Sphere(centre, 6.0), where).numpy()
    assert found.any()
    assert not found.all()
    assert np.array_equal(found, np.linalg.norm(every - centre, axis=-1) <= 6.0)


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_box_holds_the_positions_between_its_faces_however_it_is_turned(affine) -> None:
    where = around(np.zeros(SHAPE), affine)
    every = places(where)
    centre = tuple(every[5, 5, 4])
    turn, _ = np.linalg.qr(np.array([[1, 0.4, 0.2], [-0.3, 1, 0.1], [0.2, -0.5, 1]]))
    for axes in (np.eye(3), turn):
        found = weights_of(Box(centre, (9.0, 5.0, 11.0), tuple(map(tuple, axes))), where).numpy()
        along = np.stack([np.abs((every - centre) @ axis) for axis in axes], -1)
        assert found.any()
        assert not found.all()
        assert np.array_equal(found, (along <= np.array([4.5, 2.5, 5.5]) + 1e-6).all(-1))


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_points_are_the_positions_nearest_to_them(affine) -> None:
    where = around(np.zeros(SHAPE), affine)
    every = places(where)
    chosen = [(0, 0, 0), (7, 3, 2), tuple(np.array(every.shape[:3]) - 1)]
    found = weights_of(Points(tuple(tuple(every[index]) for index in chosen)), where)
    assert sorted(map(tuple, found.nonzero().tolist())) == sorted(chosen)


def test_a_point_or_a_sphere_outside_the_volume_is_refused_or_holds_nothing() -> None:
    where = around(np.zeros(SHAPE))
    with pytest.raises(EngineError, match="outside") as raised:
        weights_of(Points(((500.0, 0.0, 0.0),)), where)
    assert raised.value.code == "point-outside-volume"
    assert not weights_of(Sphere((500.0, 0.0, 0.0), 20.0), where).any()


def blobs() -> np.ndarray:
    """Two kidneys that touch nowhere, one of them in two pieces that touch at a corner, and a cyst."""
    values = np.zeros(SHAPE)
    values[1:4, 1:4, 1:4] = values[4, 4, 4] = 1.5
    values[9:12, 6:9, 5:8] = 1.5
    values[10, 7, 6] = 3
    return values


def test_the_predicted_segment_is_what_was_outlined_and_the_background_what_was_not() -> None:
    where = around(blobs())
    assert int(weights_of(PredictedSegment(), where).sum()) == 28 + 26
    assert int(weights_of(Background(), where).sum()) == np.prod(SHAPE) - 28 - 27
    assert weights_of(WholeImage(), where).all()
    assert not weights_of(Empty(), where).any()


def test_a_component_is_the_connected_part_of_the_segment_at_a_point() -> None:
    where = around(blobs())
    inside = where.segment.nonzero()
    for start in (inside[0], inside[-1]):
        found = weights_of(Component(tuple(places(where)[tuple(start)])), where).numpy()
        parts, count = ndimage.label(where.segment.numpy(), np.ones((3, 3, 3)))
        assert count == 2
        assert np.array_equal(found, parts == parts[tuple(start)])
    with pytest.raises(EngineError) as raised:
        weights_of(Component(tuple(places(where)[0, 0, 0])), where)
    assert raised.value.code == "point-outside-segment"


@pytest.mark.parametrize("above", [0.2, 0.5, 0.9])
def test_probable_positions_have_a_probability_above_the_threshold(above: float) -> None:
    values = np.random.default_rng(0).uniform(-4, 6, SHAPE)
    softmax, sigmoid = around(values), around(values, of=model(activation="sigmoid"))
    logits = Levels()(softmax.prepared.image.as_tensor()[None])[0].detach()
    assert torch.equal(weights_of(Probable(above), softmax), logits.softmax(0)[1] > above)
    assert torch.equal(weights_of(Probable(above), sigmoid), logits[1].sigmoid() > above)


def released_by_its_authors(logits: torch.Tensor, index: int) -> torch.Tensor:
    """The weights that the released code gives every position, step by step."""
    classes = torch.arange(logits.shape[1]).view(1, -1, *[1] * (logits.ndim - 2))
    marked = (torch.softmax(logits, dim=1) > 0.5) * classes
    return (marked == index).sum(dim=1)


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_released_rule_is_that_of_the_released_code_and_its_map_is_identical(dims: int, index: int) -> None:
    torch.manual_seed(4)
    network, image = unet(dims).eval().requires_grad_(False), torch.randn(1, 1, *(16,) * dims)
    logits = network(image) * 3
    theirs = released_by_its_authors(logits, index)
    ours = released_weights(logits, index)
    assert torch.equal(ours, theirs.float())
    assert int((theirs > 0).sum()) > 0

    kept = []
    layer = network.get_submodule("model.1.submodule.2")
    handle = layer.register_forward_hook(lambda _m, _i, output: kept.append(output))
    score = (network(image.clone().requires_grad_())[:, index] * theirs).sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    expected = (gradient * kept[0].detach()).sum(dim=1)[0]
    found = activation_map(network, image, ours[0], index, "model.1.submodule.2")
    assert (found - expected).abs().max() == 0


def test_the_released_rule_marks_nothing_where_no_class_has_more_than_half() -> None:
    logits = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert released_weights(logits, 2).sum() == 0  # though argmax says 2 everywhere
    assert (released_weights(logits, 0) == 3).all()
    with pytest.raises(EngineError) as raised:
        released_weights(logits[:, :1], 0)
    assert raised.value.code == "released-one-channel"


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_mask_on_its_own_grid_reaches_the_nearest_positions_with_its_weights(affine) -> None:
    """Drawn on the volume's own grid: carried to the model's grid, each position has the weight of the voxel that it is."""
    weights = np.random.default_rng(1).uniform(0, 1, SHAPE).astype(np.float32)
    drawn = volume(weights, affine)
    where = around(weights, affine, mask=drawn)  # the image is the mask: what is at a position is known
    found = weights_of(Mask(), where)
    assert torch.equal(found, where.prepared.image.as_tensor()[0])


def test_a_mask_drawn_finer_than_the_model_sees_counts_where_its_positions_are() -> None:
    coarse = model(preprocessing=Compose([Spacingd("image", (2.0, 2.0, 2.0))]))
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    drawn = np.zeros((16, 16, 16))
    drawn[4:10, 4:10, 4:10] = 1
    where = around(np.zeros((16, 16, 16)), affine, mask=volume(drawn, affine), of=coarse)
    inside = ((places(where) >= 3.5) & (places(where) < 9.5)).all(-1)
    assert np.array_equal(weights_of(Mask(), where).numpy() > 0, inside)


def test_a_mask_of_no_numbers_or_none_at_all_is_refused() -> None:
    broken = np.zeros(SHAPE)
    broken[3, 3, 3] = np.nan
    for mask, code in ((volume(broken), "mask-not-finite"), (None, "mask-missing")):
        with pytest.raises(EngineError) as raised:
            weights_of(Mask(), around(np.zeros(SHAPE), mask=mask))
        assert raised.value.code == code


EXAMPLES = [
    {"kind": "segment"}, {"kind": "probable", "above": 0.3}, {"kind": "released"}, {"kind": "mask"},
    {"kind": "component", "point": [1, 2, 3]}, {"kind": "points", "points": [[1, 2, 3], [4, 5, 6]]},
    {"kind": "sphere", "centre": [12.5, -40, 88], "radius": 15},
    {"kind": "box", "centre": [0, 0, 0], "size": [10, 20, 30], "axes": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]},
    {"kind": "true-positive"}, {"kind": "false-positive", "point": [1, 2, 3]}, {"kind": "false-negative", "point": None}, {"kind": "rim"},
    {"kind": "image"}, {"kind": "background"}, {"kind": "empty"},
]  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["kind"])
def test_every_kind_survives_json(example: dict) -> None:
    read = region_from_json(json.loads(json.dumps(example)))
    assert read.kind == example["kind"]
    assert json.loads(json.dumps(to_json(read))) == example
    assert region_from_json(to_json(read)) == read


def test_every_kind_is_an_example_and_has_a_meaning_on_a_models_grid() -> None:
    kinds = {one.kind: one for one in get_args(Region)}
    assert {one["kind"] for one in EXAMPLES} == set(kinds)
    assert set(WEIGHTS) == set(kinds.values())
    assert set(RULES) < set(kinds.values())


@pytest.mark.parametrize(
    "broken",
    [
        {}, {"kind": "organ"}, {"kind": "sphere"}, {"kind": "sphere", "centre": [1, 2], "radius": 3}, {"kind": "segment", "above": 1},
        {"kind": "sphere", "centre": [1, 2, 3], "radius": 0}, {"kind": "sphere", "centre": [1, 2, float("nan")], "radius": 1},
        {"kind": "box", "centre": [0, 0, 0], "size": [1, 1, 1], "axes": [[1, 0, 0], [1, 0, 0], [0, 0, 1]]},
        {"kind": "points", "points": [[1, 2], [3]]}, {"kind": "points", "points": []}, {"kind": "probable", "above": "half"},
    ],
    ids=str,
)  # fmt: skip
def test_a_malformed_region_is_refused_by_its_place(broken: dict) -> None:
    with pytest.raises(MalformedError, match=r"^region"):
        region_from_json(broken)


@pytest.mark.parametrize(
    "region", [None, Sphere((0.0, 0.0, 0.0), 6.0), Probable(0.4), Released(), WholeImage(), Background()]
)
def test_what_is_explained_is_the_region_of_the_question(region) -> None:
    """At a layer before a 1x1 tail, the map is the logit without its bias where the pixel set is, and nothing elsewhere."""
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = -6
    request = ExplainRequest.of(
        volume(blobs(), affine), model(), "kidney", layer="features", region=region, device="cpu"
    )
    found = explain(request)
    where = around(blobs(), affine)
    weights = weights_of(region or PredictedSegment(), where).float()
    features = request.model.network.features(found.segmentation.prepared.image.as_tensor()[None])[0]
    torch.testing.assert_close(found.signed_map.as_tensor()[0], weights * 3 * features[0], rtol=1e-5, atol=1e-5)
    assert found.voxel_count == int((weights > 0).sum())
    assert found.record().region == (region or PredictedSegment()).title


def test_the_mask_of_a_request_is_explained_where_no_other_pixel_set_is_named() -> None:
    drawn = np.zeros(SHAPE)
    drawn[2:5, 2:5, 2:5] = 1
    request = ExplainRequest.of(volume(blobs()), model(), "kidney", layer="features", mask=volume(drawn), device="cpu")
    assert explain(request).voxel_count == 27


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"region": Sphere((900.0, 0.0, 0.0), 5.0)}, "region-empty"),
        ({"segment": "cyst", "contrast": "Cyst"}, "contrast-itself"),
        ({"contrast": "liver"}, "segment-unknown"),
        ({"contrast": "cyst", "contrast_weight": np.nan}, "question-malformed"),
        ({"refine_with": ("features",), "refine": "sum"}, "question-malformed"),
        ({"layer": "features[0]"}, "layer-unknown"),
        ({"refine_with": ("feature",)}, "layer-unknown"),
        ({"method": "seg-xres-cam", "method_options": {"pool": 0}}, "method-option"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_explained_is_said_before_or_instead_of_a_map(changes: dict, code: str) -> None:
    request = {"volume": volume(blobs()), "model": model(), "segment": "kidney", "device": "cpu"} | changes
    with pytest.raises(EngineError) as raised:
        explain(ExplainRequest.of(**request))
    assert raised.value.code == code


def test_a_segment_is_set_against_another_or_against_the_background() -> None:
    def answer(**changes):
        return explain(ExplainRequest.of(volume(blobs()), model(), "kidney", layer="features", device="cpu", **changes))

    plain, cyst, background = answer(), answer(contrast="cyst", contrast_weight=0.5), answer(contrast="background")
    # Weights of the classes on the feature: kidney 3, cyst 6, background 0.
    assert cyst.signed_map.abs().max() < 1e-5
    torch.testing.assert_close(background.signed_map.as_tensor(), plain.signed_map.as_tensor())
    assert (cyst.question.contrast, cyst.question.contrast_weight) == ("cyst", 0.5)


def test_several_layers_are_combined_by_their_product_or_mean_each_scaled_by_its_maximum() -> None:
    def answer(**changes):
        return explain(ExplainRequest.of(volume(blobs()), model(), "kidney", device="cpu", **changes))

    first, second = (answer(layer=name).signed_map.as_tensor().clamp(min=0) for name in ("features", "head"))
    scaled = first / first.max(), second / second.max()
    product = answer(layer="features", refine_with=("head",))
    mean = answer(layer="features", refine_with=("head",), refine="mean")
    torch.testing.assert_close(product.signed_map.as_tensor(), scaled[0] * scaled[1])
    torch.testing.assert_close(mean.signed_map.as_tensor(), (scaled[0] + scaled[1]) / 2)
    assert product.question.refine_with == ("head",)
    assert product.record().units == "share of the maximum"


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_the_explained_voxels_come_back_on_the_volumes_own_grid_and_are_measured(affine) -> None:
    given = volume(blobs(), affine)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    every = grid @ np.array(affine)[:3, :3].T + np.array(affine)[:3, 3]
    centre = tuple(every[6, 4, 3] + 0.3)
    sphere = np.linalg.norm(every - centre, axis=-1) <= 6.0
    request = ExplainRequest.of(given, model(), "kidney", layer="features", region=Sphere(centre, 6.0), device="cpu")
    found = explain(request, outline=False)
    assert found.segmentation is None
    assert np.array_equal(found.explained_voxels.numpy()[0], sphere)
    heat = found.heatmap.numpy()[0]
    measured = found.record().measurements
    assert measured.share_inside == pytest.approx(heat[sphere].sum() / heat.sum(), rel=1e-5)
    assert measured.segment_volume_ml == pytest.approx(
        sphere.sum() * abs(np.linalg.det(np.array(affine)[:3, :3])) / 1000
    )


def test_the_explained_voxels_are_the_outline_where_that_is_explained() -> None:
    found = explain(ExplainRequest.of(volume(blobs()), model(), "kidney", layer="features", device="cpu"))
    assert found.chosen is None
    assert torch.equal(found.explained_voxels, found.segmentation.labels.as_tensor() == 1)
    assert found.measurements.share_inside > 0.5
