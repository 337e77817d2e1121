"""How much of the score the sum of a map accounts for, and whether that question applies to the map."""

from __future__ import annotations

import math

from SegHiResCAMLib.engine.cam.methods import Method
from SegHiResCAMLib.engine.cam.stitched import StitchedMap
from SegHiResCAMLib.records.explanation import ScoreExplained
from SegHiResCAMLib.records.question import Question

ROUNDING = 1e-6
"""Of the score: a smaller change of it is what sums in single precision leave."""


def is_measured(method: Method, question: Question) -> bool:
    """Whether S(A) - S(A0) is needed: where somebody asks and the question applies, and for integrated maps, which cost more than that."""
    return (question.score_explained or method.integrates) and not _why_not(method, question)


def score_explained(method: Method, question: Question, found: StitchedMap) -> ScoreExplained | None:
    """What is reported of a map; None where nobody asked."""
    reason = _why_not(method, question)
    if found.score_change is None:
        return ScoreExplained(None, reason=reason) if question.score_explained else None
    total, change = _finite(found.sum), _finite(found.score_change)
    if total is None or change is None or abs(change) <= ROUNDING * abs(found.score):
        return ScoreExplained(None, total, change, "the score is the same with the activations for the blurred image")
    return ScoreExplained(total / change, total, change)


def _why_not(method: Method, question: Question) -> str:
    if question.refine_with:
        return "the maps of several layers were combined"
    return (
        "" if method.values == "contributions" else f"the values of {method.title} are not contributions to the score"
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
