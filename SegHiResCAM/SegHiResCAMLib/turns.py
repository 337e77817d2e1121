"""Work that goes to and fro between an application and a thread, so that the application never stands still; the standard library only."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

Steps = Generator[Callable[[], Any] | None, Any, Any]
"""It runs in the application's thread, a step at a time, so each must take milliseconds only. It yields what takes time, which another thread
does and which must not touch the scene, and gets back what that returned; or None, to let the application breathe."""


def finish(steps: Steps) -> Any:
    """Do all of it here and now, where nobody minds waiting; returns what the steps return."""
    work: Callable[[], Any] | None = None
    while True:
        try:
            work = resume(steps, work)
        except StopIteration as end:
            return end.value


def resume(steps: Steps, outcome: Callable[[], Any] | None) -> Callable[[], Any] | None:
    """Go on to what the steps yield next.

    Args:
        steps: Begun or not.
        outcome: Returns, or raises, what the work that they yielded did, so that they can deal with its failure; None where there was none.

    Raises:
        StopIteration: They have ended, with what they return.
    """
    try:
        given = outcome() if outcome else None
    except Exception as problem:  # noqa: BLE001 - whatever it is, the steps asked for it
        return steps.throw(problem)
    return steps.send(given)
