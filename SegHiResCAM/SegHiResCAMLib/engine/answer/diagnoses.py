"""What to know before believing a map: that it is blank, why it cannot be trusted, what it does not show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from SegHiResCAMLib.engine.cam.layers import Layer, coarser_than
from SegHiResCAMLib.engine.cam.methods import Method
from SegHiResCAMLib.engine.cam.methods.integrated import TOLERANCE
from SegHiResCAMLib.records.explanation import Finding, PathIntegral
from SegHiResCAMLib.records.models import Activation
from SegHiResCAMLib.records.wording import number

BALANCED_GRADIENT = 1e-4
"""|sum G| / sum |G| below which a mean gradient is rounding."""


@dataclass(frozen=True)
class Facts:
    """What findings are made from.

    Attributes:
        values: The raw signed map.
        not_finite: How many of its values were NaN or infinite.
        method: The method.
        layers: What was explained.
        balances: |sum G| / sum |G| at each layer; None where there was no gradient.
        segment: Name of the explained segment: "cyst".
        region: What the pixel set is, for people: "cyst", "sphere".
        extent_mm: Diameter of the ball, or the disc in a slice, of the pixel set's size; 0 where it is empty.
        score: S.
        mean_probability: Of the segment over the pixel set; None where it is empty or not finite.
        activation: What makes probabilities of the model's logits.
        contrast: Name of the contrast class; None for none.
        is_predicted: Whether the pixel set is what the model itself predicts as the segment.
        path_integral: How an integrated map was computed; None for others.
    """

    values: torch.Tensor
    not_finite: int
    method: Method
    layers: tuple[Layer, ...]
    balances: tuple[float | None, ...]
    segment: str
    region: str
    extent_mm: float
    score: float
    mean_probability: float | None
    activation: Activation
    contrast: str | None
    is_predicted: bool
    path_integral: PathIntegral | None = None


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Everything there is to say, the gravest first."""
    return tuple(_found(facts))


def extent_of(pixel_set: torch.Tensor, spacing: tuple[float, ...]) -> float:
    """The equivalent diameter in mm of the largest of some images of a pixel set.

    Args:
        pixel_set: (B, *spatial): one volume, or slices.
        spacing: Millimetres between positions along each spatial axis.
    """
    largest = max(int(image.count_nonzero()) for image in pixel_set)
    size = largest * math.prod(spacing)
    return (6 * size / math.pi) ** (1 / 3) if len(spacing) == 3 else 2 * math.sqrt(size / math.pi)


def _found(facts: Facts) -> Iterator[Finding]:
    if facts.not_finite:
        counted = "1 value was" if facts.not_finite == 1 else f"{facts.not_finite} values were"
        yield Finding(
            "not-finite",
            f"{counted} NaN or infinite and shown as 0 (numerical overflow). Do not rely on this map. Compute it in full precision.",
        )
    if facts.extent_mm == 0:
        yield Finding(
            "region-empty",
            "The explained region is empty, so there is nothing to explain: a map that is not blank does not depend on the region.",
        )
    for layer, balance in zip(facts.layers, facts.balances, strict=True):
        if facts.method.pools_gradient and balance is not None and balance < BALANCED_GRADIENT:
            yield Finding(
                "feeds-normalisation",
                f"The output of layer '{layer.name}' goes straight into a normalisation layer, so its mean gradients vanish and "
                f"{facts.method.title} shows rounding errors. Choose the output of a block, or Seg-HiRes-Grad CAM.",
            )
        if layer.tail_is_trivial and facts.extent_mm:
            yield Finding(
                "tail-trivial",
                f"Only {layer.pointwise} operations follow layer '{layer.name}', so its map can only reproduce the explained region. Choose a deeper layer.",
            )
        if facts.extent_mm and layer.is_coarser_than(facts.extent_mm):
            yield Finding(
                "grid-too-coarse",
                f"The grid spacing of layer '{layer.name}' is {coarser_than(layer, facts.extent_mm, f'the {facts.region}')}. Choose a layer with "
                "a finer grid.",
            )
    if facts.extent_mm:
        yield from _of_signs(facts)
    integral = facts.path_integral
    if integral is not None and integral.error is not None and integral.error > TOLERANCE:
        yield Finding(
            "path-not-converged",
            f"With {integral.steps} steps from the baseline '{integral.baseline}', the sum of the map differs from the change of the score by "
            f"{_percent(integral.error)}. " + _to_converge(integral),
        )


def _to_converge(integral: PathIntegral) -> str:
    if integral.baseline == "zero":
        return "Normalisation layers undo most of a path from zero: use the baseline 'blurred'."
    return "Use more steps."


def _of_signs(facts: Facts) -> Iterator[Finding]:
    highest, lowest = float(facts.values.max()), float(facts.values.min())
    if highest <= 0 and lowest < 0:
        yield Finding(
            "all-negative",
            f"All evidence in this map is negative for the {facts.segment}, so the heat map is blank. See the signed map.",
        )
    elif highest == lowest == 0:
        yield Finding(
            "all-zero",
            f"By this method, nothing at this layer influences the {facts.segment}. Choose another layer.",
        )
    yield from _of_confidence(facts)


def _of_confidence(facts: Facts) -> Iterator[Finding]:
    """Whether the network predicts what is explained. The logits of a softmax have no zero, so there the probability alone decides."""
    if facts.contrast is not None:
        if facts.score < 0:
            yield Finding(
                "score-negative",
                f"In sum, the logits of the {facts.segment} minus the weighted logits of the contrast class '{facts.contrast}' are negative here "
                f"(score {number(facts.score, 4)}): the network prefers '{facts.contrast}' in this region. The map shows the evidence in favour of the "
                f"{facts.segment}, which did not prevail.",
            )
        return
    mean = facts.mean_probability
    if mean is None or (facts.score >= 0 if facts.activation == "sigmoid" else mean >= 0.5):
        return
    code = "score-negative" if facts.activation == "sigmoid" else "probability-low"
    said = f"Mean probability of the {facts.segment} here is {_percent(mean)}"
    if facts.is_predicted or mean >= 0.5:
        yield Finding(code, f"{said}: the network is not certain of it in this region.")
    else:
        yield Finding(
            code,
            f"{said}: the network does not predict it in this region. The map shows the evidence in favour, which did not prevail.",
        )


def _percent(probability: float) -> str:
    """A whole number, but neither 0 % nor 50 % of what is not."""
    if 0 < probability < 0.005:
        return "below 1 %"
    return f"{probability:.0%}".replace("%", " %") if not 0.495 <= probability < 0.5 else "just below 50 %"
