"""One request and its answer, whichever way leads to the worker: what it misses is sent, what it says is held against what was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from SegHiResCAMLib.model_folders import cache_folder
from SegHiResCAMLib.plain_text import plain
from SegHiResCAMLib.worker.frames import UnexpectedError
from SegHiResCAMLib.worker.model_copies import NotSentError, fingerprint, offer
from SegHiResCAMLib.worker.process import WorkerProcess
from SegHiResCAMLib.worker.protocol import (
    Error,
    GetModel,
    MeasureRegions,
    ModelPath,
    Progress,
    Result,
    SendModel,
    Task,
    Wanted,
)
from SegHiResCAMLib.worker.request_files import files_of, loaded, places_of_results, stored
from SegHiResCAMLib.worker.transports import Transport

LONGEST_TEXT = 2000
"""Characters of a message that another computer may have the user read."""

MOST_TIMES = 3
"""That a worker may ask for a file in one request; once is enough for one that keeps what it was sent."""

OF_THE_COMPUTER = ("disk", "memory", "engine-missing", "internal")
"""Codes of errors that are about the computer, so that it matters which."""


class WorkerEndedError(Exception):
    """The worker ended before it answered."""


@dataclass
class Exchange:
    """The way of one request.

    Args:
        worker: It is ready.
        transport: Which led to it.
        identifier: Of the request.
        check: Called every few megabytes; what it raises stops the work.
        report: Takes what the worker reports.
    """

    worker: WorkerProcess
    transport: Transport
    identifier: int
    check: Callable[[], None]
    report: Callable[[Progress], None]
    _sent: int = field(default=0, init=False)
    _wanted: Counter[str] = field(default_factory=Counter, init=False)

    def answer(self, task: Task) -> Result | Error:
        """What the worker answers.

        Raises:
            WorkerEndedError: It did not answer.
            UnexpectedError: It sent what nobody asked for.
            NotSentError: The model cannot be sent.
            OSError, EOFError: The private folder cannot be used; `DiskFull` where there is no room in it.
        """
        folder = self.worker.folder
        request = stored(task, folder, self.check)
        if not self.transport.shares_folder:
            request = self._with_model_there(request)
        answer = self._asked(request, {name: folder / name for name in files_of(request)})
        if isinstance(answer, Result):
            self._check_path(answer)
            return loaded(self.identifier, request, answer, folder, self.check)
        return answer

    def _asked(self, request: Task, files: Mapping[str, Path]) -> Result | Error:
        self.check()
        if not self.transport.shares_folder:
            self.worker.expect(self.identifier, places_of_results(self.identifier, request, self.worker.folder))
        self.worker.send(self.identifier, request)
        for event_of, event in self.worker.messages():
            if event_of != self.identifier:
                continue
            if isinstance(event, Progress):
                self.report(replace(event, fraction=min(max(event.fraction, 0.0), 1.0), text=_bounded(event.text)))
            elif isinstance(event, Wanted):
                self._send(event, files)
            elif isinstance(event, Result | Error):
                self.worker.send_no_more_files()
                return self._from_there(event) if isinstance(event, Error) else event
        raise WorkerEndedError

    def _from_there(self, error: Error) -> Error:
        if self.transport.shares_folder:
            return error
        where = f"On {self.transport.name}: " if error.code in OF_THE_COMPUTER else ""
        code = "worker-missing" if error.code == "engine-missing" else error.code  # nothing is missing on this computer
        return replace(error, code=code, message=where + _bounded(error.message))

    def _check_path(self, answer: Result) -> None:
        """Refuse that another computer calls a file of this one a model, which would be sent to it with the next request.

        A path that both have is right where both keep downloaded models at the same place.
        """
        if self.transport.shares_folder or not isinstance(answer.answer, ModelPath):
            return
        path = answer.answer.path
        if len(path) > LONGEST_TEXT or (
            Path(path).exists() and not Path(path).resolve().is_relative_to(cache_folder().resolve())
        ):
            raise UnexpectedError("a path on this computer")

    def _send(self, wanted: Wanted, files: Mapping[str, Path]) -> None:
        self._wanted.update(wanted.files)
        if not set(wanted.files) <= set(files) or max(self._wanted.values(), default=0) > MOST_TIMES:
            raise UnexpectedError("a request for other files")
        self.worker.send_files(self.identifier, {name: files[name] for name in wanted.files}, self._report_sent)

    def _report_sent(self, size: int) -> None:
        self._sent += size
        self.report(Progress(0.0, f"Sending to {self.transport.name}: {self._sent / 1e6:.0f} MB"))

    def _with_model_there(self, request: Task) -> Task:
        """With the path that the model has there: one that lies here is sent, once; any other is a path or a name there."""
        if isinstance(request, GetModel | SendModel | MeasureRegions) or not (here := Path(request.model)).exists():
            return request
        try:
            key = fingerprint(here)
            if key not in self.worker.models:
                offered, files = offer(here, self.check)
                self.worker.models[key] = self._place_of(self._asked(offered, files))
        except OSError as problem:
            message = f"'{here}' cannot be read ({problem.strerror}), so it was not sent to '{self.transport.name}'."
            raise NotSentError(message) from problem
        return replace(request, model=self.worker.models[key])

    def _place_of(self, answer: Result | Error) -> str:
        if isinstance(answer, Error):
            raise NotSentError(answer.message)
        if not isinstance(answer.answer, ModelPath):
            raise UnexpectedError(f"an answer of the kind '{answer.answer.kind}'")
        return answer.answer.path


def _bounded(text: str) -> str:
    return plain(text)[:LONGEST_TEXT]
