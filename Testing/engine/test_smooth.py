"""Smooth maps: the mean and the standard deviation of maps of noisy copies, whatever the method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from rounding import close
from tiny_bundle import noise as noise_volume
from tiny_bundle import write_tiny_bundle

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.cam.smooth import Noise, noisy, smooth_maps
from SegHiResCAMLib.engine.cam.stitched import StitchedMap
from SegHiResCAMLib.engine.images.volume import volume_from_array
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.progress import silent


def found_of(values: torch.Tensor) -> StitchedMap:
    return StitchedMap(values, float(values.sum()), 0.5, 1, 1, (1,), sum=float(values.sum()))


def test_mean_and_standard_deviation_are_those_of_the_copies_maps() -> None:
    images, noise = 100 + torch.rand(2, 1, 9, 7, dtype=torch.float64), Noise(5, 0.3, seed=2)
    copies = torch.stack(list(noisy(images, noise)))

    def squared(copy: torch.Tensor, _progress) -> list[list[StitchedMap]]:
        return [[found_of(copy[:, 0] ** 2), found_of(copy[:, 0])]]

    ((one, other),) = smooth_maps(squared, images, noise, silent)
    assert close(one.values, (copies[:, :, 0] ** 2).mean(0))
    assert close(one.deviation, (copies[:, :, 0] ** 2).std(0), size=one.values)
    assert close(other.deviation, copies[:, :, 0].std(0), size=other.values)
    assert close(one.score, (copies**2).sum() / 5)


def test_the_noise_has_the_size_that_was_asked_for_in_each_channel_and_no_mean() -> None:
    """Standard error of the standard deviation of n normal numbers: 1 / sqrt(2 n) of it; four of these are allowed."""
    ramp = torch.linspace(0, 1, 10000, dtype=torch.float64).view(1, 1, 100, 100)
    images = torch.cat([ramp, 50 * ramp - 1000], dim=1)
    copies = torch.stack(list(noisy(images, Noise(20, 0.05))))
    added = (copies - images).transpose(0, 2)
    for channel, extent in ((0, 0.98), (1, 49.0)):  # from the 1st to the 99th percentile
        values = added[channel].flatten()
        assert float(values.std() / (0.05 * extent)) == pytest.approx(1, abs=4 / np.sqrt(2 * len(values)) + 1e-3)
        assert abs(float(values.mean())) < 4 * float(values.std()) / np.sqrt(len(values))


def test_a_seed_gives_the_same_noise_every_time_and_another_gives_other_noise() -> None:
    images = torch.rand(1, 1, 8, 8)

    def drawn(seed: int) -> torch.Tensor:
        return torch.stack(list(noisy(images, Noise(3, 0.1, seed))))

    assert torch.equal(drawn(1), drawn(1))
    every = torch.cat([drawn(0), drawn(1), drawn(2)]).flatten(1)
    assert len({tuple(one.tolist()) for one in every}) == 9


def test_one_copy_has_no_standard_deviation() -> None:
    ((found,),) = smooth_maps(
        lambda copy, _progress: [[found_of(copy[:, 0])]], torch.rand(1, 1, 4, 4), Noise(1, 0.1), silent
    )
    assert found.deviation is None


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory):
    model = open_model(str(write_tiny_bundle(tmp_path_factory.mktemp("model"))))
    return model, volume_from_array(noise_volume((24, 20, 18)), np.diag([1.5, -1.0, 2.0, 1.0]))


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("seg-cam", "seg-score-cam", "seg-legrad")])
def test_any_method_can_be_smooth_and_without_noise_it_is_what_it_was(setting, method: str) -> None:
    """The smallest noise that can be asked for changes the map by no more than its size does: the mean of two is near the map itself."""
    model, volume = setting
    plain = explain(ExplainRequest.of(volume, model, "tumour", method=method))
    smooth = explain(ExplainRequest.of(volume, model, "tumour", method=method, smooth=2, smooth_noise=0.001))
    assert plain.deviation is None
    assert smooth.deviation.shape == plain.signed_map.shape
    assert float(smooth.deviation.min()) >= 0
    assert torch.equal(smooth.deviation.affine, plain.signed_map.affine)
    assert smooth.voxel_count == plain.voxel_count
    largest = float(plain.signed_map.abs().max())
    assert float((smooth.signed_map - plain.signed_map).abs().mean()) < 0.2 * largest
    assert torch.equal(smooth.segmentation.labels, plain.segmentation.labels)  # of the image without noise


def test_it_is_the_mean_of_explaining_noisy_volumes_over_windows_that_overlap(setting) -> None:
    """The network takes this volume as it is; what is explained is the segment of the volume without noise."""
    model, _ = setting
    volume = volume_from_array(noise_volume((24, 20, 18)), np.eye(4))
    smooth = explain(ExplainRequest.of(volume, model, "tumour", smooth=3, smooth_noise=0.2, smooth_seed=1))
    assert smooth.windows > 1
    mask = MetaTensor((smooth.segmentation.labels == smooth.label.value).float(), affine=volume.affine)
    copies = noisy(volume.as_tensor().float()[None], Noise(3, 0.2, 1))
    each = [
        explain(ExplainRequest.of(MetaTensor(copy[0], affine=volume.affine), model, "tumour", mask=mask)).signed_map
        for copy in copies
    ]
    maps = torch.stack([one.as_tensor() for one in each]).double()
    assert close(smooth.signed_map, maps.mean(0), size=maps, dtype=torch.float32)
    assert close(smooth.deviation, maps.std(0), size=maps, dtype=torch.float32)


def test_it_is_reproducible_and_the_record_says_how(setting, tmp_path: Path) -> None:
    model, volume = setting
    first, again, other = (
        explain(ExplainRequest.of(volume, model, "tumour", smooth=3, smooth_seed=seed)) for seed in (4, 4, 5)
    )
    assert torch.equal(first.signed_map, again.signed_map)
    assert not torch.equal(first.signed_map, other.signed_map)
    question = first.record().question
    assert (question.smooth, question.smooth_seed) == (3, 4)
