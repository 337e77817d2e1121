"""A request under way, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from SegHiResCAMLib.worker.protocol import Error, Progress, Result


class ExplainerError(Exception):
    """Something the user can understand and mend: a code for programs, a sentence for the user."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.sentence)
        self.code = error.code
        self.sentence = error.sentence
        self.trace = error.trace


@dataclass
class Job:
    """One request.

    Attributes:
        identifier: As the client counts.
        receive: Makes of the worker's result what the caller wants: nodes.
        on_progress: Called with a fraction, a text and the seconds that remain (None while unknown).
        on_done: Called with the result.
        on_error: Called with an `Error`.
        done: Whether it has ended.
        result: Once it has ended well.
        error: Once it has failed.
    """

    identifier: int
    receive: Callable[[Result], Any]
    on_progress: Callable[[float, str, float | None], None] | None = None
    on_done: Callable[[Any], None] | None = None
    on_error: Callable[[Error], None] | None = None
    done: bool = field(default=False, init=False)
    result: Any = field(default=None, init=False)
    error: Error | None = field(default=None, init=False)

    def tell(self, event: Progress | Result | Error) -> None:
        """Take the next event of the worker."""
        if isinstance(event, Progress):
            if self.on_progress:
                self.on_progress(event.fraction, event.text, event.remaining)
            return
        if isinstance(event, Result):
            try:
                self.result = self.receive(event)
            except Exception as problem:  # noqa: BLE001 - as when the worker itself fails
                event = _failed(problem)
        self.done = True
        if isinstance(event, Error):
            self.error = event
            if self.on_error:
                self.on_error(event)
        elif self.on_done:
            self.on_done(self.result)


def _failed(problem: Exception) -> Error:
    sentence = getattr(problem, "sentence", None)
    return Error("scene", sentence or f"This should not have happened ({type(problem).__name__}: {problem}).")
