"""MONAI bundles for tests; one of them small enough to run in milliseconds, with every label found somewhere in noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch

LABELS = ("kidney", "tumour")
NETWORK: dict[str, Any] = {"in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2], "norm": "batch"}


def write_tiny_bundle(folder: Path, *, overlap: float = 0.25, spatial_dims: int = 3) -> Path:
    """A bundle of a random but fixed U-Net that outlines kidney and tumour in windows of 16. Much overlap makes it slow."""
    network = {"spatial_dims": spatial_dims, **NETWORK}
    size = [16] * spatial_dims
    inference = {
        "network_def": {"_target_": "UNet", **network},
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": size, "overlap": overlap},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}],
        },
    }
    names = {str(channel): name for channel, name in enumerate(("background", *LABELS))}
    metadata = {
        "name": "Tiny network",
        "license": "Apache-2.0",
        "network_data_format": {"outputs": {"pred": {"channel_def": names}}},
    }
    return write_bundle(folder, inference, metadata, unet_weights(network))


def write_two_channel_bundle(folder: Path) -> Path:
    """The same with a network of two images."""
    torch = pytest.importorskip("torch", reason="a network needs torch")
    write_tiny_bundle(folder)
    file = folder / "configs/inference.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["network_def"]["in_channels"] = 2
    file.write_text(json.dumps(config), encoding="utf-8")
    torch.save(unet_weights({"spatial_dims": 3, **NETWORK, "in_channels": 2}), folder / "models/model.pt")
    return folder


def write_bundle(folder: Path, inference: dict[str, Any], metadata: dict[str, Any], weights: object) -> Path:
    """The three files that make a folder a bundle."""
    torch = pytest.importorskip("torch", reason="a network needs torch")
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "configs/inference.json").write_text(json.dumps(inference), encoding="utf-8")
    (folder / "configs/metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    torch.save(weights, folder / "models/model.pt")
    return folder


def unet_weights(arguments: dict[str, Any], seed: int = 7) -> dict[str, torch.Tensor]:
    """Those of a U-Net as it is initialised, the same for the same seed."""
    torch = pytest.importorskip("torch", reason="a network needs torch")
    from monai.networks.nets import UNet

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet(**arguments).state_dict()


def noise(shape: tuple[int, int, int] = (24, 20, 18), seed: int = 0) -> np.ndarray:
    """Float32 (i, j, k), the same for the same seed."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
