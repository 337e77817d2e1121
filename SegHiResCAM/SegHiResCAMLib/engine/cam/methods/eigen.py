"""Methods that project onto the direction in which the channels vary most over the volume.

The direction is the first right-singular vector of the matrix (positions x channels), centred channel by channel. It is found as the
first eigenvector of the K x K Gram matrix, which adds up over windows; the matrix itself is never held, nor decomposed.
Eigen-CAM's paper does not centre; every implementation in use does, since the first direction is the mean otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from SegHiResCAMLib.engine.cam.methods.steps import Evidence, Gather, Map, Steps, wide


def seg_eigen_cam() -> Steps:
    """First component of A: Muhammad & Yeasin, IJCNN 2020 (Eigen-CAM). It knows of no class: it shows what the layer sees at all."""
    return _first_component(lambda x: x.activation, "blended", gradient=False)


def seg_eigengrad_cam() -> Steps:
    """First component of G * A: EigenGradCAM of grad-cam."""
    return _first_component(lambda x: x.gradient * x.activation, "added", gradient=True)


def seg_eigen_cam_2025() -> Steps:
    """First component of |G| * A: Chung & Ying, Applied Sciences 2025, 15:7562 (Seg-Eigen-CAM), equations 10 to 13."""
    return _first_component(lambda x: x.gradient.abs() * x.activation, "added", gradient=True)


def _first_component(
    values: Callable[[Evidence], torch.Tensor], stitching: Literal["added", "blended"], *, gradient: bool
) -> Steps:
    def moments(x: Evidence) -> torch.Tensor:
        """Per position, the mean (first row) and the Gram matrix of the channels: (B, 1 + K, K)."""
        # A covariance is a small difference of large numbers.
        columns = wide(values(x)).flatten(2)
        return torch.cat([columns.sum(dim=2)[:, None], columns @ columns.mT], dim=1) / x.positions

    mean, *gram = yield Gather(moments, gradient=gradient, everywhere=not gradient)
    covariance = torch.stack(gram) - torch.outer(mean, mean)
    direction = torch.linalg.eigh(covariance).eigenvectors[:, -1]
    centre = direction @ mean
    yield Map(
        lambda x: torch.einsum("bk...,k->b...", values(x), direction.to(x.activation)),
        stitching,
        lambda whole: upright(whole - centre.to(whole)),
    )


def upright(whole: torch.Tensor) -> torch.Tensor:
    """A direction has no sign of its own: the map is turned so that what stands out most is positive."""
    return -whole if -whole.min() > whole.max() else whole
