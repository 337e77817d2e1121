"""Methods made of activations A^k(u) and gradients G^k(u) = dS/dA^k(u) of one layer (k channel, u position)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch

from SegHiResCAMLib.engine.cam.methods.steps import (
    Evidence,
    Gather,
    Map,
    Steps,
    channel_sums,
    per_channel,
    weighted_activations,
    wide,
)

RELIABLE_SUM = 1e-5
"""Share of sum|A| below which sum A is rounding."""


def seg_hires_grad_cam() -> Steps:
    """sum_k G^k(u) A^k(u): Draelos & Carin 2020 (HiResCAM); for segmentation Rheude et al., MELBA 2024:023."""
    yield Map(lambda x: (x.gradient * x.activation).sum(dim=1), "added")


def seg_xres_cam(
    pool: Annotated[int, "positions along every axis of a block"] = 2,
    mode: Annotated[Literal["mean", "max"], "what stands for the gradients of a block"] = "mean",
) -> Steps:
    """sum_k up(pool_p(G^k))(u) A^k(u): Hasany et al., CVPR Workshops 2023 (Seg-XRes-CAM).

    Gradients are pooled over blocks of `pool` positions along every axis and put back block by block. A pool of 1 is Seg-HiRes-Grad
    CAM; a mean over the whole grid is Seg-Grad CAM. Blocks begin at the first position of each window; the last may be cut off.
    """
    yield Map(lambda x: (_pooled(x.gradient, pool, mode) * x.activation).sum(dim=1), "added")


def seg_layer_cam() -> Steps:
    """sum_k ReLU(G^k(u)) A^k(u): Jiang et al., IEEE TIP 2021 (LayerCAM)."""
    yield Map(lambda x: (x.gradient.clamp(min=0) * x.activation).sum(dim=1), "added")


def seg_legrad() -> Steps:
    """Mean over heads and queries of ReLU(dS/dA), for every key: Bousselham et al. 2024 (LeGrad, arXiv 2404.03214).

    A is the attention of one block; over several blocks, their maps are averaged. The paper takes the score of each block's own tokens; a
    segmentation's decoder is part of the graph, so that S itself is taken at every block.
    """
    yield Map(lambda x: x.gradient.clamp(min=0).mean(dim=1), "added")


def seg_elementwise_cam() -> Steps:
    """sum_k ReLU(G^k(u) A^k(u)): GradCAMElementWise of grad-cam; the sum of all evidence for, none against."""
    yield Map(lambda x: (x.gradient * x.activation).clamp(min=0).sum(dim=1), "added")


def seg_grad_cam() -> Steps:
    """sum_k w_k A^k(u), w_k = mean_u G^k(u): Vinogradova et al., AAAI 2020 (Seg-Grad-CAM)."""
    weights = yield Gather(lambda x: channel_sums(x.gradient) / x.positions)
    yield weighted_activations(weights)


def seg_shapley_cam() -> Steps:
    """sum_k w_k A^k(u), w_k = mean_u (G^k - (H A)^k / 2)(u): Cai, 2025 (ShapleyCAM, arXiv 2501.06261).

    H are the second derivatives of S: the weights are those of Seg-Grad CAM with the quadratic term of the score, and equal them where what
    follows the layer is piecewise linear. Windows are independent of each other, so H is made of one block for each.
    """
    weights = yield Gather(lambda x: channel_sums(x.gradient - x.curvature() / 2) / x.positions)
    yield weighted_activations(weights)


def seg_grad_cam_pp() -> Steps:
    """sum_k w_k A^k(u), w_k = sum_u a^k(u) ReLU(G^k(u)), a = G^2 / (2 G^2 + (sum_u A^k) G^3) = 1 / (2 + (sum_u A^k) G).

    Chattopadhay et al., WACV 2018, equation 19, as grad-cam has it. It changes with the scale of S; here S is the sum over the pixel
    set.
    """
    total = yield Gather(lambda x: channel_sums(x.activation), gradient=False, everywhere=True)

    def weigh(x: Evidence) -> torch.Tensor:
        gradient = wide(x.gradient.clamp(min=0))
        return channel_sums(_ratio(gradient, 2 + per_channel(total, gradient) * gradient))

    yield weighted_activations((yield Gather(weigh)))


def seg_grad_cam_pp_local() -> Steps:
    """sum_k w_k A^k(u), w_k = sum_u a^k(u) ReLU(G^k(u)), a = G^2 / (2 G^2 + sum_u (A^k(u) G^k(u)^3)).

    The denominator that MONAI, M3d-Cam and torchcam use: activations meet the gradients where they are before they are summed.
    """
    total = yield Gather(lambda x: channel_sums(x.activation * wide(x.gradient) ** 3))

    def weigh(x: Evidence) -> torch.Tensor:
        gradient = wide(x.gradient.clamp(min=0))
        return channel_sums(_ratio(gradient**3, 2 * gradient**2 + per_channel(total, gradient)))

    yield weighted_activations((yield Gather(weigh)))


def seg_xgrad_cam() -> Steps:
    """sum_k w_k A^k(u), w_k = sum_u G^k(u) A^k(u) / sum_u A^k(u): Fu et al., BMVC 2020 (XGrad-CAM).

    The paper's activations are never negative. Where they are signed, sum_u A^k can be zero (it is after a normalisation) and w_k has
    no value: such channels are left out, rather than weighed by rounding.
    """
    sums = yield Gather(
        lambda x: torch.stack(
            [channel_sums(x.gradient * x.activation), channel_sums(x.activation), channel_sums(x.activation.abs())],
            dim=1,
        ),
        everywhere=True,
    )
    evidence, total, size = sums
    weights = torch.where(total.abs() > RELIABLE_SUM * size, _ratio(evidence, total), 0)
    yield weighted_activations(weights)


def _ratio(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """Zero where the denominator is."""
    return torch.where(denominator != 0, numerator / torch.where(denominator != 0, denominator, 1), 0)


def _pooled(gradient: torch.Tensor, pool: int, mode: str) -> torch.Tensor:
    grid = gradient.shape[2:]
    size = [min(pool, length) for length in grid]
    dims = len(grid)
    average = {1: torch.nn.functional.avg_pool1d, 2: torch.nn.functional.avg_pool2d, 3: torch.nn.functional.avg_pool3d}
    highest = {1: torch.nn.functional.max_pool1d, 2: torch.nn.functional.max_pool2d, 3: torch.nn.functional.max_pool3d}
    pooled = (average if mode == "mean" else highest)[dims](gradient, size, ceil_mode=True)
    for axis, step in enumerate(size, start=2):
        pooled = pooled.repeat_interleave(step, dim=axis).narrow(axis, 0, grid[axis - 2])
    return pooled
