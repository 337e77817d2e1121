"""Networks that also take a person's clicks (DeepEdit, DeepGrow), used without any: their channels for clicks hold zeros.

That is what DeepEdit itself gives them where nobody has clicked yet, and part of its training.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from SegHiResCAMLib.engine.models.untrusted.resolver import Config, ConfigComponent

# The transform that appends the channels, and those that only move or make clicks: by MONAI's names, wherever the class comes from.
_SIGNAL = "AddGuidanceSignal"
_ONLY_CLICKS = (
    "AddGuidance", "AddInitialSeedPoint", "AddRandomGuidance", "DiscardAddGuidance", "FindAllValidSlices", "FindDiscrepancyRegions",
    "OrientationGuidance", "ResizeGuidance", "RestoreLabel", "SpatialCropGuidance",
)  # fmt: skip


NEEDS_CLICKS = "cuts pieces out of the image around a person's clicks: without clicks there is nothing to segment"
"""Of transforms as in NuClick; completes "which ..."."""


def needs_clicks(component: ConfigComponent) -> bool:
    """Whether a transform makes its image out of clicks."""
    return component.name.startswith(("AddClickSignals", "AddPointGuidanceSignal"))


def is_about_clicks(component: ConfigComponent) -> bool:
    """Whether a transform treats clicks alone, so that without clicks it does nothing to the image."""
    return component.name.startswith(_ONLY_CLICKS)


def click_channels(config: Config, key: str, in_channels: int) -> int:
    """How many of a network's input channels are for clicks: all behind those that the preprocessing under `key` keeps for the image."""
    signals = [step for step in config.steps(key) if step.name.startswith(_SIGNAL)] if key in config else []
    if not signals:
        return 0
    images = config.need(signals[0].arguments.get("number_intensity_ch", 1))
    return max(0, in_channels - images) if isinstance(images, int) and images > 0 else 0


def without_clicks(network: torch.nn.Module, channels: int) -> None:
    """Make a network take images alone: `channels` channels of zeros are appended to each."""
    network.register_forward_pre_hook(partial(_with_no_clicks, channels))


def _with_no_clicks(channels: int, _network: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    image, *rest = inputs
    return torch.cat([image, image.new_zeros(image.shape[0], channels, *image.shape[2:])], dim=1), *rest
