"""Which input image does a score depend on? Exact Shapley values over all combinations of a network's input images (Shapley 1953).

An image that is left out is replaced everywhere by what could stand in place of the explained region (`fills.py`), on the model's grid, so the
values say what each image adds beyond the tissue around the region. They add up to S(all) - S(none) by construction, and an image that the
network ignores gets 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import factorial

import numpy as np
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.answer.subject import target_of
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.evidence.changed_windows import ChangedWindows
from SegHiResCAMLib.engine.evidence.fills import fill
from SegHiResCAMLib.engine.evidence.probe import region_of
from SegHiResCAMLib.engine.inference.device import choose_device
from SegHiResCAMLib.engine.inference.fitting import windows_of
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.segmentation import Segmentation
from SegHiResCAMLib.engine.inference.slicing import per_image, to_stack
from SegHiResCAMLib.engine.inference.windows import at
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.records.input_shares import InputShare, InputShares
from SegHiResCAMLib.records.map_check import Fill

MOST = 8
"""Input images at most: their combinations are predicted one by one."""

Combination = frozenset[int]


def input_shares(
    request: ExplainRequest,
    segmentation: Segmentation,
    kind: Fill = "shell",
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> InputShares:
    """Shapley values of a model's input images for the score of a request: 2^n predictions of the windows that the region touches.

    Args:
        request: Its question says which score: segment, region, contrast class.
        segmentation: Of the same model and volume.
        kind: What an image that is left out is replaced by.
        seed: Of the fill.
        progress: Called between windows; may raise `Cancelled`.

    Raises:
        EngineError: `inputs-one`, `inputs-many`, `region-empty`, `region-everything`.
    """
    model, count = request.model, request.model.in_channels
    if count < 2:
        raise EngineError(
            "inputs-one", f"'{model.name}' has a single input image, so there is nothing to divide the score among."
        )
    if count > MOST:
        raise EngineError(
            "inputs-many",
            f"'{model.name}' has {count} input images, and all 2^{count} combinations of them would have to be predicted. At most {MOST} are supported.",
        )
    scores = _scores(request, segmentation, kind, seed, progress)
    values = shapley_values(scores, count)
    everything, nothing = scores[frozenset(range(count))], scores[frozenset()]
    total = everything - nothing
    return InputShares(
        inputs=tuple(
            InputShare(
                name=model.inputs[one] if one < len(model.inputs) else f"image {one + 1}",
                value=value,
                share=value / total if total else None,
                alone=scores[frozenset({one})],
                without=scores[frozenset(range(count)) - {one}],
            )
            for one, value in enumerate(values)
        ),
        score_all=everything,
        score_none=nothing,
        fill=kind,
        predictions=len(scores),
    )


def shapley_values(scores: Mapping[Combination, float], count: int) -> list[float]:
    """Sum over T without i of |T|! (n - |T| - 1)! / n! (S(T with i) - S(T)), for each i."""
    values = [0.0] * count
    for combination, score in scores.items():
        weight = (
            factorial(len(combination)) * factorial(count - len(combination) - 1) / factorial(count)
            if len(combination) < count
            else 0.0
        )
        for one in set(range(count)) - combination:
            values[one] += weight * (scores[combination | {one}] - score)
    return values


def _scores(
    request: ExplainRequest, segmentation: Segmentation, kind: Fill, seed: int, progress: Progress
) -> dict[Combination, float]:
    """S of every combination of images."""
    model, prepared, axis = request.model, segmentation.prepared, segmentation.axis
    label = model.label(request.question.segment)
    region = region_of(request, label, segmentation)
    if not region.any():
        raise EngineError(
            "region-empty",
            f"The explained region ({request.region.title}) has no voxel in this volume. Choose another one.",
        )
    if (region != 0).all():
        raise EngineError(
            "region-everything",
            "The explained region is the whole volume, so nothing is left to fill it with. Choose a smaller one.",
        )
    image = prepared.image
    axes = np.asarray(image.affine, np.float64)[:3, :3]
    filled = torch.from_numpy(fill(kind, image.numpy(), (region != 0).numpy(), axes, seed))
    pixel_set = per_image(model, image, axis, region)
    chosen = (pixel_set != 0).flatten(1).any(dim=1)
    pixel_set = pixel_set[chosen]
    places = pixel_set.nonzero()[:, 1:]
    box = tuple(slice(int(low), int(high) + 1) for low, high in zip(places.amin(0), places.amax(0), strict=True))
    stack = to_stack(model, image, axis)[chosen]
    device = choose_device(request.question.device, model.spatial_dims)
    workplace = Workplace(model.network.to(device), device, None)
    passes = ChangedWindows(workplace, stack, windows_of(model, tuple(stack.shape[2:])), box)
    target, weights = target_of(request, label), pixel_set[at(slice(None), *box)].double()
    count = model.in_channels
    every = [frozenset(one) for size in range(count, -1, -1) for one in combinations(range(count), size)]
    found = {}
    for number, combination in enumerate(every):
        values = filled.clone()
        values[sorted(combination)] = image.as_tensor()[sorted(combination)]
        other = to_stack(model, MetaTensor(values, meta=dict(image.meta)), axis)[chosen]
        logits = passes.predict(other, part(progress, number / len(every), (number + 1) / len(every)))
        found[combination] = float((target.of(logits).double() * weights).sum())
    return found
