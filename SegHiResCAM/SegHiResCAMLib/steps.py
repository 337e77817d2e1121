"""Work that goes to and fro between an application and a thread, so that the application never stands still; the standard library only."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

Steps = Generator[Callable[[], Any] | None, Any, Any]
"""It runs in the application's thread, a step at a time, so each must take milliseconds only. It yields what takes time, which another thread
does and which must not touch the scene, and gets back what that returned; or None, to let the application breathe."""


def finish(steps: Steps) -> Any:
    """Do all of it here and now, where nobody minds waiting; returns what the steps return."""
    given: Any = None
    while True:
        try:
            work = steps.send(given)
        except StopIteration as end:
            return end.value
        given = work() if work else None
