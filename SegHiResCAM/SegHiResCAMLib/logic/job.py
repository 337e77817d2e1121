"""A request under way, and what becomes of it: told by the worker, prepared in a thread, received by the scene."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
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

    Args:
        identifier: Of the request.
        prepare: Makes what the scene takes of the worker's `Result`. It runs in a thread, so it must not touch the scene.
        receive: Makes the job's own result of what is prepared, in the thread that polls.
        on_progress: Called with the fraction done, a short text, and the seconds that remain where known.
        on_done: Called with the job's result.
        on_error: Called with an `Error`.

    Attributes:
        done: Whether it has ended.
        result: Once it has ended well.
        error: Once it has failed.
        facts: What the worker told with its result; "reused" lists what it did not have to do again.
    """

    identifier: int
    prepare: Callable[[Result], Any]
    receive: Callable[[Any], Any]
    on_progress: Callable[[float, str, float | None], None] | None = None
    on_done: Callable[[Any], None] | None = None
    on_error: Callable[[Error], None] | None = None
    done: bool = field(default=False, init=False)
    result: Any = field(default=None, init=False)
    error: Error | None = field(default=None, init=False)
    facts: dict[str, Any] = field(default_factory=dict, init=False)
    _prepared: Future[Any] | None = field(default=None, init=False)
    _given_up: bool = field(default=False, init=False)

    def tell(self, event: Progress | Result | Error, background: Executor) -> None:
        """Take the next event of the worker."""
        if isinstance(event, Progress):
            if self.on_progress and not self._given_up:
                self.on_progress(event.fraction, event.text, event.remaining)
        elif isinstance(event, Error):
            self._fail(event)
        else:
            self.facts = event.facts
            self._prepared = background.submit(self.prepare, event)

    def settle(self) -> None:
        """End, if everything is prepared or the job was given up."""
        if self.done or self._prepared is None or not (self._given_up or self._prepared.done()):
            return
        if self._given_up:
            self._fail(Error("cancelled", "Cancelled."))
            return
        try:
            self.result = self.receive(self._prepared.result())
        except Exception as problem:  # noqa: BLE001 - as when the worker itself fails
            self._fail(_failed(problem))
            return
        self.done = True
        if self.on_done:
            self.on_done(self.result)

    def give_up(self) -> None:
        """Whatever is being prepared is not wanted any more."""
        self._given_up = True

    def _fail(self, error: Error) -> None:
        self.done, self.error = True, error
        if self.on_error:
            self.on_error(error)


def _failed(problem: Exception) -> Error:
    sentence = getattr(problem, "sentence", None)
    return Error("scene", sentence or f"This should not have happened ({type(problem).__name__}: {problem}).")
