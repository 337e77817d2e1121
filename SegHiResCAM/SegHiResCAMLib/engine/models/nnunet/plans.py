"""What nnU-Net's plans.json says of one configuration: windows, spacing, intensities, resampling and network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.nnunet.architecture import Architecture, read_architecture
from SegHiResCAMLib.engine.models.nnunet.section import Section
from SegHiResCAMLib.engine.models.untrusted.config_file import read_config

MAX_WINDOW = 1 << 28
"""Positions: more than any network was trained on, and more than any memory holds."""

# How nnU-Net's image readers give a volume's axes: as stored, or turned to RAS.
_READERS = {
    "SimpleITKIO": False,
    "NibabelIO": False,
    "NaturalImage2DIO": False,
    "Tiff3DIO": False,
    "SimpleITKIOWithReorient": True,
    "NibabelIOWithReorient": True,
}
SCHEMES = (
    "CTNormalization",
    "ZScoreNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
)
_INTENSITY_KEYS = ("foreground_intensity_properties_per_channel", "foreground_intensity_properties_by_modality")
_RESAMPLING = ("resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack")


@dataclass(frozen=True)
class Intensities:
    """How one input channel is normalised.

    Attributes:
        scheme: One of `SCHEMES`.
        inside: Z-scores of the voxels inside the nonzero region alone; the others stay as they are.
        lower: Of CT values that are clipped.
        upper: The same.
        mean: That is subtracted from CT values.
        deviation: By which they are divided then.
    """

    scheme: str
    inside: bool = False
    lower: float = 0.0
    upper: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0


@dataclass(frozen=True)
class Resampling:
    """How volumes come to the network's spacing.

    Attributes:
        function: "resample_data_or_seg_to_shape" (splines), "resample_torch_fornnunet" (linear) or "no_resampling_hack".
        order: Of the splines.
        order_z: Of those along an axis with much larger steps than the others.
        separate_z: Whether that axis is treated by itself; None where the spacing decides.
    """

    function: str
    order: int = 3
    order_z: int = 0
    separate_z: bool | None = None


@dataclass(frozen=True)
class Plans:
    """One configuration. Axes are those of the network: a volume's stored ones backwards, then in the order of `transpose`.

    Attributes:
        name: Of the data set.
        configuration: "2d", "3d_fullres", ...
        window: Its size.
        spacing: In mm; in-plane alone for "2d".
        transpose: Which of the axes k, j, i (0, 1, 2) becomes which.
        turns_to_ras: Whether volumes are turned to RAS first.
        intensities: Of each input channel.
        resampling: Of images.
        architecture: Of the network.
    """

    name: str
    configuration: str
    window: tuple[int, ...]
    spacing: tuple[float, ...]
    transpose: tuple[int, int, int]
    turns_to_ras: bool
    intensities: tuple[Intensities, ...]
    resampling: Resampling
    architecture: Architecture

    @property
    def dims(self) -> Literal[2, 3]:
        """Spatial axes of the network."""
        return 2 if len(self.window) == 2 else 3


def read_plans(path: Path, configuration: str, channels: int) -> Plans:
    """The plans of one configuration.

    Args:
        path: The file plans.json.
        configuration: Which one; the checkpoint knows.
        channels: Input channels of the data set.

    Raises:
        EngineError: `nnunet-plans`, `nnunet-cascade`, `nnunet-network`, or as `read_config`.
    """
    plans = Section(read_config(path), str(path))
    chosen = _inherited(plans, configuration)
    if chosen.content.get("previous_stage"):
        raise EngineError(
            "nnunet-cascade",
            f"'{path}' describes '{configuration}' as the second stage of a cascade, which also needs the segmentation of the first stage; that "
            "is not supported. Give the results of '3d_lowres', '3d_fullres' or '2d'.",
        )
    window = chosen.integers("patch_size", 1, 1 << 14)
    spacing = chosen.numbers("spacing")
    if len(window) not in (2, 3) or math.prod(window) > MAX_WINDOW:
        raise chosen.refusal("patch_size", f"2 or 3 lengths of no more than {MAX_WINDOW} positions together")
    if len(spacing) != len(window):
        raise chosen.refusal("spacing", f"{len(window)} lengths in mm")
    architecture = read_architecture(chosen, len(window))
    for axis, length in enumerate(window):
        step = math.prod(stride[axis] for stride in architecture.strides)
        if length % step:
            raise chosen.refusal("patch_size", f"multiples of what the network strides over ({step} along axis {axis})")
    return Plans(
        name=" ".join(plans.text("dataset_name", "").split())[:100],
        configuration=configuration,
        window=window,
        spacing=spacing,
        transpose=_transpose(plans),
        turns_to_ras=_turns_to_ras(plans),
        intensities=tuple(_intensities(plans, chosen, channel, channels) for channel in range(channels)),
        resampling=_resampling(chosen),
        architecture=architecture,
    )


def _inherited(plans: Section, name: str) -> Section:
    """A configuration with what it inherits from others."""
    configurations = plans.section("configurations")
    content: dict[str, Any] = {}
    seen: list[str] = []
    while name:
        if name in seen or name not in configurations:
            known = ", ".join(f"'{known[:40]}'" for known in list(configurations.content)[:10])
            raise EngineError(
                "nnunet-plans",
                f"'{plans.file}' does not describe the configuration '{name[:40]}' that is needed, only {known}. Ask the model's author for the "
                "plans.json of this model.",
            )
        seen.append(name)
        part = configurations.section(name)
        content = {**part.content, **content}
        name = part.text("inherits_from", "")
    return Section(content, plans.file)


def _transpose(plans: Section) -> tuple[int, int, int]:
    order = plans.integers("transpose_forward", 0, 2, 3)
    if sorted(order) != [0, 1, 2]:
        raise plans.refusal("transpose_forward", "each of 0, 1 and 2 once")
    return order[0], order[1], order[2]


def _turns_to_ras(plans: Section) -> bool:
    reader = plans.text("image_reader_writer", "SimpleITKIO")
    if reader not in _READERS:
        raise plans.refusal("image_reader_writer", f"one of {', '.join(_READERS)}")
    return _READERS[reader]


def _intensities(plans: Section, chosen: Section, channel: int, channels: int) -> Intensities:
    schemes, masks = chosen.content.get("normalization_schemes"), chosen.content.get("use_mask_for_norm")
    if not isinstance(schemes, list) or len(schemes) != channels or not all(name in SCHEMES for name in schemes):
        raise chosen.refusal("normalization_schemes", f"{channels} of {', '.join(SCHEMES)}")
    if not isinstance(masks, list) or len(masks) != channels or not all(isinstance(mask, bool) for mask in masks):
        raise chosen.refusal("use_mask_for_norm", f"{channels} times true or false")
    if schemes[channel] != "CTNormalization":
        return Intensities(schemes[channel], masks[channel])
    # Older plans call channels modalities.
    key = next((key for key in _INTENSITY_KEYS if key in plans), _INTENSITY_KEYS[0])
    values = plans.section(key).section(str(channel))
    return Intensities(
        schemes[channel],
        lower=values.number("percentile_00_5"),
        upper=values.number("percentile_99_5"),
        mean=values.number("mean"),
        deviation=values.number("std"),
    )


def _resampling(chosen: Section) -> Resampling:
    function = chosen.text("resampling_fn_data")
    if function not in _RESAMPLING:
        raise chosen.refusal("resampling_fn_data", f"one of {', '.join(_RESAMPLING)}")
    arguments = chosen.section("resampling_fn_data_kwargs")
    separate = arguments.flag("force_separate_z", False)
    decided = arguments.content.get("force_separate_z", None if function == _RESAMPLING[1] else False) is not None
    return Resampling(
        function,
        order=arguments.integer("order", 0, 5, default=3),
        order_z=arguments.integer("order_z", 0, 5, default=0),
        separate_z=separate if decided else None,
    )
