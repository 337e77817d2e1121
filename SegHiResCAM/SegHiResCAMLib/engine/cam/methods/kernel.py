"""Kernel PCA of the activations: the first component of features that need not be linear in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch

from SegHiResCAMLib.engine.cam.methods.eigen import upright
from SegHiResCAMLib.engine.cam.methods.steps import Evidence, Gather, Map, Steps, channel_sums, wide

AT_ONCE = 2**23
"""Values of the kernel that are computed at once."""


def _sigmoid(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """tanh(s + 1) - tanh(1) with s = x y / K, by the sum formula of tanh."""
    t, one = torch.tanh(x @ y.mT / x.shape[1]), math.tanh(1)
    return t * (1 - one**2) / (1 + one * t)


def _rbf(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """exp(-|x - y|^2 / K) - 1."""
    return torch.expm1(-(torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist") ** 2) / x.shape[1])


KERNELS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {"sigmoid": _sigmoid, "rbf": _rbf}
"""As scikit-learn defines them, with its defaults, less a constant: centring removes it anyway, and small features would drown in it."""


def seg_kpca_cam(
    kernel: Annotated[Literal["sigmoid", "rbf"], "how alike two locations are"] = "sigmoid",
    samples: Annotated[int, "locations from which the component is found, evenly spread"] = 1024,
) -> Steps:
    """First kernel principal component of A over locations: Karmani et al. 2024 (KPCA-CAM, arXiv 2410.00267), as grad-cam has it.

    A kernel of all locations with each other would not fit into memory. The component is found from evenly spread ones, every location's
    value is its projection onto it; where there are no more than `samples` locations, nothing is left out. It knows of no class.
    """
    mean = yield Gather(lambda x: channel_sums(x.activation) / x.positions, gradient=False, everywhere=True)

    def rows(x: Evidence) -> torch.Tensor:
        """Centred activations of each location: (B, locations, K)."""
        values = wide(x.activation).flatten(2)
        centred: torch.Tensor = values - mean.to(values)[:, None]
        return centred.mT

    taken = yield Gather(
        lambda x: rows(x)[:, :: -(-x.positions // samples)], gradient=False, everywhere=True, combine="all"
    )
    support = taken.flatten(0, 1)
    alike = KERNELS[kernel](support, support)
    centres = alike.mean(dim=1)
    centred = alike - centres[:, None] - centres + centres.mean()
    strengths, vectors = torch.linalg.eigh(centred)
    rounding = len(support) * torch.finfo(alike.dtype).eps * alike.abs().max()
    # Where all locations are alike there is no component, and what is left is rounding.
    weights = vectors[:, -1] / strengths[-1].sqrt() if strengths[-1] > rounding else torch.zeros_like(vectors[:, -1])

    def projected(x: Evidence) -> torch.Tensor:
        found = []
        for some in torch.split(rows(x).flatten(0, 1), max(AT_ONCE // len(support), 1)):
            row = KERNELS[kernel](some, support.to(some))
            row = row - row.mean(dim=1, keepdim=True) - (centres - centres.mean()).to(row)
            found.append(row @ weights.to(row))
        return torch.cat(found).to(x.activation).view(len(x.activation), *x.activation.shape[2:])

    yield Map(projected, "blended", upright)
