"""What a heat map's record says in a few words, for pictures, names and other programs' free text."""

from __future__ import annotations

from collections.abc import Iterator

from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.question import Question


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
        "mode": record.mode,
        "precision": "" if question.precision == "full" else question.precision,
        "units": record.units,
    }
    yield from (f"{name}: {text}" for name, text in said.items() if text)
    yield from (f"{name}: {version}" for name, version in record.versions.items())
