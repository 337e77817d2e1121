"""JSON and YAML files that strangers wrote, read into plain dicts, lists, strings and numbers within bounds."""

from __future__ import annotations

import datetime
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.models.untrusted.received import LFS
from SegHiResCAMLib.engine.regular_files import open_regular

MAX_BYTES = 1 << 19
MAX_YAML = 1 << 17
"""PyYAML reads some hundred kilobytes a second at best, and JSON is read a hundred times as fast."""
MAX_DEPTH = 64
MAX_NODES = 100_000
MAX_TEXT = 100_000


def read_config(path: str | Path) -> dict[str, Any]:
    """The content of a `.json`, `.yaml` or `.yml` file.

    YAML goes through `yaml.SafeLoader`, so tags build no objects. Keys become strings; NaN and infinities become the strings "nan"
    and "inf", which no network or transform takes for a number.

    Raises:
        EngineError: `config-unreadable`, when the file is missing, no UTF-8, malformed, too large or too deeply nested, gives a key
            twice, or holds no mapping.
    """
    path = Path(path)
    text = _text(path)
    try:
        content = _plain(_parse_json(text) if path.suffix.lower() == ".json" else _parse_yaml(text), _Budget(), 0)
    except RecursionError as error:
        raise _unreadable(path, "is nested too deeply to be a model's description") from error
    except Exception as error:  # what a YAML tag makes of a value it does not fit can be anything
        refuse_out_of_memory(error, f"'{path}'")
        raise _unreadable(path, f"cannot be read: {_one_line(error)}") from error
    if not isinstance(content, dict):
        raise _unreadable(path, "is not a mapping of names to values")
    return content


def _text(path: Path) -> str:
    limit = MAX_BYTES if path.suffix.lower() == ".json" else MAX_YAML
    try:
        with open_regular(path, f"'{path}'") as file:
            data = file.read(limit + 1)
    except EngineError as error:
        if error.code != "file-unreadable":
            raise
        reason = getattr(error.__cause__, "strerror", "")
        raise _unreadable(path, f"cannot be opened: {reason}") from error
    if data.startswith(LFS):
        raise _unreadable(path, f"is a Git LFS pointer of {len(data)} bytes, not the file itself: run 'git lfs pull'")
    if len(data) > limit:
        raise _unreadable(path, f"is larger than {limit} bytes, too large to be a model's description")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, "is not UTF-8 text") from error


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        message = f"the key '{twice[0][:100]}' is given twice"
        raise ValueError(message)
    return dict(pairs)


class _YamlLoader(yaml.SafeLoader):  # type: ignore[misc]  # the library ships no types
    """Refuses what the plain safe loader lets through: keys given twice, and merges, which multiply what they are given."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        keys = [key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode)]
        if "<<" in keys:
            message = "merge keys ('<<') are not read; write the values out"
            raise ValueError(message)
        _without_duplicates([(key, None) for key in keys])
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge nothing."""


def _parse_yaml(text: str) -> Any:
    return yaml.load(text, _YamlLoader)


class _Budget:
    """How many more values a file may hold; an alias counts each time it is used."""

    def __init__(self) -> None:
        self.left = MAX_NODES

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            message = f"it holds more than {MAX_NODES} values"
            raise ValueError(message)


def _plain(value: Any, budget: _Budget, depth: int) -> Any:
    """`value` with nothing in it but dicts with string keys, lists, strings, numbers, booleans and None."""
    budget.spend()
    if depth > MAX_DEPTH:
        message = f"it is nested deeper than {MAX_DEPTH} levels"
        raise ValueError(message)
    if isinstance(value, dict):
        return _without_duplicates([(str(key), _plain(item, budget, depth + 1)) for key, item in value.items()])
    if isinstance(value, list):
        return [_plain(item, budget, depth + 1) for item in value]
    if isinstance(value, str) and len(value) > MAX_TEXT:
        message = f"it holds a text of more than {MAX_TEXT} characters"
        raise ValueError(message)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float):
        return value
    message = f"it holds a value of type {type(value).__name__}"
    raise ValueError(message)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _unreadable(path: Path, problem: str) -> EngineError:
    return EngineError(
        "config-unreadable", f"'{path}' {problem}. Ask the model's author for an undamaged copy of the description."
    )
