"""How similar are maps of different patients? What is left of a map when weights are drawn again is compared with this (Arun et al. 2021)."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.answer.explanation import Explanation
from SegHiResCAMLib.engine.evidence.weights_test import rank_correlation
from SegHiResCAMLib.engine.images.resampling import resample_onto

POINTS, STEP_MM = 25, 4.0
"""Along each of the patient's axes, and millimetres between them: an organ and what lies around it."""

FEWEST = 100
"""Points that two maps must share."""


def map_around(explanation: Explanation) -> MetaTensor | None:
    """The signed map around the middle of the explained voxels, on a grid that is the same for all patients.

    Returns:
        (1, 25, 25, 25), float32, along R, A and S; 0 where nothing was computed. None where no voxel was explained.
    """
    places = explanation.explained_voxels[0].nonzero()
    if not len(places):
        return None
    signed = explanation.signed_map
    middle = np.asarray(signed.affine, np.float64) @ [*places.double().mean(0).tolist(), 1.0]
    affine = np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
    affine[:3, 3] = middle[:3] - STEP_MM * (POINTS - 1) / 2
    grid = MetaTensor(torch.empty(1, POINTS, POINTS, POINTS), affine=torch.from_numpy(affine))
    return MetaTensor(resample_onto(signed, grid, "linear")[None], affine=grid.affine)


def similarity_between(one: MetaTensor, other: MetaTensor) -> float | None:
    """Spearman's rank correlation of two maps of `map_around`, over the points where both were computed; None where these are too few."""
    first, second = (values.as_tensor().numpy().ravel() for values in (one, other))
    both = (first != 0) & (second != 0)
    return rank_correlation(first[both], second[both]) if both.sum() >= FEWEST else None
