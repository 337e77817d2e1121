"""What nnU-Net's plans.json says of one configuration: windows, spacing, intensities, resampling and network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.config_file import read_config
from SegHiResCAMLib.engine.models.nnunet_network import Architecture
from SegHiResCAMLib.engine.models.nnunet_section import Section

MAX_STAGES = 12
MAX_CONVOLUTIONS = 32
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
_RESAMPLING = ("resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack")
_NORMS = {
    "InstanceNorm2d": nn.InstanceNorm2d,
    "InstanceNorm3d": nn.InstanceNorm3d,
    "BatchNorm2d": nn.BatchNorm2d,
    "BatchNorm3d": nn.BatchNorm3d,
}
_NONLINEARITIES = {
    "LeakyReLU": nn.LeakyReLU,
    "ReLU": nn.ReLU,
    "ELU": nn.ELU,
    "GELU": nn.GELU,
    "SiLU": nn.SiLU,
    "Mish": nn.Mish,
}


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
            f"'{path}' describes '{configuration}' as the second stage of a cascade, which also needs what the first stage outlined; that "
            "is not supported. Give the results of '3d_lowres', '3d_fullres' or '2d'.",
        )
    window = chosen.integers("patch_size", 1, 1 << 14)
    spacing = chosen.numbers("spacing")
    if len(window) not in (2, 3) or math.prod(window) > MAX_WINDOW:
        raise chosen.refusal("patch_size", f"2 or 3 lengths of no more than {MAX_WINDOW} positions together")
    if len(spacing) != len(window):
        raise chosen.refusal("spacing", f"{len(window)} lengths in mm")
    architecture = _architecture(chosen, len(window))
    if any(length % 2 == 0 for kernel in architecture.kernels for length in kernel):
        raise chosen.refusal("architecture", "kernels of odd lengths")
    for axis, length in enumerate(window):
        step = math.prod(stride[axis] for stride in architecture.strides)
        if length % step:
            raise chosen.refusal("patch_size", f"multiples of what the network strides over ({step} along axis {axis})")
    return Plans(
        name=plans.text("dataset_name", ""),
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
                f"'{plans.file}' does not describe the configuration '{name[:40]}' that is needed, only {known}. Ask the sender for the "
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
    key = next(
        (key for key in _INTENSITY_KEYS if key in plans), _INTENSITY_KEYS[0]
    )  # the older plans call channels modalities
    values = plans.section(key).section(str(channel))
    return Intensities(
        schemes[channel],
        lower=values.number("percentile_00_5"),
        upper=values.number("percentile_99_5"),
        mean=values.number("mean"),
        deviation=values.number("std"),
    )


_INTENSITY_KEYS = ("foreground_intensity_properties_per_channel", "foreground_intensity_properties_by_modality")


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


def _architecture(chosen: Section, dims: int) -> Architecture:
    if "architecture" not in chosen:
        return _older_architecture(chosen, dims)
    described = chosen.section("architecture")
    kind = described.text("network_class_name").rpartition(".")[2]
    _check_kind(kind, chosen.file)
    network = described.section("arch_kwargs")
    stages = network.integer("n_stages", 2, MAX_STAGES)
    residual = kind == "ResidualEncoderUNet"
    if network.text("conv_op").rpartition(".")[2] != f"Conv{dims}d":
        raise network.refusal("conv_op", f"a convolution of {dims} dimensions")
    for key in ("block", "bottleneck_channels"):
        if network.content.get(key) is not None:
            raise network.refusal(key, "nothing, since only basic residual blocks are supported,")
    return Architecture(
        residual=residual,
        dims=dims,
        features=network.integers("features_per_stage", 1, 10_000, stages),
        kernels=network.sizes("kernel_sizes", 1, 31, stages, dims),
        strides=network.sizes("strides", 1, 16, stages, dims),
        convs_down=network.integers(
            "n_blocks_per_stage" if residual else "n_conv_per_stage", 1, MAX_CONVOLUTIONS, stages
        ),
        convs_up=network.integers("n_conv_per_stage_decoder", 1, MAX_CONVOLUTIONS, stages - 1),
        bias=network.flag("conv_bias", False),
        norm=_class(network, "norm_op", _NORMS, dims),
        norm_arguments=_arguments(network, "norm_op_kwargs", ("eps", "affine", "momentum", "track_running_stats")),
        nonlinearity=_class(network, "nonlin", _NONLINEARITIES, dims),
        nonlinearity_arguments=_arguments(network, "nonlin_kwargs", ("inplace", "negative_slope", "alpha")),
        nonlinearity_first=network.flag("nonlin_first", False),
        stem=network.integer("stem_channels", 1, 10_000) if network.content.get("stem_channels") else None,
    )


def _older_architecture(chosen: Section, dims: int) -> Architecture:
    """Plans of nnU-Net before 2.4 leave to the program what they do not say here."""
    kind = chosen.text("UNet_class_name")
    _check_kind(kind, chosen.file)
    convs_down = chosen.integers("n_conv_per_stage_encoder", 1, MAX_CONVOLUTIONS)
    stages = len(convs_down)
    if not 2 <= stages <= MAX_STAGES:
        raise chosen.refusal("n_conv_per_stage_encoder", f"2 to {MAX_STAGES} numbers")
    first = chosen.integer("UNet_base_num_features", 1, 10_000)
    most = chosen.integer("unet_max_num_features", 1, 10_000)
    return Architecture(
        residual=kind == "ResidualEncoderUNet",
        dims=dims,
        features=tuple(min(first * 2**stage, most) for stage in range(stages)),
        kernels=chosen.sizes("conv_kernel_sizes", 1, 31, stages, dims),
        strides=chosen.sizes("pool_op_kernel_sizes", 1, 16, stages, dims),
        convs_down=convs_down,
        convs_up=chosen.integers("n_conv_per_stage_decoder", 1, MAX_CONVOLUTIONS, stages - 1),
        bias=True,
        norm=_NORMS[f"InstanceNorm{dims}d"],
        norm_arguments={"eps": 1e-5, "affine": True},
        nonlinearity=nn.LeakyReLU,
        nonlinearity_arguments={"inplace": True},
    )


def _check_kind(kind: str, file: str) -> None:
    if kind not in ("PlainConvUNet", "ResidualEncoderUNet"):
        raise EngineError(
            "nnunet-network",
            f"'{file}' names the network '{kind[:80]}'; only PlainConvUNet and ResidualEncoderUNet can be opened. Ask the sender for a "
            "model that was trained with one of nnU-Net's own plans.",
        )


def _class(network: Section, key: str, known: dict[str, Any], dims: int) -> Any:
    if network.content.get(key) is None:
        return None
    name = network.text(key).rpartition(".")[2]
    if name not in known or (name.endswith("d") and not name.endswith(f"{dims}d")):
        raise network.refusal(key, f"one of {', '.join(known)} for {dims} dimensions")
    return known[name]


def _arguments(network: Section, key: str, allowed: tuple[str, ...]) -> dict[str, Any]:
    arguments = network.content.get(key) or {}
    plain = isinstance(arguments, dict) and all(
        name in allowed and isinstance(value, bool | int | float) for name, value in arguments.items()
    )
    if not plain:
        raise network.refusal(key, f"numbers for {', '.join(allowed)}")
    return dict(arguments)
