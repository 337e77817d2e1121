"""nnU-Net's two networks, U-Nets with a plain or a residual encoder, as its plans describe them.

Modules are called what nnU-Net's checkpoints call their weights: `encoder.stages.2.0.convs.1.conv`, `decoder.transpconvs.0`. A
checkpoint names the same weights up to four times (`all_modules`, `decoder.encoder`); here every module stands once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.models.nnunet.architecture import Architecture
from SegHiResCAMLib.engine.models.untrusted.checkpoint import check_fit, load_weights

_CONVOLUTION: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_UPWARD: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_MEAN: dict[int, Any] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}


def build_unet(
    architecture: Architecture,
    in_channels: int,
    out_channels: int,
    weights: Mapping[str, torch.Tensor],
    plans_file: str,
    weights_file: str,
) -> nn.Module:
    """The network with its weights, in eval mode and frozen.

    The weights are held against a network without memory first, so that plans cannot ask for more than the weights fill.

    Args:
        architecture: From the plans.
        in_channels: Images of a patient.
        out_channels: Classes or regions.
        weights: From `once`.
        plans_file: The plans' name for error messages.
        weights_file: The weights' name for error messages.

    Raises:
        EngineError: `nnunet-network`, where a part does not take the arguments that it is given; `weights-mismatch`.
    """
    try:
        with torch.device("meta"):
            network = UNet(architecture, in_channels, out_channels)
    except Exception as error:
        refuse_out_of_memory(error, f"'{plans_file}'")
        raise EngineError(
            "nnunet-network",
            f"'{plans_file}' describes a network that PyTorch cannot build: {' '.join(str(error).split())[:200]}. Ask the model's author for the "
            "undamaged file of this model.",
        ) from error
    check_fit(network, weights, weights_file)
    network = network.to_empty(device="cpu")  # all that it holds is loaded
    load_weights(network, weights, weights_file)
    return network.float().eval().requires_grad_(False)


def once(weights: Mapping[str, torch.Tensor], file: str) -> dict[str, torch.Tensor]:
    """The weights of an nnU-Net checkpoint, each under one of the names that it has there.

    Raises:
        EngineError: `weights-mismatch`, where two names of the same weights hold different values.
    """
    found: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        own = re.sub(r"(^|\.)decoder\.encoder\.", r"\1encoder.", name)
        own = re.sub(r"\.all_modules\.(\d+)\.", lambda part: ".conv." if part[1] == "0" else ".norm.", own)
        known = found.setdefault(own, tensor)
        shared = known.data_ptr() == tensor.data_ptr() and known.shape == tensor.shape
        if not shared and not torch.equal(known, tensor):
            raise EngineError(
                "weights-mismatch",
                f"'{file}' holds other values under '{name[:100]}' than under '{own[:100]}', which stand for the same weights. Ask the "
                "model's author for an undamaged checkpoint.",
            )
    return found


class FoldEnsemble(nn.Module):
    """The mean of the logits of networks that were trained on other folds of the same data.

    Each is a child named after its folder, `fold_0`; so a layer belongs to one fold: `fold_0.decoder.stages.3`.
    """

    def __init__(self, folds: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, network in folds.items():
            self.add_module(name, network)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Mean logits (B, K, *spatial) of an image (B, C, *spatial)."""
        logits = [fold(image) for fold in self.children()]
        return torch.stack(logits).mean(dim=0)


class UNet(nn.Module):
    """An encoder of several stages and a decoder that goes back up over their skip connections."""

    def __init__(self, a: Architecture, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.encoder = ResidualEncoder(a, in_channels) if a.residual else PlainEncoder(a, in_channels)
        self.decoder = Decoder(a, out_channels)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, *spatial) of an image (B, C, *spatial)."""
        logits: torch.Tensor = self.decoder(self.encoder(image))
        return logits


class PlainEncoder(nn.Module):
    """Stages of convolutions; each begins with its stride."""

    def __init__(self, a: Architecture, channels: int) -> None:
        super().__init__()
        before = (channels, *a.features[:-1])
        self.stages = nn.Sequential(
            *(
                nn.Sequential(StackedConvolutions(a, count, inputs, outputs, kernel, stride))
                for count, inputs, outputs, kernel, stride in zip(
                    a.convs_down, before, a.features, a.kernels, a.strides, strict=True
                )
            )
        )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """What each stage makes of an image, the finest first."""
        return _after_each(self.stages, image)


class ResidualEncoder(nn.Module):
    """A convolution, then stages of residual blocks; each begins with its stride."""

    def __init__(self, a: Architecture, channels: int) -> None:
        super().__init__()
        width = a.stem or a.features[0]
        self.stem = StackedConvolutions(a, 1, channels, width, a.kernels[0], (1,) * a.dims)
        before = (width, *a.features[:-1])
        self.stages = nn.Sequential(
            *(
                StackedResidualBlocks(a, count, inputs, outputs, kernel, stride)
                for count, inputs, outputs, kernel, stride in zip(
                    a.convs_down, before, a.features, a.kernels, a.strides, strict=True
                )
            )
        )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """What each stage makes of an image, the finest first."""
        return _after_each(self.stages, self.stem(image))


class Decoder(nn.Module):
    """Up from the coarsest stage. Only the last of `seg_layers` predicts; the others guided the training."""

    def __init__(self, a: Architecture, out_channels: int) -> None:
        super().__init__()
        upwards = list(zip(a.features[:-1], a.features[1:], a.kernels[:-1], a.strides[1:], strict=True))[::-1]
        self.stages = nn.ModuleList(
            StackedConvolutions(a, count, 2 * finer, finer, kernel, (1,) * a.dims)
            for count, (finer, _, kernel, _) in zip(a.convs_up, upwards, strict=True)
        )
        self.transpconvs = nn.ModuleList(
            _UPWARD[a.dims](coarser, finer, stride, stride, bias=a.bias) for finer, coarser, _, stride in upwards
        )
        self.seg_layers = nn.ModuleList(_CONVOLUTION[a.dims](finer, out_channels, 1) for finer, *_ in upwards)

    def forward(self, skips: list[torch.Tensor]) -> torch.Tensor:
        """Logits from what the encoder's stages gave."""
        features = skips[-1]
        for up, convolutions, skip in zip(self.transpconvs, self.stages, reversed(skips[:-1]), strict=True):
            features = convolutions(torch.cat((up(features), skip), dim=1))
        logits: torch.Tensor = self.seg_layers[-1](features)
        return logits


class StackedConvolutions(nn.Module):
    """Convolutions in a row; the first one takes the stride."""

    def __init__(
        self,
        a: Architecture,
        count: int,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvolutionBlock(a, inputs, outputs, kernel, stride),
            *(ConvolutionBlock(a, outputs, outputs, kernel, (1,) * a.dims) for _ in range(count - 1)),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Convolved features."""
        convolved: torch.Tensor = self.convs(features)
        return convolved


class ConvolutionBlock(nn.Module):
    """Convolution, normalisation, activation. Dropout does nothing outside of training and has no weights."""

    def __init__(
        self,
        a: Architecture,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        *,
        activated: bool = True,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        padding = tuple((length - 1) // 2 for length in kernel)
        self.conv = _CONVOLUTION[a.dims](
            inputs, outputs, kernel, stride, padding, bias=a.bias if bias is None else bias
        )
        self.norm = a.norm(outputs, **a.norm_arguments) if a.norm else None
        self.nonlin = a.nonlinearity(**a.nonlinearity_arguments) if a.nonlinearity and activated else None
        self.nonlinearity_first = a.nonlinearity_first

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Convolved, normalised and activated features."""
        features = self.conv(features)
        steps = (self.nonlin, self.norm) if self.nonlinearity_first else (self.norm, self.nonlin)
        for step in steps:
            features = features if step is None else step(features)
        return features


class StackedResidualBlocks(nn.Module):
    """Residual blocks in a row; the first one takes the stride."""

    def __init__(
        self,
        a: Architecture,
        count: int,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            ResidualBlock(a, inputs, outputs, kernel, stride),
            *(ResidualBlock(a, outputs, outputs, kernel, (1,) * a.dims) for _ in range(count - 1)),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features after all blocks."""
        added: torch.Tensor = self.blocks(features)
        return added


class ResidualBlock(nn.Module):
    """Two convolutions and a way around them: averaged where they stride, projected where they change the channels (ResNet-D)."""

    def __init__(
        self, a: Architecture, inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        super().__init__()
        ones = (1,) * a.dims
        self.conv1 = ConvolutionBlock(a, inputs, outputs, kernel, stride)
        self.conv2 = ConvolutionBlock(a, outputs, outputs, kernel, ones, activated=False)
        self.nonlin2 = a.nonlinearity(**a.nonlinearity_arguments) if a.nonlinearity else nn.Identity()
        around: list[nn.Module] = [_MEAN[a.dims](stride, stride)] if stride != ones else []
        if inputs != outputs:
            around.append(ConvolutionBlock(a, inputs, outputs, ones, ones, activated=False, bias=False))
        self.skip = nn.Sequential(*around) if around else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features after both ways are added."""
        around = features if self.skip is None else self.skip(features)
        activated: torch.Tensor = self.nonlin2(self.conv2(self.conv1(features)) + around)
        return activated


def _after_each(stages: nn.Sequential, features: torch.Tensor) -> list[torch.Tensor]:
    found = []
    for stage in stages:
        features = stage(features)
        found.append(features)
    return found
