"""What is chosen, as the records that the logic takes."""

from __future__ import annotations

from typing import Any

from SegHiResCAMLib.panel.advanced import contrast_of, refine_with
from SegHiResCAMLib.panel.method_options import values_of
from SegHiResCAMLib.panel.parameters import camel_case
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.records.question import Question, SegmentOptions, options_of
from SegHiResCAMLib.records.regions import Region


def segment_options(state: State) -> SegmentOptions:
    """How a volume is segmented."""
    return SegmentOptions(**_chosen(state, SegmentOptions))


def question_of(state: State, method: str, region: Region | None) -> Question:
    """What is asked by a method about a region; None for the predicted segment, or the mask that comes with the question."""
    by_hand = {
        "method": method,
        "method_options": values_of(state.parameters.methodOptions, method),
        "layer": state.parameters.layer or None,
        "refine_with": tuple(refine_with(state)),
        "region": region,
        "contrast": contrast_of(state) or None,
    }
    return Question(segment=state.label, **_chosen(state, Question) | by_hand)


def _chosen(state: State, record: type[Any]) -> dict[str, Any]:
    names = [name for name in options_of(record) if name != "region"]
    return {name: getattr(state.parameters, camel_case(name)) for name in names}
