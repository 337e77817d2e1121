"""How much a description may ask of its preprocessing: sizes, kernels and growth, before any transform is built.

The numbers are far above those of real models. What a volume grows to depends on the volume, too; how much memory there is for it is asked when it is
prepared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.untrusted.resolver import ConfigComponent

MAX_STEPS = 100
MAX_RESAMPLINGS = 16
MAX_GROWTH = 64.0
"""Times as many voxels, by all factors of zooms up to any step together."""
MAX_VOXELS = 1 << 30
"""Of a size that is asked for."""

# The smallest and the largest value of arguments that cost time or memory, by their names in MONAI. The cost of a median grows with its cube.
_LIMITS: dict[str, tuple[float, float]] = {
    "window_length": (1, 129),
    "order": (0, 9),
    "radius": (0, 3),
    **dict.fromkeys(("sigma", "sigma1", "sigma2"), (0, 32)),
    "num_bins": (1, 1 << 16),
    "repeats": (1, 64),
    "zoom": (1 / 64, 16),
    **dict.fromkeys(("spatial_size", "roi_size", "k", "spatial_border", "margin"), (-1, 4096)),
    "pixdim": (-1, 1000),
}
_RESAMPLING = ("Zoom", "Resize", "Spacing")
MIN_SPACING = 0.05
"""In mm. Clinical images are not finer."""


def check_transforms(steps: Sequence[ConfigComponent], file: str) -> None:
    """Refuse preprocessing that is out of all proportion.

    Args:
        steps: In their order, resolved.
        file: The description's name for messages.

    Raises:
        EngineError: `bundle-transform`.
    """
    if len(steps) > MAX_STEPS:
        raise _refused(file, steps[MAX_STEPS], f"is step {MAX_STEPS + 1}; at most {MAX_STEPS} are supported")
    growth, resamplings = 1.0, 0
    for step in steps:
        for name, (low, high) in _LIMITS.items():
            for number in _numbers(step.arguments.get(name)):
                if not low <= number <= high:
                    raise _refused(file, step, f"has {number:g} in '{name}', where {low:g} to {high:g} is supported")
        size = [number for number in _numbers(step.arguments.get("spatial_size")) if number > 0]
        if math.prod(size) > MAX_VOXELS:
            raise _refused(
                file, step, f"asks for {math.prod(size):g} voxels, more than the {MAX_VOXELS} that are supported"
            )
        if any(0 < number < MIN_SPACING for number in _numbers(step.arguments.get("pixdim"))):
            raise _refused(file, step, f"asks for a spacing below {MIN_SPACING} mm")
        resamplings += step.name.startswith(_RESAMPLING)
        growth *= _growth(step)
        if growth > MAX_GROWTH or resamplings > MAX_RESAMPLINGS:
            raise _refused(file, step, "resamples the image more often, or to far more voxels, than any model needs")


def _growth(step: ConfigComponent) -> float:
    """How many times as many voxels a zoom makes; with one factor for all axes, of three."""
    zoom = step.arguments.get("zoom")
    factors = list(_numbers(zoom))
    return math.prod(factors) if isinstance(zoom, list | tuple) and len(factors) > 1 else math.prod(factors * 3)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _refused(file: str, step: ConfigComponent, problem: str) -> EngineError:
    return EngineError(
        "bundle-transform",
        f"'{file}' has a {step.name} at '{step.where}' that {problem}. Ask the model's author for preprocessing within these limits.",
    )
