"""Reads MONAI bundle configurations without running anything that is written in them.

MONAI's own `ConfigParser` evaluates every `$` expression with `eval` and imports whatever `_target_` names. This reader does
neither: it gives plain values, `ConfigComponent` for what has a `_target_`, and `Unsupported` for what cannot be known that way. Whoever needs
an unsupported value refuses; expressions elsewhere (data lists, handlers) do no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.untrusted.expressions import (
    IDENTIFIER,
    UnsupportedExpressionError,
    evaluate,
    plain_reference,
)

MAX_VALUES = 100_000
MAX_DEPTH = 100

_REFERENCE = re.compile(f"[@%]{IDENTIFIER}")
_MACRO = re.compile(f"%{IDENTIFIER}")
_RELATIVE = re.compile(r"[@%](?:::|#)")
_OTHER_FILE = re.compile(r"%.*\.(?:json|ya?ml)(?:::|#|$)", re.IGNORECASE)
_NO_ARGUMENTS = frozenset({"_target_", "_disabled_", "_requires_", "_desc_", "_mode_"})


@dataclass(frozen=True)
class ConfigComponent:
    """A part of a bundle that names a class to build.

    Attributes:
        target: The class as the configuration names it, for example "UNet" or "monai.networks.nets.UNet".
        arguments: Its keyword arguments, resolved; values may be `ConfigComponent` or `Unsupported` in turn.
        where: Its place in the configuration, for example "preprocessing::transforms::2".
    """

    target: str
    arguments: dict[str, Any]
    where: str

    @property
    def name(self) -> str:
        """The class's short name."""
        return self.target.rpartition(".")[2]

    def is_from(self, package: str) -> bool:
        """Whether the class is named as one of `package` ("monai.transforms"): by that path, one below it, or its short name alone."""
        path = self.target.rpartition(".")[0]
        return path in ("", package) or path.startswith(f"{package}.")


@dataclass(frozen=True)
class Unsupported:
    """A value that cannot be known from this file without running code.

    Attributes:
        code: Of the error that needing it raises.
        text: As it stands in the configuration.
        where: Its place there.
        reason: Completes "which …".
    """

    code: str
    text: str
    where: str
    reason: str


class _Disabled:
    """Stands for a component with `_disabled_`, until its list or mapping leaves it out."""


class _MissingError(Exception):
    """There is nothing at an identifier."""


class _UnknownError(Exception):
    """An expression refers to a value that is not known."""

    def __init__(self, value: Unsupported) -> None:
        super().__init__()
        self.value = value


class Config:
    """A bundle's configuration, resolved piece by piece.

    Args:
        content: As `read_config` gives it.
        file: The file's name for error messages.
    """

    def __init__(self, content: dict[str, Any], file: str) -> None:
        self.content = content
        self.file = file
        self._budget = MAX_VALUES
        self._open: list[str] = []

    def __contains__(self, identifier: str) -> bool:
        try:
            self._at(_split(identifier))
        except _MissingError:
            return False
        return True

    def resolve(self, identifier: str) -> Any:
        """The value at `identifier` ("network_def", "preprocessing::transforms::0") with references and macros followed.

        What is not there, and what would need code, is `Unsupported`.

        Raises:
            EngineError: `bundle-reference`, when it refers to itself, or grows beyond all bounds.
        """
        value = self._referred(identifier, f"@{identifier}", identifier)
        return None if isinstance(value, _Disabled) else value

    def steps(self, identifier: str) -> list[ConfigComponent]:
        """The components in the Compose or list at `identifier`, in order, nested ones unrolled.

        Raises:
            EngineError: As `resolve` and `need`, or there is something else.
        """
        return self._steps_in(self.resolve(identifier), identifier)

    def need(self, value: Any) -> Any:
        """`value`, when all of it is known.

        Raises:
            EngineError: `bundle-expression` or `bundle-reference`, naming the first part that is not.
        """
        if isinstance(value, Unsupported):
            raise EngineError(
                value.code,
                f"'{self.file}' sets '{value.where}' to '{_short(value.text)}', which {value.reason}. "
                "Ask the model's author to write the value itself there.",
            )
        parts = value.arguments if isinstance(value, ConfigComponent) else value
        for part in parts.values() if isinstance(parts, dict) else parts if isinstance(parts, list) else ():
            self.need(part)
        return value

    def _steps_in(self, value: Any, where: str) -> list[ConfigComponent]:
        if isinstance(value, ConfigComponent):
            unrolls = value.name == "Compose" and value.is_from("monai.transforms")
            return self._steps_in(value.arguments.get("transforms", []), where) if unrolls else [value]
        if isinstance(value, list):
            return [step for item in value for step in self._steps_in(item, where)]
        self.need(value)
        raise self._refusal(f"has something other than transforms in '{where}'")

    def _at(self, keys: list[str]) -> Any:
        """The unresolved value at `keys`, through macros."""
        node: Any = self.content
        for key in keys:
            macro = _MACRO.fullmatch(node) if isinstance(node, str) else None
            if macro:
                with self._opened(node):
                    node = self._at(_split(macro.group(1)))
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
                node = node[int(key)]
            else:
                raise _MissingError
        return node

    def _referred(self, identifier: str, text: str, where: str) -> Any:
        """What a reference to `identifier` that stands as `text` at `where` stands for."""
        keys = _split(identifier)
        try:
            node = self._at(keys)
        except _MissingError:
            return Unsupported("bundle-reference", text, where, "is defined nowhere in it")
        return self._resolve(node, "::".join(keys))

    def _resolve(self, node: Any, where: str) -> Any:
        with self._opened(where):
            if isinstance(node, dict) and "_target_" in node:
                return self._component(node, where)
            if isinstance(node, dict):
                return self._parts(node, where)
            if isinstance(node, list):
                items = (self._resolve(item, f"{where}::{index}") for index, item in enumerate(node))
                return [item for item in items if not isinstance(item, _Disabled)]
            return self._text(node, where) if isinstance(node, str) else node

    def _parts(self, node: dict[str, Any], where: str) -> dict[str, Any]:
        parts = {key: self._resolve(item, f"{where}::{key}") for key, item in node.items()}
        return {key: part for key, part in parts.items() if not isinstance(part, _Disabled)}

    def _component(self, node: dict[str, Any], where: str) -> Any:
        """A `_target_` with its arguments. `_desc_` and `_requires_` mean nothing where nothing runs."""
        disabled = self._resolve(node.get("_disabled_", False), f"{where}::_disabled_")
        if isinstance(disabled, Unsupported):
            return disabled
        if disabled.strip().lower() == "true" if isinstance(disabled, str) else disabled:
            return _Disabled()
        target = self._resolve(node["_target_"], f"{where}::_target_")
        if not isinstance(target, str):
            return Unsupported(
                "bundle-expression", str(node["_target_"]), f"{where}::_target_", "is not the name of a class"
            )
        if node.get("_mode_", "default") != "default":
            reason = "builds something other than the component"
            return Unsupported("bundle-expression", str(node["_mode_"]), f"{where}::_mode_", reason)
        arguments = {key: item for key, item in node.items() if key not in _NO_ARGUMENTS}
        return ConfigComponent(target, self._parts(arguments, where), where)

    def _text(self, text: str, where: str) -> Any:
        if text.startswith("$"):
            return self._expression(text, where)
        reference = _REFERENCE.fullmatch(text)
        if reference:
            return self._referred(reference.group(1), text, where)
        if _OTHER_FILE.match(text):
            return Unsupported("bundle-reference", text, where, "points to another file")
        if _RELATIVE.match(text):
            return Unsupported("bundle-reference", text, where, "is a relative reference")
        return text

    def _expression(self, text: str, where: str) -> Any:
        reference = plain_reference(text[1:])
        if reference is not None:
            return self._referred(reference, text, where)

        def known(identifier: str) -> Any:
            value = self._referred(identifier, text, where)
            if isinstance(value, Unsupported):
                raise _UnknownError(value)
            return value

        try:
            return evaluate(text[1:], known)
        except _UnknownError as error:
            return error.value
        except UnsupportedExpressionError:
            reason = "would need code to run; nothing in a model's files is ever run"
            return Unsupported("bundle-expression", text, where, reason)

    @contextmanager
    def _opened(self, where: str) -> Iterator[None]:
        """Marks a place as being resolved: whoever comes back to it meanwhile goes round in circles."""
        self._budget -= 1
        if where in self._open:
            raise self._refusal(f"defines '{_short(where)}' by itself")
        if self._budget < 0 or len(self._open) >= MAX_DEPTH:
            raise self._refusal("follows references without end")
        self._open.append(where)
        try:
            yield
        finally:
            self._open.pop()

    def _refusal(self, problem: str) -> EngineError:
        return EngineError(
            "bundle-reference",
            f"'{self.file}' {problem}. Ask the model's author for a configuration that MONAI itself can read.",
        )


def _split(identifier: str) -> list[str]:
    return identifier.replace("#", "::").split("::")


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
