"""Methods that need no gradient: they read the weights, or change activations or inputs and look what becomes of the score."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from scipy.ndimage import gaussian_filter

from SegHiResCAMLib.engine.cam.methods.steps import (
    Evidence,
    Gather,
    HeadWeights,
    Steps,
    channel_sums,
    per_channel,
    weighted_activations,
    wide,
)


def seg_cam() -> Steps:
    """sum_k w_{c,k} A^k(u) with the weights w of the 1x1 convolution that is the whole tail: Zhou et al., CVPR 2016 (CAM).

    It is the logit itself but for its bias, everywhere: what the pixel set is has no influence.
    """
    yield weighted_activations((yield HeadWeights()))


def seg_fem(
    deviations: Annotated[float, "standard deviations above the mean from which a location stands out"] = 2.0,
) -> Steps:
    """sum_k w_k A^k(u), w_k = share of locations with A^k > mean + 2 standard deviations: Fuad et al., IPTA 2020 (FEM).

    Mean, deviation and share are those of all windows. It knows of no class: it shows where rare, strong features are.
    """
    total, squares = yield Gather(
        lambda x: torch.stack([channel_sums(x.activation), channel_sums(wide(x.activation) ** 2)], dim=1) / x.positions,
        gradient=False,
        everywhere=True,
    )
    variances, rounding = squares - total**2, 16 * torch.finfo(squares.dtype).eps * squares
    # In a channel that is the same everywhere, nothing stands out, however its mean is rounded.
    limits = torch.where(variances > rounding, total + deviations * variances.clamp(min=0).sqrt(), math.inf)
    shares = yield Gather(
        lambda x: (
            channel_sums((wide(x.activation) > per_channel(limits, wide(x.activation))).to(x.activation)) / x.positions
        ),
        gradient=False,
        everywhere=True,
    )
    yield weighted_activations(shares)


def seg_ablation_cam() -> Steps:
    """sum_k w_k A^k(u), w_k = (S - S[A^k := 0]) / |S|: Desai & Ramaswamy, WACV 2020 (Ablation-CAM).

    Divided by |S| rather than S, so that the weights keep their sign where the score is negative.
    """

    def ablated(x: Evidence) -> torch.Tensor:
        """S, and S without each channel: (B, 1 + K)."""
        scores = [x.score]
        channels = x.activation.shape[1]
        for channel in range(channels):
            x.progress(channel / channels, f"Leaving out channel {channel + 1} of {channels}")
            without = x.activation.clone()
            without[:, channel] = 0
            scores.append(x.score_with(without))
        return torch.stack(scores, dim=1)

    score, *without = yield Gather(ablated, gradient=False)
    yield weighted_activations((score - torch.stack(without)) / (score.abs() if score else 1))


def seg_score_cam(
    blur: Annotated[float, "of what is hidden, as a share of the window's shortest side"] = 0.125,
) -> Steps:
    """sum_k w_k A^k(u), w = softmax_k(mean logit on the pixel set of the input seen through A^k): Wang et al., CVPR Workshops 2020.

    Seen through A^k is H x + (1 - H) blurred(x), with H the channel, linearly on the window's grid and scaled to 0..1 over the whole
    volume. The paper's baseline of zeros is no neutral tissue; a blurred image is. (The score of the baseline itself, which the paper
    subtracts, drops out of the softmax.) The blur is Gaussian with a standard deviation of `blur` times the window's shortest side.
    """

    def extremes(x: Evidence) -> torch.Tensor:
        """The highest value of each channel and of its negative: (B, 2, K)."""
        found = []
        for channel in range(x.activation.shape[1]):
            seen = x.to_window(x.activation[:, channel]).flatten(1)
            found.append(torch.stack([seen.amax(dim=1), (-seen).amax(dim=1)], dim=1))
        return torch.stack(found, dim=2)

    highest, lowest = yield Gather(extremes, gradient=False, everywhere=True, combine="max")
    low, extent = -lowest, (highest + lowest).clamp(min=1e-12)

    def seen_through(x: Evidence) -> torch.Tensor:
        scores = []
        channels = x.activation.shape[1]
        baseline = _blurred(x.inputs, blur * min(x.inputs.shape[2:]))
        for channel in range(channels):
            x.progress(channel / channels, f"Masking with channel {channel + 1} of {channels}")
            seen = x.to_window(x.activation[:, channel])[:, None]
            share = (seen - low[channel].to(seen)) / extent[channel].to(seen)
            scores.append(x.score_of(share * x.inputs + (1 - share) * baseline) / x.pixels)
        return torch.stack(scores, dim=1)

    means = yield Gather(seen_through, gradient=False)
    yield weighted_activations(torch.softmax(means, dim=0))


def _blurred(inputs: torch.Tensor, sigma: float) -> torch.Tensor:
    """(B, C, *window); beyond the edges, the outermost values go on."""
    values = inputs.detach().cpu().numpy()
    axes = tuple(range(2, inputs.ndim))
    return torch.from_numpy(gaussian_filter(values, sigma, mode="nearest", truncate=3.0, axes=axes)).to(inputs)
