"""Removing a region: only what it touches is computed again, and the result is that of segmenting the edited volume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine.geometry import AFFINES
from engine.planted import planted, planted_volume
from monai.data import MetaTensor
from monai.networks.nets import UNet
from tiny_bundle import noise, write_tiny_bundle

from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.evidence.changed_windows import ChangedWindows, touched_box
from SegHiResCAMLib.engine.evidence.fills import FILLS, fill, surroundings
from SegHiResCAMLib.engine.evidence.what_if import what_if
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.segmentation import predict_values, segment
from SegHiResCAMLib.engine.inference.windows import Windows, plan_windows, predict_windows
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.engine.window_settings import WindowSettings
from SegHiResCAMLib.records.regions import Box, Component, Sphere, WholeImage

EDGE = 7.0


@pytest.fixture(scope="module", params=[3, 2], ids=["volumetric", "slice-wise"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SegmentationModel:
    return open_model(write_tiny_bundle(tmp_path_factory.mktemp("bundle"), spatial_dims=request.param))


def a_volume(matrix: np.ndarray | None = None, shape: tuple[int, int, int] = (30, 22, 26)) -> MetaTensor:
    affine = torch.from_numpy(np.eye(4) if matrix is None else matrix)
    return MetaTensor(torch.from_numpy(noise(shape))[None], affine=affine)


# --- Windows that change ---


def a_network(dims: int) -> torch.nn.Module:
    """With instance normalisation, so that a window's logits depend on all of it."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return UNet(dims, 1, 3, [4, 8], [2], norm="instance").double().eval()


def changed_windows(dims: int, box: tuple[slice, ...], **settings: Any) -> tuple[ChangedWindows, torch.Tensor, Windows]:
    size = (30, 22, 26)[:dims]
    images = torch.randn(3 if dims == 2 else 1, 1, *size, generator=torch.Generator().manual_seed(1)).double()
    windows = plan_windows(size, WindowSettings(size=(16,) * dims, **settings))
    workplace = Workplace(a_network(dims), torch.device("cpu"), None)
    return ChangedWindows(workplace, images, windows, box), images, windows


def whole(passes: ChangedWindows, images: torch.Tensor, windows: Windows) -> torch.Tensor:
    """The prediction by MONAI's inferer."""
    with torch.no_grad():
        return predict_windows(passes.workplace.network, images, windows, 1)


@pytest.mark.parametrize("settings", [{"overlap": 0.25}, {"overlap": 0.6, "blending": "constant"}], ids=str)
@pytest.mark.parametrize("dims", [2, 3])
def test_kept_logits_and_new_ones_are_those_of_predicting_everything_again(dims: int, settings: dict[str, Any]) -> None:
    everything = tuple(slice(0, length) for length in (30, 22, 26)[:dims])
    passes, images, windows = changed_windows(dims, everything, **settings)
    before = passes.predict()
    assert torch.allclose(before, whole(passes, images, windows), rtol=0, atol=1e-12)
    first = passes.computed
    changed = images.clone()
    changed[(0, 0, *(slice(3, 6),) * dims)] += 2
    after = passes.predict(changed)
    assert torch.allclose(after, whole(passes, changed, windows), rtol=0, atol=1e-12)
    touched = [box for box in windows.boxes if all(one.start < 6 and one.stop > 3 for one in box)]
    assert passes.computed - first == len(touched) < first
    assert torch.equal(passes.predict(), before)
    assert passes.computed - first == len(touched)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_box_has_the_part_of_the_prediction_that_lies_in_it(dims: int) -> None:
    box = (slice(4, 9), slice(10, 17), slice(1, 20))[:dims]
    passes, images, windows = changed_windows(dims, box, overlap=0.5)
    expected = whole(passes, images, windows)[(slice(None), slice(None), *box)]
    assert torch.allclose(passes.predict(), expected, rtol=0, atol=1e-12)
    assert len(passes.places) < len(images) * len(windows.boxes)


def test_images_smaller_than_a_window_are_padded_as_the_inferer_pads_them() -> None:
    images = torch.randn(1, 1, 9, 22, 11, generator=torch.Generator().manual_seed(1)).double()
    windows = plan_windows((9, 22, 11), WindowSettings(size=(16, 16, 16), overlap=0.5))
    passes = ChangedWindows(
        Workplace(a_network(3), torch.device("cpu"), None), images, windows, (slice(2, 8), slice(0, 22), slice(1, 5))
    )
    expected = whole(passes, images, windows)[:, :, 2:8, :, 1:5]
    assert torch.allclose(passes.predict(), expected, rtol=0, atol=1e-12)


def test_images_that_are_the_same_touch_nothing() -> None:
    _, images, windows = changed_windows(3, (slice(0, 30), slice(0, 22), slice(0, 26)))
    assert touched_box(images, images.clone(), windows) is None


# --- Fills ---

BALL = (np.stack(np.meshgrid(*map(np.arange, (24, 20, 18)), indexing="ij"), -1) - [12, 9, 8]) ** 2


def a_scene(matrix: np.ndarray, radius: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball in a body whose values slowly change, with noise."""
    axes = matrix[:3, :3]
    index = np.stack(np.meshgrid(*map(np.arange, (24, 20, 18)), indexing="ij"), axis=-1)
    distance = np.linalg.norm((index - [12, 9, 8]) @ axes.T, axis=-1)
    region = distance < radius
    body = 50 + index[..., 0] + np.random.default_rng(0).normal(0, 2, region.shape)
    return np.where(region, 400, body).astype(np.float32)[None], region


@pytest.mark.parametrize("kind", FILLS)
@pytest.mark.parametrize("matrix", AFFINES.values(), ids=AFFINES)
def test_a_fill_has_nothing_of_what_it_replaces(matrix: np.ndarray, kind: Any) -> None:
    image, region = a_scene(matrix, 5.0)
    found = fill(kind, image, region, matrix[:3, :3])
    other = image.copy()
    other[:, region] = 5000
    assert np.allclose(fill(kind, other, region, matrix[:3, :3])[:, region], found[:, region], rtol=1e-6)
    # What is around: 50 + i for 24 voxels, with noise of 2 and of which the ball's surroundings are a part.
    assert found[:, region].min() > 40
    assert found[:, region].max() < 90
    assert found.shape == image.shape


def test_the_shell_is_what_lies_up_to_5_mm_around() -> None:
    image, region = a_scene(np.eye(4), 4.0)
    index = np.stack(np.meshgrid(*map(np.arange, region.shape), indexing="ij"), axis=-1)
    places, own = index.reshape(-1, 3), np.argwhere(region)
    near = (np.linalg.norm(places[:, None] - own[None], axis=-1).min(axis=1) <= 5).reshape(region.shape) & ~region
    assert np.array_equal(surroundings(region, np.eye(3)), near)
    assert fill("shell", image, region, np.eye(3)).max() == pytest.approx(image[0, near].mean(dtype=float), rel=1e-6)


def test_a_patch_is_real_tissue_and_the_same_for_the_same_seed() -> None:
    image, region = a_scene(np.eye(4), 4.0)
    found = [fill("patch", image, region, np.eye(3), seed) for seed in (1, 1, 2)]
    assert np.array_equal(found[0], found[1])
    assert set(found[0][:, region].ravel()) <= set(image[:, ~region].ravel())


# --- What if ---


def margin_is_rounding(model: SegmentationModel, request: ExplainRequest, edited: MetaTensor, differs: Any) -> bool:
    """Whether the two highest logits of every position that differs are as good as equal."""
    prepared = segment(model, edited).prepared
    margins = predict_values(
        model,
        prepared,
        lambda logits: logits.topk(2, dim=1).values.diff(dim=1).abs()[:, 0],
        axis=request.question.axis,
        device="cpu",
        engine="torch",
        progress=lambda *_: None,
    )
    return bool((margins[differs] < 1e-5).all())


@pytest.mark.parametrize("kind", FILLS)
def test_the_result_is_that_of_segmenting_the_edited_volume(model: SegmentationModel, kind: Any) -> None:
    request = ExplainRequest.of(a_volume(), model, "kidney", region=Sphere((9.0, 8.0, 9.0), 4.0))
    found = what_if(request, kind)
    again = segment(model, found.edited)
    assert margin_is_rounding(model, request, found.edited, found.after.model_labels != again.model_labels)
    assert 0 < found.record.windows_touched < found.record.windows
    removed = found.removed.as_tensor() > 0
    assert torch.equal(found.edited.as_tensor()[~removed], request.volume.as_tensor()[~removed])
    assert not torch.equal(found.edited.as_tensor()[removed], request.volume.as_tensor()[removed])
    for one, label in zip(found.record.segments, model.labels, strict=True):
        assert one.before_ml == pytest.approx(int((found.before.labels == label.value).sum()) / 1000)
        assert one.after_ml == pytest.approx(int((again.labels == label.value).sum()) / 1000, abs=0.002)


def test_scores_are_sums_of_logits_over_the_voxels_that_were_segmented(model: SegmentationModel) -> None:
    request = ExplainRequest.of(a_volume(), model, "kidney", region=Sphere((9.0, 8.0, 9.0), 4.0))
    found = what_if(request)
    for volume, name in ((request.volume, "score_before"), (found.edited, "score_after")):
        prepared = segment(model, volume).prepared
        for one, label in zip(found.record.segments, model.labels, strict=True):
            logits = predict_values(
                model,
                prepared,
                lambda values, channel=label.channel: values[:, channel],
                axis="auto",
                device="cpu",
                engine="torch",
                progress=lambda *_: None,
            )
            own = logits[found.before.model_labels == label.value].double()
            # Sums of float32 numbers, each of which may be off by some units in the last place.
            assert getattr(one, name) == pytest.approx(float(own.sum()), abs=1e-5 * float(own.abs().sum()))


@pytest.mark.parametrize("matrix", AFFINES.values(), ids=AFFINES)
def test_a_box_in_the_patient_is_removed_on_any_grid(matrix: np.ndarray, tmp_path: Path) -> None:
    model = open_model(write_tiny_bundle(tmp_path / "bundle"))
    volume = a_volume(matrix, (18, 17, 16))
    middle = matrix[:3, :3] @ [8, 8, 8] + matrix[:3, 3]
    region = Sphere(tuple(map(float, middle)), EDGE)
    found = what_if(ExplainRequest.of(volume, model, "kidney", region=region))
    index = np.argwhere(found.removed.numpy()[0] > 0)
    distance = np.linalg.norm(index @ matrix[:3, :3].T + matrix[:3, 3] - middle, axis=1)
    assert distance.max() <= EDGE + 1e-3  # the model's grid has the volume's voxels, in another order
    assert len(index) == pytest.approx(4 / 3 * np.pi * EDGE**3 / abs(np.linalg.det(matrix[:3, :3])), rel=0.15)


def test_a_network_that_reads_one_cube_changes_when_it_goes_and_at_nothing_else(tmp_path: Path) -> None:
    model = planted(tmp_path)
    volume = planted_volume()
    request = ExplainRequest.of(volume, model, "kidney")
    before = segment(model, volume)
    assert int((before.labels == 1).sum()) == 6**3
    cube = what_if(replace_region(request, Box((21.5, 11.5, 11.5), (8.0, 8.0, 8.0))), segmentation=before)
    assert cube.record.segments[0].after_ml == 0
    for centre in ((11.5, 26.5, 11.5), (4.5, 4.5, 26.5), (11.5, 11.5, 11.5)):
        other = what_if(replace_region(request, Box(centre, (8.0, 8.0, 8.0))), segmentation=before)
        assert torch.equal(other.after.model_labels, before.model_labels)
        assert other.record.segments[0].dice == 1


def replace_region(request: ExplainRequest, region: Any) -> ExplainRequest:
    return replace(request, question=replace(request.question, region=region))


def test_what_is_not_there_cannot_be_removed(model: SegmentationModel) -> None:
    request = ExplainRequest.of(a_volume(), model, "kidney", region=Sphere((900.0, 8.0, 9.0), 4.0))
    with pytest.raises(EngineError, match="no voxel in this volume"):
        what_if(request)
    with pytest.raises(EngineError, match="whole volume"):
        what_if(replace_region(request, WholeImage()))
    with pytest.raises(EngineError, match="Choose a point inside"):
        what_if(replace_region(request, Component((900.0, 0.0, 0.0))))


def test_it_can_be_cancelled(model: SegmentationModel) -> None:
    def cancel(fraction: float, _text: str) -> None:
        if fraction > 0.5:
            raise Cancelled

    request = ExplainRequest.of(a_volume(), model, "kidney", region=Sphere((9.0, 8.0, 9.0), 4.0))
    with pytest.raises(Cancelled):
        what_if(request, progress=cancel)
