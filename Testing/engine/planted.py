"""A network of which it is known what it reads: bright voxels, 10 voxels behind what it segments, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from tiny_bundle import write_tiny_bundle

from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.engine.window_settings import WindowSettings

CUBE = (slice(19, 25), slice(9, 15), slice(9, 15))
"""Of the planted volume, what is bright; the network segments what lies 10 voxels before it along the first axis."""


class Planted(torch.nn.Module):
    """Segments what lies 10 voxels before bright voxels along the first axis."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = torch.nn.Conv3d(1, 2, 1)
        self.moving = torch.nn.Conv3d(2, 2, (21, 1, 1), padding=(10, 0, 0), bias=False)
        for weight in self.parameters():
            torch.nn.init.zeros_(weight)
        with torch.no_grad():
            self.reading.weight[1] = 1.0
            self.reading.bias[1] = -50.0
            self.moving.weight[1, 1, 20] = 1.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = self.moving(self.reading(images).relu())
        return moved


def planted(folder: Path, shape: tuple[int, int, int] = (32, 32, 32)) -> SegmentationModel:
    """The network as a model of "kidney", whose window is a volume of this shape."""
    tiny = open_model(write_tiny_bundle(folder / "bundle"))
    network = Planted().eval().requires_grad_(False)
    return replace(tiny, network=network, labels=tiny.labels[:1], window=WindowSettings(size=shape))


def planted_volume(shape: tuple[int, int, int] = (32, 32, 32)) -> MetaTensor:
    """Tissue with noise, and the bright cube."""
    values = np.random.default_rng(0).normal(0, 5, shape).astype(np.float32)
    values[CUBE] = 100
    return MetaTensor(torch.from_numpy(values)[None], affine=torch.eye(4, dtype=torch.float64))
