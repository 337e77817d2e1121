"""Does a map depend on what the network learned? Weights after the layer are drawn again, from the output backwards (Adebayo et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from SegHiResCAMLib.engine.cam.leaf import LAYER_NAME
from SegHiResCAMLib.engine.evidence.probe import Probe, in_domain
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.records.map_check import WeightsTest

STAGES = 3
"""How far back weights are drawn again: a third of the layers after the explained one, two thirds, all."""

COMPARED = 2**18
"""Positions that are ranked at most, evenly spread: maps are smooth."""


def weights_test(
    probe: Probe, signed_map: torch.Tensor, stages: int, seed: int, progress: Progress
) -> WeightsTest | None:
    """How similar a map (B, *spatial) stays, in one map a stage; None where no weights follow the layer."""
    modules = _tail(probe)
    if not modules:
        return None
    ends = sorted({math.ceil(len(modules) * stage / stages) for stage in range(1, stages + 1)})
    similarities = []
    for number, end in enumerate(ends):
        with drawn_again([module for _, module in modules[:end]], seed):
            other = probe.signed_map(probe.stack, part(progress, number / len(ends), (number + 1) / len(ends)))
        similarities.append(similarity(probe, signed_map, other))
    return WeightsTest(tuple(modules[end - 1][0] for end in ends), tuple(similarities))


def similarity(probe: Probe, one: torch.Tensor, other: torch.Tensor) -> float:
    """Spearman's rank correlation of two maps within what the touched windows cover; 0 where one of them is constant."""
    first, second = (in_domain(values, probe.domain).ravel() for values in (one, other))
    step = max(len(first) // COMPARED, 1)
    return rank_correlation(first[::step], second[::step])


def rank_correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Spearman's, of two rows of values; 0 where one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    from scipy.stats import spearmanr  # takes half a second, and few questions need it

    return float(spearmanr(first, second).statistic)


def _tail(probe: Probe) -> list[tuple[str, torch.nn.Module]]:
    """Modules with weights of their own whose output comes after the explained layer's, the last one first."""
    named = dict(probe.model.network.named_modules())
    first = min(layer.order for layer in probe.layers)
    found: dict[str, int] = {}
    for layer in probe.all_layers:
        path = _path(layer.name)
        if layer.order > first and path in named and _has_weights(named[path]):
            found[path] = max(found.get(path, -1), layer.order)
    return [(path, named[path]) for path in sorted(found, key=lambda one: -found[one])]


def _has_weights(module: torch.nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _path(name: str) -> str:
    parts = LAYER_NAME.fullmatch(name)
    return parts["path"] if parts else name


@contextmanager
def drawn_again(modules: Sequence[torch.nn.Module], seed: int) -> Iterator[None]:
    """While open, weights of some modules are normal random numbers with each tensor's own mean and standard deviation."""
    weights = [one for module in modules for one in module.parameters(recurse=False) if one.is_floating_point()]
    before = [one.detach().clone() for one in weights]
    generator = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            for one in weights:
                spread = float(one.std()) if one.numel() > 1 else float(one.abs().max())
                noise = torch.randn(one.shape, generator=generator, dtype=torch.float64)
                one.copy_((noise * spread + float(one.mean()) * (one.numel() > 1)).to(one))
        yield
    finally:
        with torch.no_grad():
            for one, kept in zip(weights, before, strict=True):
                one.copy_(kept)
