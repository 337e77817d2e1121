"""The schema that is shipped is that of the record. Run as a program, this writes it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema

from SegHiResCAMLib.records.files import SCHEMA, explanation_schema
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.version import VERSION

PROJECT = Path(__file__).parents[2]


def test_the_shipped_schema_is_that_of_the_record() -> None:
    assert json.loads(resource("Schemas", SCHEMA).read_text(encoding="utf-8")) == explanation_schema()


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(explanation_schema())


def test_the_version_in_records_is_that_of_the_project() -> None:
    found = re.search(r"^version = \"(.*)\"", (PROJECT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert found[1] == VERSION


if __name__ == "__main__":
    written = json.dumps(explanation_schema(), indent=2, ensure_ascii=False) + "\n"
    resource("Schemas", SCHEMA).write_text(written, encoding="utf-8")
