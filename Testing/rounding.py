"""How far two ways to compute the same thing may lie apart on any processor, from the rounding of its sums and the condition of the problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

ROUNDINGS = 512
"""By so many roundings of the sum of its absolute values, two orders of adding up a sum may differ. For n terms that is n at most, and a few times
the root of n in practice: the networks' convolutions have up to 432 terms (27 voxels of 16 channels), those of VNet 6400."""

CHANGE = 1e-9
"""Relative change of weights, by which a condition is measured: far above the rounding of double precision, and small enough to be linear."""


def relative(found: Any, expected: Any, size: Any = None) -> float:
    """The largest difference over the largest value, or over the largest value of `size`."""
    found, expected = _array(found), _array(expected)
    largest = np.abs(expected if size is None else _array(size)).max()
    return float(np.abs(found - expected).max() / (largest or 1))


def close(
    found: Any,
    expected: Any,
    condition: Callable[[], float] = lambda: 1.0,
    *,
    size: Any = None,
    dtype: torch.dtype = torch.float64,
) -> bool:
    """Whether two computations in another order agree as far as rounding lets them.

    Args:
        found: Array or number.
        expected: Of the same shape.
        condition: How much a relative change grows on the way, as `condition_of` measures it; asked only where that matters.
        size: What rounding is a share of, where `expected` is a sum that may cancel out: the sum of its absolute values.
        dtype: In which the less precise of them was computed.
    """
    rounding = ROUNDINGS * torch.finfo(dtype).eps
    difference = relative(found, expected, size)
    return difference <= rounding or difference <= rounding * condition()


def condition_of(compute: Callable[[], Any], network: nn.Module) -> float:
    """How much larger the relative change of a result is than that of the network's weights (float64) which causes it.

    Rounding acts as such changes do. The condition is large where something is divided by what nearly vanishes.
    """
    exact, largest = _array(compute()), 0.0
    random = torch.Generator().manual_seed(0)
    kept = [parameter.detach().clone() for parameter in network.parameters()]
    for _ in range(3):
        for parameter, value in zip(network.parameters(), kept, strict=True):
            noise = 2 * torch.rand(value.shape, dtype=value.dtype, generator=random) - 1
            parameter.data = value * (1 + CHANGE * noise)
        largest = max(largest, relative(compute(), exact))
    for parameter, value in zip(network.parameters(), kept, strict=True):
        parameter.data = value
    return largest / CHANGE


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach() if isinstance(values, torch.Tensor) else values, np.float64)
