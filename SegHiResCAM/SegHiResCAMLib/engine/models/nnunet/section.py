"""A part of nnU-Net's plans.json or dataset.json that says, in a message, what is wrong with what it holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeGuard

from SegHiResCAMLib.engine.errors import EngineError


@dataclass(frozen=True)
class Section:
    """A mapping from a file.

    Attributes:
        content: As read.
        file: Its name for error messages.
    """

    content: dict[str, Any]
    file: str

    def __contains__(self, key: str) -> bool:
        return key in self.content

    def section(self, key: str) -> Section:
        """The mapping at `key`."""
        value = self.content.get(key)
        if not isinstance(value, dict):
            raise self.refusal(key, "a mapping")
        return Section(value, self.file)

    def text(self, key: str, default: str | None = None) -> str:
        """The text at `key`."""
        value = self.content.get(key, default)
        if not isinstance(value, str):
            raise self.refusal(key, "a name")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false at `key`; nothing and null stand for the default."""
        value = self.content.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.refusal(key, "true or false")
        return default if value is None else value

    def number(self, key: str) -> float:
        """A finite number at `key`."""
        value = self.content.get(key)
        if not _is_number(value):
            raise self.refusal(key, "a number")
        return float(value)

    def integer(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number at `key`, within bounds."""
        value = self.content.get(key, default)
        if not _is_integer(value) or not least <= value <= most:
            raise self.refusal(key, f"a whole number from {least} to {most}")
        return value

    def integers(self, key: str, least: int, most: int, length: int | None = None) -> tuple[int, ...]:
        """Whole numbers at `key`, within bounds; a single one stands for `length` times itself."""
        value = self.content.get(key)
        items = [value] * length if _is_integer(value) and length else value
        return self._integers(key, items, least, most, length)

    def sizes(self, key: str, least: int, most: int, length: int, dims: int) -> tuple[tuple[int, ...], ...]:
        """A size along each of `dims` axes for each of `length` stages; a single number stands for all of them."""
        value = self.content.get(key)
        stages = [value] * length if _is_integer(value) else value
        if not isinstance(stages, list) or len(stages) != length:
            raise self.refusal(key, f"{length} sizes")
        rows = [[stage] * dims if _is_integer(stage) else stage for stage in stages]
        return tuple(self._integers(key, row, least, most, dims) for row in rows)

    def numbers(self, key: str) -> tuple[float, ...]:
        """Positive finite numbers at `key`."""
        value = self.content.get(key)
        if not isinstance(value, list) or not all(_is_number(item) and item > 0 for item in value):
            raise self.refusal(key, "positive numbers")
        return tuple(float(item) for item in value)

    def refusal(self, key: str, needed: str) -> EngineError:
        """That something else is needed at `key`."""
        found = json.dumps(self.content[key], default=str)[:80] if key in self.content else "nothing"
        return EngineError(
            "nnunet-plans",
            f"'{self.file}' has {found} as '{key[:80]}', where {needed} should be. Ask the model's author for the undamaged file of this model.",
        )

    def _integers(self, key: str, items: Any, least: int, most: int, length: int | None) -> tuple[int, ...]:
        fitting = isinstance(items, list) and (length is None or len(items) == length)
        if not fitting or not all(_is_integer(item) and least <= item <= most for item in items):
            how_many = f"{length} whole numbers" if length else "whole numbers"
            raise self.refusal(key, f"{how_many} from {least} to {most}")
        return tuple(items)


def _is_integer(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> TypeGuard[float]:
    """JSON's NaN and infinities are read as texts."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30
