"""Holds what strangers wrote against the JSON Schemas that document it (`Resources/Schemas`), and says in a message what is wrong."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.resources import resource

_CODES_AND_PAGES = {
    "model": ("description-wrong", "docs/models/checkpoint.md"),
    "catalogue": ("catalogue-wrong", "docs/models/catalogue.md"),
}


def check(content: Any, schema: str, file: str) -> None:
    """Hold `content` against a schema.

    Args:
        content: As `read_config` gives it.
        schema: "model" or "catalogue".
        file: The file's name for the message.

    Raises:
        EngineError: Naming the first field, in the order of the file, that is not as the schema has it.
    """
    import jsonschema

    rules = json.loads(resource("Schemas", f"{schema}.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})
    errors = list(validator(rules).iter_errors(content))
    if errors:
        error = min(errors, key=lambda one: (len(one.absolute_path), str(one.json_path)))
        raise wrong(schema, file, _problem(error))


def wrong(schema: str, file: str, problem: str) -> EngineError:
    """The error for a file that is not as it should be; `problem` completes "the file …"."""
    code, page = _CODES_AND_PAGES[schema]
    return EngineError(code, f"'{file}' {problem}. {page} describes every field.")


def _pattern(_validator: Any, pattern: str, text: Any, _schema: Any) -> Iterator[Any]:
    """As the standard means it: `$` is the end, where Python also takes a last line break for it."""
    import jsonschema

    if isinstance(text, str) and not re.search(
        pattern.removesuffix("$") + (r"\Z" if pattern.endswith("$") else ""), text
    ):
        yield jsonschema.ValidationError(f"{text!r} does not match {pattern!r}")


def _problem(error: Any) -> str:
    """What a `jsonschema.ValidationError` means, for people; completes "the file …"."""
    where = error.json_path.removeprefix("$").removeprefix(".")
    say = _PROBLEMS.get(error.validator)
    if say is not None:
        return say(error, where)
    return f"has {_shown(error.instance)} in '{where}', where {_wanted(error)} is needed"


def _missing(error: Any, where: str) -> str:
    names = [name for name in error.validator_value if name not in error.instance]
    return f"lacks '{names[0]}'{_within(where)}"


def _missing_too(error: Any, where: str) -> str:
    name, needs = next((name, needs) for name, needs in error.validator_value.items() if name in error.instance)
    return f"has '{name}'{_within(where)} without '{needs[0]}'"


def _unknown(error: Any, where: str) -> str:
    known = list(error.schema.get("properties", {}))
    name = next(name for name in error.instance if name not in known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known there: {', '.join(known)}"
    return f"has an unknown field {_shown(name)}{_within(where)} ({hint})"


_PROBLEMS: dict[str, Callable[[Any, str], str]] = {
    "required": _missing,
    "dependentRequired": _missing_too,
    "additionalProperties": _unknown,
}

_KINDS = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}


def _wanted(error: Any) -> str:
    rule, value = error.validator, error.validator_value
    if rule == "type":
        return " or ".join(_KINDS[kind] for kind in ([value] if isinstance(value, str) else value))
    if rule in ("enum", "const"):
        return " or ".join(json.dumps(one) for one in (value if rule == "enum" else [value]))
    bounds = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
        "minItems": "a list with a length of at least",
        "maxItems": "a list with a length of at most",
        "minLength": "a text with a length of at least",
        "maxLength": "a text with a length of at most",
    }
    if rule in bounds:
        return f"{bounds[rule]} {value}"
    if rule == "uniqueItems":
        return "a list without repetitions"
    return f"something like this: {error.schema.get('description', value)}"


def _within(where: str) -> str:
    return f" in '{where}'" if where else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
