"""Reads MONAI bundle configurations without running anything that is written in them.

MONAI's own `ConfigParser` evaluates every `$` expression with `eval` and imports whatever `_target_` names. This reader does
neither: it gives plain values, `Component` for what has a `_target_`, and `Unsupported` where an expression would need code. Only the
parts that are asked for are read, so that expressions elsewhere (data lists, handlers) do no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.expressions import UnsupportedExpressionError, evaluate, plain_reference

MAX_VALUES = 100_000
MAX_DEPTH = 100

_REFERENCE = re.compile(r"@(\w+(?:(?:::|#)\w+)*)")
_MACRO = re.compile(r"%(\w+(?:(?:::|#)\w+)*)")
_RELATIVE = re.compile(r"[@%](?:::|#)")
_MACRO_OF_FILE = re.compile(r"%.*\.(?:json|ya?ml)(?:::|#|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Component:
    """A part of a bundle that names a class to build.

    Attributes:
        target: The class as the configuration names it, for example "UNet" or "monai.networks.nets.UNet".
        arguments: Its keyword arguments, resolved; values may be `Component` or `Unsupported` in turn.
        where: Its place in the configuration, for example "preprocessing::transforms::2".
    """

    target: str
    arguments: dict[str, Any]
    where: str

    @property
    def name(self) -> str:
        """The class's short name."""
        return self.target.rpartition(".")[2]


@dataclass(frozen=True)
class Unsupported:
    """A value that only running code, or another file, would give.

    Attributes:
        text: As it stands in the configuration.
        where: Its place there.
    """

    text: str
    where: str


_DISABLED = object()


class Config:
    """A bundle's configuration, resolved piece by piece.

    Args:
        content: As `read_config` gives it.
        file: The file's name for error sentences.
    """

    def __init__(self, content: dict[str, Any], file: str) -> None:
        self.content = content
        self.file = file
        self._budget = MAX_VALUES
        self._open: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self.content

    def resolve(self, identifier: str) -> Any:
        """The value at `identifier` ("network_def", "preprocessing::transforms::0") with references and macros followed.

        Raises:
            EngineError: It is not there, refers to itself, or grows beyond all bounds.
        """
        keys = identifier.replace("#", "::").split("::")
        value = self._resolve(self._at(keys, keys), "::".join(keys))
        return None if value is _DISABLED else value

    def steps(self, identifier: str) -> list[Component]:
        """The components in the Compose or list at `identifier`, in order, nested ones unrolled.

        Raises:
            EngineError: As `resolve` and `need`, or there is something else.
        """
        return self._steps_in(self.resolve(identifier), identifier)

    def need(self, value: Any) -> Any:
        """`value`, when all of it is known.

        Raises:
            EngineError: `bundle-expression`, naming the first part that would need code to run.
        """
        if isinstance(value, Unsupported):
            raise EngineError(
                "bundle-expression",
                f"'{self.file}' sets '{value.where}' to '{_short(value.text)}', which would need code to run or another file; model "
                "files are never run. Ask the sender to write the value itself there.",
            )
        parts = value.arguments if isinstance(value, Component) else value
        for part in parts.values() if isinstance(parts, dict) else parts if isinstance(parts, list) else ():
            self.need(part)
        return value

    def _steps_in(self, value: Any, where: str) -> list[Component]:
        if isinstance(value, Component):
            return self._steps_in(value.arguments.get("transforms", []), where) if value.name == "Compose" else [value]
        if isinstance(value, list):
            return [step for item in value for step in self._steps_in(item, where)]
        self.need(value)
        self._refuse(f"has something else than transforms in '{where}'")

    def _at(self, keys: list[str], wanted: list[str]) -> Any:
        """The unresolved value at `keys`, through macros."""
        node: Any = self.content
        for key in keys:
            macro = _MACRO.fullmatch(node) if isinstance(node, str) else None
            if macro:
                with self._opened(node):
                    inner = macro.group(1).replace("#", "::").split("::")
                    node = self._at(inner, wanted)
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
                node = node[int(key)]
            else:
                self._refuse(f"refers to '{'::'.join(wanted)}', which it does not define")
        return node

    def _resolve(self, node: Any, where: str) -> Any:
        with self._opened(where):
            if isinstance(node, dict) and "_target_" in node:
                return self._component(node, where)
            if isinstance(node, dict):
                parts = {key: self._resolve(item, f"{where}::{key}") for key, item in node.items()}
                return {key: part for key, part in parts.items() if part is not _DISABLED}
            if isinstance(node, list):
                items = [self._resolve(item, f"{where}::{index}") for index, item in enumerate(node)]
                return [item for item in items if item is not _DISABLED]
            return self._text(node, where) if isinstance(node, str) else node

    def _component(self, node: dict[str, Any], where: str) -> Any:
        """A `_target_` with its arguments. `_desc_` and `_requires_` mean nothing where nothing runs."""
        disabled = self._resolve(node.get("_disabled_", False), f"{where}::_disabled_")
        self.need(disabled)
        if disabled is True or (isinstance(disabled, str) and disabled.strip().lower() == "true"):
            return _DISABLED
        target = self._resolve(node["_target_"], f"{where}::_target_")
        mode = node.get("_mode_", "default")
        if not isinstance(target, str) or mode != "default":
            return Unsupported(f"_target_: {node['_target_']}, _mode_: {mode}", where)
        special = ("_target_", "_disabled_", "_requires_", "_desc_", "_mode_")
        arguments = {key: self._resolve(item, f"{where}::{key}") for key, item in node.items() if key not in special}
        known = {key: value for key, value in arguments.items() if value is not _DISABLED}
        return Component(target, known, where)

    def _text(self, text: str, where: str) -> Any:
        if text.startswith("$"):
            return self._expression(text, where)
        reference = _REFERENCE.fullmatch(text) or _MACRO.fullmatch(text)
        if reference:
            return self.resolve(reference.group(1))
        if _RELATIVE.match(text) or _MACRO_OF_FILE.match(text):
            return Unsupported(text, where)
        return text

    def _expression(self, text: str, where: str) -> Any:
        reference = plain_reference(text[1:])
        if reference is not None:
            return self.resolve(reference)
        try:
            return evaluate(text[1:], self.resolve)
        except UnsupportedExpressionError:
            return Unsupported(text, where)

    @contextmanager
    def _opened(self, where: str) -> Iterator[None]:
        """Marks a place as being resolved: whoever comes back to it meanwhile goes round in circles."""
        self._budget -= 1
        if where in self._open:
            self._refuse(f"defines '{where}' by itself")
        if self._budget < 0 or len(self._open) > MAX_DEPTH:
            self._refuse("refers from value to value without end")
        self._open.append(where)
        try:
            yield
        finally:
            self._open.pop()

    def _refuse(self, problem: str) -> NoReturn:
        raise EngineError(
            "bundle-reference",
            f"'{self.file}' {problem}. Ask the sender for a configuration that MONAI itself can read.",
        )


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
