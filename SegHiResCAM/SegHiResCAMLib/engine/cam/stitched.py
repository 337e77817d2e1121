"""The map of the *stitched* prediction of a whole stack, computed window by window at one window's memory, exactly.

With Y(v) = sum_w g_w(v) y_w(v) / sum_w g_w(v) and S = sum over v of M(v) Y_c(v), the gradient at a layer in window w is one backward
pass of that window alone with the cotangent M g_w / sum g. A window that M does not touch has no gradient.

- Local methods: the maps of the windows add up, because the scores do. Windows that M does not touch contribute exactly zero.
- Weighted methods: the weights come from sums over all windows; the map is the weighted activation, stitched as the prediction is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from SegHiResCAMLib.engine.cam.leaf import Leaf, activation_and_gradient, leaf_at
from SegHiResCAMLib.engine.cam.methods import LocalMethod, Method, WeightedMethod, weighted_sum
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.engine.windows import Box, Windows, at


@dataclass(frozen=True)
class StitchedMap:
    """What `stitched_map` finds.

    Attributes:
        values: Raw signed map (B, *spatial) on the stack's grid.
        score: S = sum over v of M(v) Y_c(v).
        windows: How many windows the stack has.
        touched: How many of them the pixel set touches.
        grid: Positions of the layer along each axis of one window.
    """

    values: torch.Tensor
    score: float
    windows: int
    touched: int
    grid: tuple[int, ...]


@dataclass(frozen=True)
class _Job:
    """What stays the same from window to window. Images and pixel set are padded."""

    network: torch.nn.Module
    layer: str
    class_index: int
    images: torch.Tensor
    pixel_set: torch.Tensor
    windows: Windows
    importance: torch.Tensor
    weight_sum: torch.Tensor
    device: torch.device
    batch: int


def stitched_map(
    network: torch.nn.Module,
    images: torch.Tensor,
    pixel_set: torch.Tensor,
    class_index: int,
    layer: str,
    method: Method,
    windows: Windows,
    *,
    device: torch.device,
    progress: Progress,
    batch: int = 1,
) -> StitchedMap:
    """The raw signed map of a stack of images.

    Args:
        network: On `device`.
        images: (B, C, *spatial), anywhere.
        pixel_set: (B, *spatial), boolean or float: how much each position's logit counts.
        class_index: Output channel.
        layer: Dotted name of a module.
        method: From `methods.METHODS`.
        windows: How each image is cut.
        device: Where windows are computed; maps are gathered where `images` are.
        progress: Called before each window (or batch of windows).
        batch: Windows at once.
    """
    dtype = images.dtype
    job = _Job(
        network=network,
        layer=layer,
        class_index=class_index,
        images=windows.pad(images),
        pixel_set=windows.pad(pixel_set),
        windows=windows,
        importance=windows.importance(dtype).to(images.device),
        weight_sum=windows.weight_sum(dtype).to(images.device),
        device=device,
        batch=batch,
    )
    values = torch.zeros_like(job.pixel_set, dtype=dtype)
    every = [(image, box) for image in range(len(images)) for box in windows.boxes]
    touched = [(image, box) for image, box in every if job.pixel_set[at(image, *box)].any()]
    with leaf_at(network, layer) as leaf:
        if isinstance(method, LocalMethod):
            score, grid = _add_local(job, leaf, method, touched, values, progress)
        else:
            score, grid = _add_weighted(job, leaf, method, every, touched, values, progress)
    return StitchedMap(windows.crop(values), score, len(every), len(touched), grid)


Place = tuple[int, Box]


def _add_local(
    job: _Job,
    leaf: Leaf,
    method: LocalMethod,
    touched: list[Place],
    values: torch.Tensor,
    progress: Progress,
) -> tuple[float, tuple[int, ...]]:
    score = 0.0
    grid: tuple[int, ...] = ()
    for places, activation, gradient, scores in _explained(job, leaf, touched, progress):
        score += float(scores.double().sum())
        grid = tuple(activation.shape[2:])
        maps = _to_window(method.form(activation, gradient), job.windows.size)
        for (image, box), one in zip(places, maps.to(values), strict=True):
            values[at(image, *box)] += one
    return score, grid


def _add_weighted(
    job: _Job,
    leaf: Leaf,
    method: WeightedMethod,
    every: list[Place],
    touched: list[Place],
    values: torch.Tensor,
    progress: Progress,
) -> tuple[float, tuple[int, ...]]:
    score, sums, positions = 0.0, None, 0
    grid: tuple[int, ...] = ()
    for _places, activation, gradient, scores in _explained(job, leaf, touched, part(progress, 0.0, 0.5)):
        score += float(scores.double().sum())
        grid = tuple(activation.shape[2:])
        positions = len(every) * activation[0, 0].numel()
        own = method.sums(activation, gradient).sum(dim=0)
        sums = own if sums is None else sums + own
    if sums is None:
        return score, grid
    weights = method.weights(sums, positions)
    for places, activation in _activations(job, leaf, every, part(progress, 0.5, 1.0)):
        maps = _to_window(weighted_sum(activation, weights), job.windows.size)
        for (image, box), one in zip(places, maps.to(values), strict=True):
            values[at(image, *box)] += one * (job.importance / job.weight_sum[box])
    return score, grid


def _explained(
    job: _Job, leaf: Leaf, places: list[Place], progress: Progress
) -> Iterator[tuple[list[Place], torch.Tensor, torch.Tensor, torch.Tensor]]:
    """A, G and S of every window of `places`, a batch at a time."""
    for chunk in _batches(places, job.batch, progress, "Explaining"):
        inputs = torch.stack([job.images[at(image, slice(None), *box)] for image, box in chunk]).to(job.device)
        cotangent = torch.stack(
            [job.pixel_set[at(image, *box)] * (job.importance / job.weight_sum[box]) for image, box in chunk]
        ).to(job.device)
        yield chunk, *activation_and_gradient(job.network, leaf, inputs, cotangent, job.class_index)


def _activations(
    job: _Job, leaf: Leaf, places: list[Place], progress: Progress
) -> Iterator[tuple[list[Place], torch.Tensor]]:
    """A of every window of `places`, a batch at a time."""
    for chunk in _batches(places, job.batch, progress, "Weighing"):
        inputs = torch.stack([job.images[at(image, slice(None), *box)] for image, box in chunk]).to(job.device)
        with torch.no_grad():
            job.network(inputs)
        yield chunk, leaf.reached().detach()


def _batches(places: list[Place], size: int, progress: Progress, doing: str) -> Iterator[list[Place]]:
    for start in range(0, len(places), size):
        progress(start / len(places), f"{doing}: window {start + 1} of {len(places)}")
        yield places[start : start + size]


def _to_window(maps: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Maps (B, *grid) on the layer's grid, linearly onto the window's (each position covers its share of the window)."""
    mode = {2: "bilinear", 3: "trilinear"}[len(size)]
    return torch.nn.functional.interpolate(maps[:, None], size=size, mode=mode, align_corners=False)[:, 0]
