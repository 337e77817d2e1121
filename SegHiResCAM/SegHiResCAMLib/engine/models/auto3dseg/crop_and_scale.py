"""Auto3DSeg's preprocessing, as its SegResNet template prepares images for training and inference."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureTyped,
    MapTransform,
    NormalizeIntensity,
    Orientationd,
    ScaleIntensityRange,
)
from monai.utils import convert_to_dst_type

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.auto3dseg.training_config import Auto3DSegConfig
from SegHiResCAMLib.engine.models.placed import Spacingd

IMAGE = "image"
MARGIN = 10
"""Voxels around the foreground that are kept."""


def auto3dseg_preprocessing(config: Auto3DSegConfig) -> Compose:
    """Dictionary transform (key "image") from a volume to the network's axes, spacing and intensities."""
    steps: list[Any] = [EnsureTyped(keys=IMAGE, dtype=torch.float32)]
    if config.ras:
        steps.append(Orientationd(keys=IMAGE, axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))))
    if config.crops:
        steps.append(
            CropForegroundd(keys=IMAGE, source_key=IMAGE, select_fn=_is_positive, margin=MARGIN, allow_smaller=True)
        )
    if config.spacing:
        # Volumes whose spacing is nearly that one are left as they are.
        nearly: dict[str, Any] = {
            "min_pixdim": np.array(config.spacing) * 0.75,
            "max_pixdim": np.array(config.spacing) * 1.25,
        }
        steps.append(Spacingd(keys=IMAGE, pixdim=config.spacing, mode="bilinear", dtype=torch.float32, **nearly))
    return Compose([*steps, ConfiguredIntensities(config)])


class ConfiguredIntensities(MapTransform):  # type: ignore[misc]  # the library ships no types
    """Each image's intensities as the config wants them: further images are the last channels."""

    def __init__(self, config: Auto3DSegConfig) -> None:
        super().__init__(IMAGE)
        self.modes = list(config.modes.values())
        self.intensities_in_words = f"Auto3DSeg: {', '.join(self.modes)}"
        self.scale = ScaleIntensityRange(*config.bounds, b_min=-1.0, b_max=1.0, clip=False)
        self.whole_numbers = config.whole_numbers

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The image with other values."""
        image = data[IMAGE]
        values = image.as_tensor()
        first = len(values) - len(self.modes) + 1  # channels of the image itself
        if self.whole_numbers:
            values = torch.cat([values[:first].to(torch.int16).float(), values[first:]])
        parts = [values[:first], *values[first:, None]]
        normalised = [_NORMALISATIONS[mode](part, self.scale) for mode, part in zip(self.modes, parts, strict=True)]
        return {**data, IMAGE: convert_to_dst_type(torch.cat(normalised).as_subclass(torch.Tensor), image)[0]}


def _sigmoid_of_range(values: torch.Tensor, scale: ScaleIntensityRange) -> torch.Tensor:
    return torch.sigmoid(scale(values))


def _z_scores(values: torch.Tensor, _: ScaleIntensityRange) -> torch.Tensor:
    scores: torch.Tensor = NormalizeIntensity(nonzero=True, channel_wise=True)(values)
    return scores


def _bent_z_scores(values: torch.Tensor, scale: ScaleIntensityRange) -> torch.Tensor:
    return 3 * torch.tanh(_z_scores(values, scale) / 3)


def _sigmoid_of_deviations(values: torch.Tensor, _: ScaleIntensityRange) -> torch.Tensor:
    return torch.sigmoid((values - values.min()) / values.std())


def _unchanged(values: torch.Tensor, _: ScaleIntensityRange) -> torch.Tensor:
    return values


_NORMALISATIONS: dict[str, Callable[[torch.Tensor, ScaleIntensityRange], torch.Tensor]] = {
    "none": _unchanged,
    "range": _sigmoid_of_range,
    "ct": _sigmoid_of_range,
    "meanstd": _z_scores,
    "mri": _z_scores,
    "meanstdtanh": _bent_z_scores,
    "pet": _sigmoid_of_deviations,
}


def _is_positive(values: torch.Tensor) -> torch.Tensor:
    positive = values > 0
    if not positive.any():
        raise EngineError(
            "preprocessing-empty", "This volume holds nothing above zero. Check that it is the right one."
        )
    return positive
