"""JSON Schema of a record: what documents it, and what other programs check files against."""

from __future__ import annotations

import dataclasses
import re
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from SegHiResCAMLib.records.json_form import KIND, written_fields

_PLAIN = {
    str: {"type": "string"}, int: {"type": "integer"}, float: {"type": "number"}, bool: {"type": "boolean"},
    type(None): {"type": "null"},
}  # fmt: skip


def schema_of(record: type[Any], title: str, identifier: str) -> dict[str, Any]:
    """The schema (draft 2020-12) of a record's JSON form, with its docstrings as descriptions."""
    definitions: dict[str, Any] = {}
    reference = _of_record(record, definitions)
    body: dict[str, Any] = definitions.pop(reference["$ref"].rpartition("/")[2])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": identifier, "title": title}
    return head | body | {"$defs": dict(sorted(definitions.items()))}


def _of_record(record: type[Any], definitions: dict[str, Any]) -> dict[str, str]:
    name = record.__name__
    if name not in definitions:
        definitions[name] = {}  # first, or a record that holds its own kind would never end
        hints, about = get_type_hints(record), _attributes(record)
        properties: dict[str, Any] = {KIND: {"const": getattr(record, KIND)}} if hasattr(record, KIND) else {}
        for one in written_fields(record):
            properties[one.name] = _of(hints[one.name], definitions)
            text = about.get(one.name) or one.metadata.get("summary")
            if text:
                properties[one.name] = properties[one.name] | {"description": text}
        definitions[name] = {
            "type": "object",
            "description": (record.__doc__ or "").split("\n", 1)[0],
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return dict(_of_record(hint, definitions))
    inner = get_args(hint)
    match get_origin(hint):
        case None:
            found: dict[str, Any] = dict(_PLAIN[hint])
        case origin if origin is Literal:
            found = {"enum": list(inner)}
        case origin if origin in (Union, types.UnionType):
            found = {"anyOf": [_of(one, definitions) for one in inner]}
        case origin if origin is tuple and inner[-1] is not Ellipsis:
            kinds = [_of(one, definitions) for one in inner]
            found = {"type": "array", "prefixItems": kinds, "minItems": len(kinds), "maxItems": len(kinds)}
        case origin if origin in (tuple, list):
            found = {"type": "array", "items": _of(inner[0], definitions)}
        case _:
            found = {"type": "object", "additionalProperties": _of(inner[1], definitions)}
    return found


def _attributes(record: type[Any]) -> dict[str, str]:
    """The texts under "Attributes:" of a docstring, by name; those of the records that it derives from first."""
    found: dict[str, str] = {}
    for one in reversed(record.__mro__):
        _, _, section = (one.__doc__ or "").partition("Attributes:\n")
        for match in re.finditer(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", section, re.MULTILINE):
            found[match[1]] = re.sub(r"\s+", " ", match[2])
    return found
