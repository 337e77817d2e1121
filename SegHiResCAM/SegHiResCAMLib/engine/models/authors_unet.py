"""The 2D U-Net that the authors of Seg-HiRes-Grad CAM released with their paper, rebuilt so that their checkpoints load.

Rheude, Wirtz, Kuijper, Wesarg: Leveraging CAM Algorithms for Explaining Medical Semantic Segmentation. MELBA 2024:023; architecture
after Ronneberger et al., MICCAI 2015, with padded convolutions, batch normalisation and transposed convolutions. Modules are named as in
the released program, because checkpoints name their weights after them.

Two things differ: the output is always logits (the released network ends in a sigmoid where it has a single class), and a layer is chosen
from outside, not in `forward`. What the released program calls level 0 to 8 is `layer_aliases`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import pad


class AuthorsUNet(nn.Module):
    """Input (B, C, x, y) of any size from 2^(depth - 1), output logits (B, classes, x, y).

    Args:
        encoder_channels: Input channels, then those of each level down, for example (1, 64, 128, 256, 512, 1024).
        decoder_channels: Those of each level up, then the number of classes, for example (1024, 512, 256, 128, 64, 4).

    Attributes:
        layer_aliases: "level-0" to "level-8" of the released program -> the module whose output is meant: 0 to 3 on the way down (before
            pooling), 4 the bottleneck, 5 to 7 on the way up, 8 before the last 1x1 convolution. A shallower network lacks those in between.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int] = (1, 64, 128, 256, 512, 1024),
        decoder_channels: Sequence[int] = (1024, 512, 256, 128, 64, 1),
    ) -> None:
        super().__init__()
        depth = len(encoder_channels) - 1
        if not (3 <= depth <= 5 and len(decoder_channels) == depth + 1):
            message = "encoder_channels and decoder_channels must be equally many, 4 to 6"
            raise ValueError(message)
        down, up = list(encoder_channels), list(decoder_channels)
        joined = [rising + skipped for rising, skipped in zip(up[1:-1], down[-2:0:-1], strict=True)]
        if up[0] != down[-1] or up[:-2] != joined:
            message = f"decoder_channels {up} do not take up what encoder_channels {down} hand over"
            raise ValueError(message)
        self.encoder = nn.ModuleList(_Down(before, after) for before, after in itertools.pairwise(down))
        self.upconv = nn.ConvTranspose2d(up[0], up[1], kernel_size=2, stride=2)
        self.decoder = nn.ModuleList(_Up(*up[level : level + 3]) for level in range(depth - 2))
        self.final_layer = nn.ModuleList((_Single(up[-3], up[-2]), _Single(up[-2], up[-2]), _Classes(up[-2], up[-1])))
        ways_down = [*range(depth - 1), 4]
        self.layer_aliases = {
            **{f"level-{level}": f"encoder.{i}.conv_block_without_pool" for i, level in enumerate(ways_down)},
            **{f"level-{5 + i}": f"decoder.{i}" for i in range(depth - 2)},
            "level-8": "final_layer.1",
        }

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits on the input's grid."""
        skipped: list[torch.Tensor] = []
        for block in self.encoder:
            before_pooling, x = block(x)
            skipped.append(before_pooling)
        x = self.upconv(skipped.pop())
        for block in self.decoder:
            x = block(_joined(x, skipped.pop()))
        x = _joined(x, skipped.pop())
        for block in self.final_layer:
            x = block(x)
        return x


class _Down(nn.Module):
    """Two convolutions, then pooling; returns what is there before and after it."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv_block_without_pool = nn.Sequential(*_convolved(before, after), *_convolved(after, after))
        self.pool_block = nn.Sequential(nn.MaxPool2d(kernel_size=2, stride=2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.conv_block_without_pool(x)
        return x, self.pool_block(x)


class _Up(nn.Module):
    """Two convolutions and a transposed one that doubles the grid."""

    def __init__(self, before: int, between: int, after: int) -> None:
        super().__init__()
        doubled = nn.ConvTranspose2d(between, after, kernel_size=4, stride=2, padding=1)
        self.upconv_block_with_transpose = nn.Sequential(
            *_convolved(before, between), *_convolved(between, between), doubled
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.upconv_block_with_transpose(x)
        return found


class _Single(nn.Module):
    """One convolution with normalisation and activation."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(*_convolved(before, after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv_block(x)
        return found


class _Classes(nn.Module):
    """The last 1x1 convolution."""

    def __init__(self, before: int, classes: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(before, classes, kernel_size=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv_block(x)
        return found


def _convolved(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, kernel_size=3, padding=1), nn.BatchNorm2d(after), nn.ReLU()


def _joined(x: torch.Tensor, skipped: torch.Tensor) -> torch.Tensor:
    """Both along the channels; where an odd grid was halved, `x` gets its missing first row or column of zeros."""
    rows, columns = (there - here for there, here in zip(skipped.shape[2:], x.shape[2:], strict=True))
    return torch.cat([pad(x, (columns, 0, rows, 0)), skipped], dim=1)
