"""What nnU-Net's plans say of a network, and how that is read from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.nnunet.section import Section

MAX_STAGES = 12
MAX_CONVOLUTIONS = 32

Sizes = tuple[tuple[int, ...], ...]

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
class Architecture:
    """What plans say of a network.

    Attributes:
        residual: ResidualEncoderUNet rather than PlainConvUNet.
        dims: Spatial axes, 2 or 3.
        features: Channels of each stage on the way down.
        kernels: Kernel size of each stage along each axis.
        strides: With which each stage begins.
        convs_down: Convolutions, or residual blocks, of each stage on the way down.
        convs_up: Convolutions of each stage on the way up, the coarsest first.
        bias: Whether convolutions have one.
        norm: Class of the normalisation, or None.
        norm_arguments: Of that class.
        nonlinearity: Class of the activation, or None.
        nonlinearity_arguments: Of that class.
        nonlinearity_first: Before the normalisation.
        stem: Channels of a residual encoder's first convolution.
    """

    residual: bool
    dims: int
    features: tuple[int, ...]
    kernels: Sizes
    strides: Sizes
    convs_down: tuple[int, ...]
    convs_up: tuple[int, ...]
    bias: bool
    norm: type[nn.Module] | None
    nonlinearity: type[nn.Module] | None
    norm_arguments: dict[str, Any] = field(default_factory=dict)
    nonlinearity_arguments: dict[str, Any] = field(default_factory=dict)
    nonlinearity_first: bool = False
    stem: int | None = None

    @property
    def name(self) -> str:
        """What nnU-Net calls it."""
        return "ResidualEncoderUNet" if self.residual else "PlainConvUNet"


def read_architecture(chosen: Section, dims: int) -> Architecture:
    """The network of a configuration.

    Args:
        chosen: The configuration.
        dims: Spatial axes of its window.

    Raises:
        EngineError: `nnunet-plans`, `nnunet-network`.
    """
    architecture = _described(chosen, dims) if "architecture" in chosen else _older(chosen, dims)
    if any(length % 2 == 0 for kernel in architecture.kernels for length in kernel):
        raise chosen.refusal("architecture", "kernels of odd lengths")
    return architecture


def _described(chosen: Section, dims: int) -> Architecture:
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
            raise network.refusal(key, "no value, since only basic residual blocks are supported,")
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


def _older(chosen: Section, dims: int) -> Architecture:
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
            f"'{file}' names the network '{kind[:80]}'; only PlainConvUNet and ResidualEncoderUNet can be opened. Ask the model's author for a "
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
