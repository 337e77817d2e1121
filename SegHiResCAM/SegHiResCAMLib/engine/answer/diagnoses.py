"""What the user is told of a map that is blank or cannot be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from SegHiResCAMLib.engine.cam.layers import Layer
from SegHiResCAMLib.engine.cam.methods import Method

BALANCED_GRADIENT = 1e-4
"""|sum G| / sum |G| below which a mean gradient is rounding."""


@dataclass(frozen=True)
class Diagnosis:
    """Something to know before believing a heat map.

    Attributes:
        code: A stable identifier in kebab-case, for programs.
        sentence: For the user: what it is, and what to do.
    """

    code: str
    sentence: str


@dataclass(frozen=True)
class Facts:
    """What diagnoses are made from.

    Attributes:
        values: The raw signed map.
        not_finite: How many of its values were no numbers.
        method: The method.
        layers: What was explained.
        balances: |sum G| / sum |G| at each layer; None where there was no gradient.
        subject: What is explained, for people: "cyst", "sphere".
        extent_mm: Diameter of the ball, or the disc in a slice, of the pixel set's size; 0 where it is empty.
        score: S.
    """

    values: torch.Tensor
    not_finite: int
    method: Method
    layers: tuple[Layer, ...]
    balances: tuple[float | None, ...]
    subject: str
    extent_mm: float
    score: float


def diagnose(facts: Facts) -> tuple[Diagnosis, ...]:
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


def _found(facts: Facts) -> Iterator[Diagnosis]:
    if facts.not_finite:
        yield Diagnosis(
            "not-finite",
            f"{facts.not_finite} values of the map were no numbers and are shown as 0: the network overflowed. Do not trust this map; "
            "compute it in full precision.",
        )
    if facts.extent_mm == 0:
        yield Diagnosis(
            "pixel-set-empty",
            "The pixel set is empty, so there is nothing to explain; a map that is not blank would not depend on it.",
        )
    for layer, balance in zip(facts.layers, facts.balances, strict=True):
        if facts.method.pools_gradient and balance is not None and balance < BALANCED_GRADIENT:
            yield Diagnosis(
                "feeds-normalisation",
                f"Layer '{layer.name}' feeds a normalisation, so the gradients of every channel add up to zero and {facts.method.title} shows "
                "rounding errors. Choose the output of a block, or seg-hires-grad-cam.",
            )
        if layer.tail_is_trivial and facts.extent_mm:
            yield Diagnosis(
                "tail-trivial",
                f"What follows layer '{layer.name}' looks at every position alone, so the map can show nothing but the pixel set itself. "
                "Choose a deeper layer.",
            )
        if facts.extent_mm and layer.is_coarser_than(facts.extent_mm):
            yield Diagnosis(
                "grid-too-coarse",
                f"One position of layer '{layer.name}' is {max(layer.mm):.0f} mm, the {facts.subject} is {facts.extent_mm:.0f} mm: the map "
                "cannot show detail inside it. Choose a layer with a finer grid.",
            )
    if facts.extent_mm:
        yield from _of_signs(facts)


def _of_signs(facts: Facts) -> Iterator[Diagnosis]:
    highest, lowest = float(facts.values.max()), float(facts.values.min())
    if highest <= 0 and lowest < 0:
        yield Diagnosis(
            "all-negative",
            f"Everything in this map speaks against the {facts.subject}, so the heat map is blank. Look at the signed map.",
        )
    elif highest == lowest == 0:
        yield Diagnosis(
            "all-zero",
            f"Nothing at this layer has any influence on the {facts.subject} by this method. Choose another layer.",
        )
    if facts.score < 0:
        yield Diagnosis(
            "score-negative",
            f"The logits of the {facts.subject} add up to {facts.score:.4g}, below zero: the network is not sure of what is explained here, and "
            "the map shows what held it up, not what convinced it.",
        )
