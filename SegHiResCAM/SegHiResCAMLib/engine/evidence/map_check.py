"""How far may one believe a map? Three tests, and what is known of it already, in at most six lines (`records/check_lines.py`)."""

from __future__ import annotations

from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.evidence.noise_test import DRAWS, noise_test
from SegHiResCAMLib.engine.evidence.probe import probe_of
from SegHiResCAMLib.engine.evidence.removal_test import removal_test
from SegHiResCAMLib.engine.evidence.weights_test import STAGES, weights_test
from SegHiResCAMLib.engine.inference.segmentation import Segmentation
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.records.map_check import MapCheck

LIMIT = 45
"""Passes of a check at most."""

PLANS = ((STAGES, DRAWS), (1, 1))
"""Maps of other weights and maps of noise; the second plan is for methods that need several passes a map."""


def check_map(
    request: ExplainRequest,
    explanation: Explanation,
    segmentation: Segmentation | None = None,
    *,
    seed: int = 0,
    passes: int = LIMIT,
    progress: Progress = silent,
) -> MapCheck:
    """Check a map by forward passes over the windows that the explained region touches.

    Of a slice-wise network, at most eight slices are checked, spread evenly over the region from a random start.

    Args:
        request: Its model, volume, mask and reference.
        explanation: The map, and what was asked.
        segmentation: Of the same model and volume, where the explanation has none.
        seed: Of every draw.
        passes: At most; where they do not suffice for maps of drawn-again weights and of noise, these are left out.
        progress: Called between windows; may raise `Cancelled`.

    Raises:
        EngineError: `segmentation-missing`, or what the map cannot be made for.
    """
    found = segmentation or explanation.segmentation
    if found is None:
        raise EngineError("segmentation-missing", "A map is checked with the model's segmentation, and there is none.")
    probe = probe_of(request, explanation, found, seed)
    with probe.counted.counting():
        smooth = explanation.question.smooth
        own = part(progress, 0.0, 0.05)
        values = probe.on_stack(explanation.signed_map) if smooth else probe.signed_map(probe.stack, own)
        cost = probe.passes
        removal = removal_test(probe, values, seed, part(progress, 0.05, 0.8))
        weights = noise = None
        plan = next((one for one in PLANS if probe.passes + sum(one) * cost <= passes), None)
        if smooth:
            reason = "the map is a mean over noisy volumes"
        elif plan is None:
            reason = f"a map by this method costs {cost:.0f} passes"
        else:
            reason = ""
            stages, draws = plan
            weights = weights_test(probe, values, stages, seed, part(progress, 0.8, 0.9))
            noise = noise_test(probe, values, draws, seed, part(progress, 0.9, 1.0))
            reason = "" if noise else "noise changes the grid on which the model computes"
    return MapCheck(
        removal=removal,
        weights=weights,
        noise=noise,
        not_measured=reason,
        slices=probe.slices or (),
        slices_explained=probe.slices_explained,
        forward_passes=round(probe.passes, 2),
        seed=seed,
    )
