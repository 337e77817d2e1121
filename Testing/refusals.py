"""Refusals of the engine, which are messages, and what has to be refused."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from SegHiResCAMLib.engine.errors import EngineError


def refusal(call: Callable[[], object]) -> EngineError:
    """The error that a call is refused with: one message or a few, on one line."""
    with pytest.raises(EngineError) as caught:
        call()
    check_message(caught.value.message)
    return caught.value


@contextmanager
def done_or_refused() -> Iterator[None]:
    """For input that may be anything: refusals are messages, and whatever else is raised goes on."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except EngineError as error:
        check_message(error.message)


def check_message(message: str) -> None:
    assert "\n" not in message, message
    assert message.endswith("."), message
    assert len(message) < 4000, message[:300]


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def places(node: object, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON tree below its root."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, item in items:
        yield (*here, key)
        yield from places(item, (*here, key))


def changed_at(tree: Any, place: tuple[Any, ...], value: object) -> Any:
    """A copy of a JSON tree with another value in one place."""
    changed = copy.deepcopy(tree)
    node = changed
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return changed
