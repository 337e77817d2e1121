"""Preprocessing can be stopped between its steps, and does not take more memory than there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, GaussianSmoothd, Resized, ScaleIntensity, Spacingd, SpatialPadd, Zoomd
from refusals import refusal
from torch import nn

from SegHiResCAMLib.engine.errors import Cancelled
from SegHiResCAMLib.engine.inference.preprocessing import prepare
from SegHiResCAMLib.engine.inference.slicing import slice_axis, to_stack
from SegHiResCAMLib.engine.models import SegmentationModel, WindowSettings

VOLUME = MetaTensor(torch.rand(1, 12, 10, 8), affine=torch.eye(4, dtype=torch.float64))


def model(*steps: Any) -> SegmentationModel:
    return SegmentationModel(
        "Tiny", nn.Identity(), 3, 1, (), "softmax", Compose(list(steps)), WindowSettings(), sha256="0" * 64, source="here",
    )  # fmt: skip


def test_preprocessing_stops_between_its_steps() -> None:
    told: list[float] = []

    def stop_at_the_third(fraction: float, _text: str) -> None:
        told.append(fraction)
        if len(told) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        prepare(model(*(GaussianSmoothd("image", sigma=1.0) for _ in range(8))), VOLUME, stop_at_the_third)
    assert told == [0, 1 / 8, 2 / 8]


@pytest.mark.parametrize(
    "step",
    [
        Resized("image", spatial_size=[30_000] * 3, mode="trilinear"),
        Spacingd("image", pixdim=[1e-4] * 3),
        SpatialPadd("image", spatial_size=[30_000] * 3),
        Zoomd("image", zoom=3000, keep_size=False),
    ],
    ids=lambda step: type(step).__name__,
)
def test_preprocessing_that_needs_more_memory_than_is_free_is_refused_before(step: Any) -> None:
    error = refusal(lambda: prepare(model(step), VOLUME))
    assert error.code == "out-of-memory"
    assert "12 x 10 x 8 voxels for 'Tiny'" in error.message


@pytest.mark.parametrize(
    "words", ["DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", "std::bad_alloc"]
)
def test_memory_that_runs_out_in_preprocessing_is_reported_as_such(words: str) -> None:
    def fail(_: Any) -> Any:
        raise RuntimeError(words)

    assert refusal(lambda: prepare(model(fail), VOLUME)).code == "out-of-memory"


def test_slices_that_are_prepared_one_by_one_can_be_stopped_too() -> None:
    of = replace(model(), spatial_dims=2, slice_preprocessing=lambda one: one)

    def stop(_fraction: float, _text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        to_stack(of, prepare(of, VOLUME).image, "axial", stop)


def test_a_failing_preprocessing_of_slices_is_a_message() -> None:
    def fail(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such thing")

    of = replace(model(), spatial_dims=2, slice_preprocessing=fail)
    assert refusal(lambda: to_stack(of, prepare(of, VOLUME).image, "axial")).code == "preprocessing-failed"


def test_slices_prepared_by_monai_are_plain_tensors_with_their_values() -> None:
    """Its own class makes every operation of the network slower, and keeps it from being recorded leanly."""
    of = replace(model(), spatial_dims=2, slice_preprocessing=ScaleIntensity(0, 255))
    image = prepare(of, VOLUME).image
    stack = to_stack(of, image, "axial")
    assert type(stack) is torch.Tensor
    slices = image.as_tensor().movedim(slice_axis(image, "axial") + 1, 0)
    low, high = slices.amin((1, 2, 3), keepdim=True), slices.amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(stack, (slices - low) / (high - low) * 255)
