"""A request under way and its result: computed by the worker, then finished here, in turns between a thread and the application."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from SegHiResCAMLib.turns import Steps, resume
from SegHiResCAMLib.user_error import UserError
from SegHiResCAMLib.worker.protocol import Error, Progress, Result, unexpected

Report = Callable[[float, str], None]
"""Report how far a job is: fraction and a short text. It may be called in any thread, and raises `GivenUp` once the job is cancelled."""


class ExplainerError(UserError):
    """A request has failed, with a code for programs, a message for the user, and the trace for the log."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.code, error.message)
        self.trace = error.trace


class GivenUp(Exception):  # noqa: N818 - nothing went wrong
    """The user cancelled: whoever works for the job stops."""


@dataclass
class Job:
    """One request.

    Args:
        identifier: Of the request.
        steps: Makes of the worker's `Result`, None where it was not asked, what is left to do here; they return the job's own result.
        on_progress: Called with the fraction done, a short text, and the seconds that remain where known.
        on_done: Called with the job's result.
        on_error: Called with an `Error`.

    Attributes:
        done: Whether it has ended.
        result: Once it has ended well.
        error: Once it has failed.
        reused: What the worker did not have to do again: "model", "volume", "segmentation".
        in_thread: What a thread does for it now, None for nothing.
    """

    identifier: int
    steps: Callable[[Any, Report], Steps]
    on_progress: Callable[[float, str, float | None], None] | None = None
    on_done: Callable[[Any], None] | None = None
    on_error: Callable[[Error], None] | None = None
    done: bool = field(default=False, init=False)
    result: Any = field(default=None, init=False)
    error: Error | None = field(default=None, init=False)
    reused: tuple[str, ...] = field(default=(), init=False)
    in_thread: Future[Any] | None = field(default=None, init=False)
    _running: Steps | None = field(default=None, init=False)
    _reported: tuple[float, str] | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)
    _given_up: bool = field(default=False, init=False)

    def tell(self, event: Progress | Result | Error) -> None:
        """Take the next event of the worker."""
        if isinstance(event, Progress):
            if self.on_progress:
                self.on_progress(event.fraction, event.text, event.remaining)
        elif isinstance(event, Error):
            self._fail(event)
        else:
            self.reused = event.reused
            self.begin(event)

    def begin(self, result: Result | None = None) -> None:
        """Begin with what is left to do here, after the worker's result or without one."""
        self._running = self.steps(result, self._report)

    def settle(self, background: Executor) -> bool:
        """Do the next step where it can be done now; returns whether there was one."""
        if self.done or self._running is None:
            return False
        if self._ended:
            self.done = True
            if self.on_done:
                self.on_done(self.result)
            return True
        if self._reported and self.on_progress:
            reported, self._reported = self._reported, None
            self.on_progress(*reported, None)
        if self.in_thread is not None and not self.in_thread.done():
            return False
        try:
            work = resume(self._running, self.in_thread.result if self.in_thread else None)
            self.in_thread = background.submit(work) if work else None
        except StopIteration as end:
            # Reported a poll later: to show a result may take as long as to make it.
            self._ended, self.result = True, end.value
        except Exception as problem:  # noqa: BLE001 - as when the worker itself fails
            self._running.close()
            self._fail(_failed(problem))
        return True

    @property
    def is_with_worker(self) -> bool:
        """Whether the worker has not answered yet."""
        return not self.done and self._running is None

    def give_up(self) -> None:
        """End with the error "cancelled", at once; a job that has its result keeps it. Then `let_go`."""
        if not (self.done or self._ended):
            self.abandon()
            self._fail(Error("cancelled", "Cancelled."))

    def abandon(self) -> None:
        """Stop without calling back. Then `let_go`."""
        self._given_up = True

    def let_go(self) -> bool:
        """Take back what the steps of a cancelled job have begun; False while the thread still works for it.

        To be called in the application's thread: the steps hold nodes of the scene.
        """
        if self._running is not None and not self._ended:
            if self.in_thread is not None and not (self.in_thread.cancel() or self.in_thread.done()):
                return False
            self._running.close()
        return True

    def _report(self, fraction: float, text: str) -> None:
        if self._given_up:
            raise GivenUp
        self._reported = fraction, text

    def _fail(self, error: Error) -> None:
        self.done, self.error = True, error
        if self.on_error:
            self.on_error(error)


def _failed(problem: Exception) -> Error:
    return Error("scene", problem.message) if isinstance(problem, UserError) else unexpected(problem)
