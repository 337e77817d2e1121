"""Where the computation runs."""

from __future__ import annotations

from typing import Literal

import torch

from SegHiResCAMLib.engine.errors import EngineError

DeviceName = Literal["auto", "cuda", "mps", "cpu"]


def choose_device(name: DeviceName, spatial_dims: int) -> torch.device:
    """The device to compute on; "auto" takes the fastest that can do it.

    Args:
        name: "auto", "cuda", "mps" or "cpu".
        spatial_dims: Of the network: Apple's GPU backend has no reliable 3D convolutions, so "auto" avoids it for them.

    Raises:
        EngineError: `device-missing`, when a device is asked for that is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        if available["cuda"]:
            return torch.device("cuda")
        return torch.device("mps" if available["mps"] and spatial_dims == 2 else "cpu")
    if not available.get(name, False):
        there = ", ".join(device for device, is_there in available.items() if is_there)
        raise EngineError(
            "device-missing", f"There is no device '{name}' that PyTorch can use here. Available: auto, {there}."
        )
    return torch.device(name)
