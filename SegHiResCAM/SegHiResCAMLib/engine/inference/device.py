"""Where the computation runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.records.question import Device, Precision


def choose_device(name: Device, spatial_dims: int) -> torch.device:
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


def short_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The type of numbers that convolutions are computed in where precision is mixed; None for that of the network.

    bfloat16 has the range of float32, so that no gradient becomes zero; float16 where the device knows nothing better.
    """
    if precision == "full":
        return None
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """While open, and if wanted, PyTorch computes the same numbers every time.

    Raises:
        EngineError: `not-deterministic`, when the network needs an operation that has no such form on this device.
    """
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # matrix products on CUDA want it
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise EngineError(
            "not-deterministic",
            "This network has an operation that cannot be computed the same way twice on this device. Use --device cpu, or omit --deterministic.",
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
