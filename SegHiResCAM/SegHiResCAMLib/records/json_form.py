"""Records as JSON and back, by their types: one way for the worker's protocol, for files and for settings.

A record is a frozen dataclass whose fields are JSON's own types, literals, tuples, lists, dictionaries with text keys, other records, or
a union of records, which are told apart by their `kind`.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")

LOCAL = {"local": True}
"""Metadata of a field that stays at home: arrays and open files, which JSON cannot hold. It needs a default."""

KIND = "kind"
"""Under this key a record of a union says which one it is: the class attribute `kind`."""


class MalformedError(ValueError):
    """Data that does not have the form of a record.

    Args:
        where: Path to the place, as "question.contrast_weight"; empty for the whole.
        problem: What is wrong there.
    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where or 'The record'} {problem}")
        self.where, self.problem = where, problem


def to_json(value: Any) -> Any:
    """What `json.dumps` takes, with the fields of records in their order. Numbers that JSON does not know become None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = {KIND: getattr(value, KIND)} if hasattr(value, KIND) else {}
        return kind | {one.name: to_json(getattr(value, one.name)) for one in written_fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [to_json(one) for one in value]
    if hasattr(value, "tolist"):  # numbers and positions that a script has computed with numpy
        return to_json(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def value_from_json(hint: Any, data: Any, where: str = "") -> Any:
    """As `from_json`, of any type that a field may have: a union of records, a list of them."""
    return _value(hint, data, where)


def from_json(record: type[Record], data: Any, where: str = "") -> Record:
    """A record of this type.

    Args:
        record: A frozen dataclass.
        data: What `json.loads` gives.
        where: What messages call it.

    Raises:
        MalformedError: A field is missing, unknown, of another type or out of its range.
    """
    if not isinstance(data, Mapping):
        raise MalformedError(where, f"must be an object, not {_shown(data)}")
    kind: Any = record
    hints, fields = _hints(kind), {one.name: one for one in written_fields(record)}
    given = {key: value for key, value in data.items() if not (key == KIND and hasattr(record, KIND))}
    for name in given:
        if name not in fields:
            raise MalformedError(
                where, f"has no field {str(name)[:100]!r}; its fields are {', '.join(fields) or 'none'}"
            )
    values = {name: _value(hints[name], value, f"{where}.{name}".lstrip(".")) for name, value in given.items()}
    for name, one in fields.items():
        if name not in values and one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            raise MalformedError(f"{where}.{name}".lstrip("."), "is missing")
    try:
        return record(**values)
    except MalformedError as problem:  # of the record's own check
        raise MalformedError(".".join(filter(None, [where, problem.where])), problem.problem) from problem


def written_fields(record: Any) -> list[dataclasses.Field[Any]]:
    """The fields of a record, or of a type of records, that JSON has."""
    return [one for one in dataclasses.fields(record) if not one.metadata.get("local")]


@lru_cache
def _hints(record: Any) -> dict[str, Any]:
    return get_type_hints(record)


def _is_record(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _value(hint: Any, value: Any, where: str) -> Any:
    if _is_record(hint):
        return from_json(hint, value, where)
    read = _READERS.get(get_origin(hint))
    return read(hint, value, where) if read else _of_plain(hint, value, where)


def _of_literal(hint: Any, value: Any, where: str) -> Any:
    if not any(value == one and type(value) is type(one) for one in get_args(hint)):
        raise MalformedError(where, f"must be {' or '.join(map(repr, get_args(hint)))}, not {_shown(value)}")
    return value


def _of_dictionary(hint: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise MalformedError(where, f"must be an object, not {_shown(value)}")
    return {str(key): _value(get_args(hint)[1], one, f"{where}.{key}") for key, one in value.items()}


def _of_union(hint: Any, value: Any, where: str) -> Any:
    kinds = get_args(hint)
    if value is None and type(None) in kinds:
        return None
    records = [one for one in kinds if _is_record(one)]
    if records and isinstance(value, Mapping):
        if len(records) == 1:
            return from_json(records[0], value, where)
        named = {one.kind: one for one in records}
        if value.get(KIND) not in named:
            raise MalformedError(
                where, f"is of the unknown kind {_shown(value.get(KIND))}; known kinds: {', '.join(named)}"
            )
        return from_json(named[value[KIND]], value, where)
    for kind in kinds:
        try:
            return _value(kind, value, where)
        except MalformedError:
            continue
    raise MalformedError(where, f"cannot be {_shown(value)}")


def _of_sequence(hint: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if not isinstance(value, list | tuple):
        raise MalformedError(where, f"must be a list, not {_shown(value)}")
    if origin is list or inner[-1] is Ellipsis:
        return origin(_value(inner[0], one, f"{where}[{number}]") for number, one in enumerate(value))
    if len(value) != len(inner):
        raise MalformedError(where, f"must have {len(inner)} entries, not {len(value)}")
    return tuple(
        _value(kind, one, f"{where}[{number}]") for number, (kind, one) in enumerate(zip(inner, value, strict=True))
    )


def _of_plain(hint: Any, value: Any, where: str) -> Any:
    """Text, numbers and truth values: a whole number is a number, a truth value is not."""
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, hint) and hint is not float and not (hint is int and isinstance(value, bool)):
        return value
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    raise MalformedError(where, f"must be {names.get(hint, hint)}, not {_shown(value)}")


_READERS: dict[Any, Callable[[Any, Any, str], Any]] = {
    Union: _of_union,
    types.UnionType: _of_union,
    Literal: _of_literal,
    tuple: _of_sequence,
    list: _of_sequence,
    dict: _of_dictionary,
    Mapping: _of_dictionary,
}
"""By the origin of a type; all others are records or plain values."""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"
