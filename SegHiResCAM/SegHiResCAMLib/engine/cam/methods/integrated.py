"""Maps whose sum is the score: the gradient is integrated along a path of activations, from those of an image without content to the image's."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from numpy.polynomial.legendre import leggauss

from SegHiResCAMLib.engine.cam.baselines import Baseline
from SegHiResCAMLib.engine.cam.methods.steps import Evidence, IntegratingSteps, Map, per_window, wide
from SegHiResCAMLib.records.explanation import PathIntegral

TRIED = (4, 8, 16, 32)
"""Numbers of steps, where none is set."""

TOLERANCE = 0.02
"""Of a window's sum, relative to its S(A) - S(A0)."""


def seg_integrated_hires_cam(
    baseline: Annotated[Baseline, "image without content from which the path starts (zero: no activation)"] = "blurred",
    steps: Annotated[
        Literal["auto", 2, 4, 8, 16, 32, 64, 128], "passes along the path; auto: as few as leave an error below 2 %"
    ] = "auto",
) -> IntegratingSteps:
    """sum_k (A^k - A0^k)(u) * integral over t from 0 to 1 of dS/dA^k(u) at A0 + t (A - A0): layer-wise integrated gradients.

    Sundararajan et al., ICML 2017, equation 1, at a layer; Sattarzadeh et al., ICASSP 2021 (Integrated Grad-CAM). The sum of the map is
    S(A) - S(A0) for any tail. The integral is Gauss-Legendre quadrature. With "auto", every window takes the smallest of 4, 8, 16
    and 32 steps whose sum is within 2 % of S(A) - S(A0), and 32 where none is; what a window takes does not depend on the others.
    """
    counted: torch.Tensor | None = yield Map(
        lambda x: _integrated(x, baseline, TRIED if steps == "auto" else (steps,)), "added"
    )
    if counted is None:  # the pixel set is empty
        return PathIntegral(baseline, 0, None)
    taken, total, change = counted.unbind(dim=1)
    whole = float(change.sum())
    return PathIntegral(
        baseline=baseline,
        steps=int(taken.max()),
        error=abs(float(total.sum()) / whole - 1) if whole else None,
    )


def _integrated(x: Evidence, baseline: Baseline, tried: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """The map (B, *grid); steps, sum and S(A) - S(A0) of each window (B, 3)."""
    start = x.baseline(baseline)
    path = x.activation - start
    change = wide(x.score - x.score_with(start))
    values, taken = path.new_zeros(len(path), *path.shape[2:]), change.new_zeros(len(path))
    total, waiting = torch.zeros_like(change), torch.ones_like(change, dtype=torch.bool)
    done, passes = 0, sum(tried)
    for steps in tried:
        gradient = torch.zeros_like(path)
        for place, weight in zip(*leggauss(steps), strict=True):
            x.progress(done / passes, f"Integrating: step {done + 1} of at most {passes}")
            gradient += float(weight / 2) * x.gradient_with(start + float(place + 1) / 2 * path)
            done += 1
        found = (path * gradient).sum(dim=1)
        sums = wide(found).flatten(1).sum(dim=1)
        values = torch.where(per_window(waiting, found), found, values)
        total, taken = torch.where(waiting, sums, total), torch.where(waiting, float(steps), taken)
        waiting &= (sums - change).abs() > TOLERANCE * change.abs()
        if not waiting.any():
            break
    return values, torch.stack([taken, total, change], dim=1)
