"""`explanation.json`: written by one function, whoever explains, and read in every version there was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from SegHiResCAMLib.records.explanation import SCHEMA_VERSION, ExplanationRecord
from SegHiResCAMLib.records.json_form import MalformedError, from_json, to_json
from SegHiResCAMLib.records.previous import record_of_facts
from SegHiResCAMLib.records.schema import schema_of

SCHEMA = "explanation.schema.json"
TITLE, IDENTIFIER = "Heat map of SegHiResCAM", "https://seghirescam.github.io/SlicerSegHiResCAM/explanation.schema.json"


def explanation_text(record: ExplanationRecord) -> str:
    """The content of an `explanation.json`."""
    return json.dumps(to_json(record), indent=2, allow_nan=False) + "\n"


def explanation_line(record: ExplanationRecord) -> str:
    """The same on one line, for attributes of nodes and headers of files."""
    return json.dumps(to_json(record), ensure_ascii=False, allow_nan=False)


def read_explanation(text: str) -> ExplanationRecord:
    """What an `explanation.json`, or an attribute, of this version or an earlier one says.

    Raises:
        ValueError: It is not one; `MalformedError` says where.
    """
    try:
        data: Any = json.loads(text)
    except RecursionError as problem:
        raise MalformedError("", "is nested too deeply") from problem
    if not isinstance(data, Mapping):
        raise MalformedError("", "must be an object")
    version = data.get("schemaVersion")
    if version is None:
        return record_of_facts(data)
    if version != SCHEMA_VERSION:
        raise MalformedError("schemaVersion", f"must be {SCHEMA_VERSION} or absent, not {version!r}")
    return from_json(ExplanationRecord, data)


def explanation_schema() -> dict[str, Any]:
    """The JSON Schema of an `explanation.json`, as `Resources/Schemas` has it."""
    return schema_of(ExplanationRecord, TITLE, IDENTIFIER)
