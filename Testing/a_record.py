"""Records of heat maps that tests make up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from SegHiResCAMLib.records.explanation import ExplanationRecord, ModelReference
from SegHiResCAMLib.records.previous import record_of_texts
from SegHiResCAMLib.records.question import Question


def a_record(
    method: str = "", segment: str = "", model: str | ModelReference = "", **changes: Any
) -> ExplanationRecord:
    """With these words, and otherwise empty but for `changes`."""
    made_by = model if isinstance(model, ModelReference) else ModelReference(model, "")
    asked = {"method": method, "question": Question(segment=segment), "model": made_by}
    return replace(record_of_texts({}), **asked | changes)
