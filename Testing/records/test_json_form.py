"""Records go to JSON and back, and what is not one is refused by its place."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.json_form import MalformedError, from_json, to_json
from SegHiResCAMLib.records.models import LayerList, MethodSummary, ModelSummary
from SegHiResCAMLib.records.question import Question, options_of
from SegHiResCAMLib.records.regions import Box, Component, Points, Sphere
from SegHiResCAMLib.records.schema import schema_of

RECORDS = [ExplanationRecord, Question, ModelSummary, LayerList, MethodSummary]
FINITE = st.floats(allow_nan=False, allow_infinity=False)
POINT = st.tuples(FINITE, FINITE, FINITE)
LENGTH = st.floats(1e-3, 1e3)
REGIONS = st.one_of(
    st.builds(Component, POINT),
    st.builds(Points, st.lists(POINT, min_size=1).map(tuple)),
    st.builds(Sphere, POINT, LENGTH),
    st.builds(Box, POINT, st.tuples(LENGTH, LENGTH, LENGTH)),
)


def anything(record: type[Any]) -> st.SearchStrategy[Any]:
    st.register_type_strategy(float, FINITE)
    options: dict[str, Any] = {"contrast_weight": st.floats(0, 10)} if record is Question else {}
    if record is ExplanationRecord:
        options = {"question": anything(Question), "compared_with": st.just(())}
    if record is Question:
        options["region"] = st.none() | REGIONS
    return st.builds(record, **options)


@pytest.mark.parametrize("record", RECORDS, ids=lambda one: one.__name__)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_record_comes_back_from_its_json_and_its_schema_lets_it_pass(record: type[Any], data: st.DataObject) -> None:
    one = data.draw(anything(record))
    text = json.dumps(to_json(one), allow_nan=False)
    jsonschema.validate(json.loads(text), schema_of(record, record.__name__, "test"))
    assert from_json(record, json.loads(text)) == one


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({}, "segment is missing"),
        ({"segment": 3}, "segment must be text"),
        ({"segment": "x", "mode": "no"}, "mode must be 'auto' or"),
        ({"segment": "x", "contrast_weight": 99}, "contrast_weight must be from 0 to 10"),
        ({"segment": "x", "contrast_weight": True}, "contrast_weight must be a number"),
        ({"segment": "x", "contrast_weight": math.nan}, "contrast_weight must be a number"),
        ({"segment": "x", "deterministic": 1}, "deterministic must be true or false"),
        ({"segment": "x", "refine_with": "layer"}, "refine_with must be a list"),
        ({"segment": "x", "region": {"kind": "no"}}, "region is of the unknown kind 'no'"),
        ({"segment": "x", "region": {"kind": "sphere", "centre": [1, 2], "radius": 3}}, "region.centre must have 3"),
        ({"segment": "x", "region": {"kind": "sphere", "centre": [1, 2, 3], "radius": -1}}, "region.radius must be above"),
        ({"segment": "x", "region": {"kind": "box", "centre": [1, 2, 3], "size": [1, 1, 1], "axes": [[1, 0, 0]] * 3}}, "region.axes"),
        ({"segment": "x", "no": 1}, "has no field 'no'"),
        ([], "must be an object"),
    ],
)  # fmt: skip
def test_what_is_not_a_question_is_refused_by_its_place(data: Any, where: str) -> None:
    with pytest.raises(MalformedError, match=f"^(question.)?{where}|{where}"):
        from_json(Question, data)


def test_numbers_that_scripts_computed_are_plain_in_json() -> None:
    question = Question(segment="x", region=Sphere(tuple(np.array([1.0, 2.0, 3.0])), np.float32(4)))
    assert json.loads(json.dumps(to_json(question)))["region"] == {"kind": "sphere", "centre": [1, 2, 3], "radius": 4}


def test_infinite_numbers_become_null() -> None:
    @dataclass(frozen=True)
    class Number:
        value: float

    assert to_json(Number(math.inf)) == {"value": None}


def test_every_option_has_a_summary_and_a_group_for_the_forms() -> None:
    for name, one in options_of(Question).items():
        assert one.metadata["summary"].endswith((".", "?")), name
        assert one.metadata["group"], name
