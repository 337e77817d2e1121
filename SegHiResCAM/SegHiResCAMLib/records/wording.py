"""What a heat map's record says in a few words, for pictures, names and other programs' free text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from SegHiResCAMLib.patient_places import coordinates
from SegHiResCAMLib.records.evidence import SegmentChange
from SegHiResCAMLib.records.explanation import ExplanationRecord, PathIntegral, ScoreExplained
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.regions import Box, Component, Point, Points, Region, Sphere

RESEARCH_ONLY = "For research use; not for diagnostic use. A heat map shows what a network's output depended on."

WRITTEN_OUT = 1e7
"""Smaller numbers are written out; larger ones are a power of ten."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 3) -> str:
    """To so many significant digits, whole where it is larger: 0.0037, 45.9, 8180, 1.22×10⁷."""
    if 10**digits - 0.5 <= abs(value) < WRITTEN_OUT:
        return f"{value:.0f}"
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    return mantissa + (f"×10{str(int(exponent)).translate(_SUPERSCRIPTS)}" if exponent else "")


def contrast_words(question: Question) -> str:
    """For example "contrast with cyst, weight 0.5"; empty without a contrast class."""
    if question.contrast is None:
        return ""
    weight = "" if question.contrast_weight == 1 else f", weight {question.contrast_weight:g}"
    return f"contrast with {question.contrast}{weight}"


def refinement_words(question: Question) -> str:
    """For example "product with down_1"; empty for a map of one layer."""
    return f"{question.refine} with {', '.join(question.refine_with)}" if question.refine_with else ""


def asked(record: ExplanationRecord) -> tuple[str, ...]:
    """What was asked beside method, segment and layer, as far as there is something."""
    said = (record.region, contrast_words(record.question), refinement_words(record.question))
    return tuple(one for one in said if one)


def score_explained_words(found: ScoreExplained) -> str:
    """For example "11 %", or why there is no share."""
    return f"not applicable: {found.reason}" if found.share is None else percent(found.share)


def integral_words(found: PathIntegral) -> str:
    """For example "8 steps from the blurred baseline, error 0.4 %"."""
    error = "" if found.error is None else f", error {percent(found.error)}"
    return f"{found.steps} steps from the {found.baseline} baseline{error}"


def percent(share: float) -> str:
    """A share for people: "11 %", "0.4 %"."""
    return f"{100 * share:.0f} %" if abs(share) >= 0.095 else f"{100 * share:.2g} %"


_EXPLAINED = {
    "predicted segment": "whole segment",
    "mask given by the user": "as drawn",
    "connected component": "island",
}
"""Regions as the panel offers them, by their titles; others are called the same."""


def explained_words(record: ExplanationRecord) -> str:
    """What was explained of a segment, and where: "whole segment", "box at L 84, P 16, I 47"."""
    what = _EXPLAINED.get(record.region, record.region)
    where = _place_of(record.question.region)
    return what if where is None else f"{what} at {coordinates(where)}"


def _place_of(region: Region | None) -> Point | None:
    if isinstance(region, Component):
        return region.point
    if isinstance(region, Sphere | Box):
        return region.centre
    return region.points[0] if isinstance(region, Points) and len(region.points) == 1 else None


def spacing_words(mm: Sequence[float]) -> str:
    """A grid's spacing: "16 mm grid", "2.5×2.5×5 mm grid"; empty where it is not known."""
    if not mm:
        return ""
    texts = [f"{one:.3g}" for one in mm]
    return f"{texts[0] if len(set(texts)) == 1 else '×'.join(texts)} mm grid"


def map_name(record: ExplanationRecord, *, layer: bool = False) -> str:
    """What a heat map is called: segment, what was explained of it, method, grid and model, and what else was asked.

    Args:
        record: Of the heat map.
        layer: Whether the layer is named as well as its grid.
    """
    question = record.question
    segment = ", ".join(filter(None, [question.segment, contrast_words(question)]))
    said = [
        f"{segment} ({explained_words(record)})" if record.region else segment,
        " ".join(filter(None, [record.method, "refined" if question.refine_with else ""])),
        record.layer.name if layer else "",
        spacing_words(record.layer.mm),
        record.model.name,
    ]
    return ", ".join(filter(None, said))


def lines_of(record: ExplanationRecord) -> Iterator[str]:
    """How a heat map was made, a line each; nothing of the patient."""
    question = record.question
    said = {
        "model": record.model.name,
        "SHA-256": record.model.sha256,
        "segment": question.segment,
        "method": record.method,
        "layer": record.layer.name,
        "region": record.region,
        "contrast": contrast_words(question),
        "refinement": refinement_words(question),
        "method options": ", ".join(f"{name}={value}" for name, value in question.method_options.items()),
        "integration": "" if record.path_integral is None else integral_words(record.path_integral),
        "mode": record.mode,
        "precision": "" if question.precision == "full" else question.precision,
        "units": record.units,
    }
    yield from (f"{name}: {text}" for name, text in said.items() if text)
    yield from (f"{name}: {version}" for name, version in record.versions.items())


def change_words(one: SegmentChange) -> str:
    """For people: "kidney: 120 ml before, 95.2 ml afterwards, Dice 0.87"."""
    dice = "" if one.dice is None else f", Dice {one.dice:.2f}"
    before, after = one.score_before, one.score_after
    score = "" if before is None or after is None else f", score {number(before)} before, {number(after)} afterwards"
    return f"{one.segment}: {number(one.before_ml)} ml before, {number(one.after_ml)} ml afterwards{dice}{score}"
