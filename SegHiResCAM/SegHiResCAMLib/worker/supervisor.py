"""The thread behind a client: starts the worker, stores arrays, listens, loads results, cleans up.

It answers one request after the other. When the worker dies, that request fails and the next one starts a new worker.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from SegHiResCAMLib.worker.folder import remove_stale_folders
from SegHiResCAMLib.worker.process import WorkerProcess
from SegHiResCAMLib.worker.protocol import (
    VERSION,
    Cancel,
    Error,
    Explain,
    GetModel,
    Layers,
    OpenModel,
    Progress,
    Ready,
    Result,
    Segment,
    Voxels,
)

LOG_LINES = 400

Question = GetModel | OpenModel | Layers | Segment | Explain
Answer = Progress | Result | Error


@dataclass(frozen=True)
class _Job:
    identifier: int
    request: Question


class _Failure(Exception):  # noqa: N818 - carries what is told to the client
    def __init__(self, code: str, sentence: str, trace: str = "") -> None:
        super().__init__(sentence)
        self.error = Error(code, sentence, trace)


_CLOSED = ("closed", "The program is closing.")


def _closed() -> Error:
    return Error(*_CLOSED)


def _cancelled() -> Error:
    return Error("cancelled", "Cancelled.")


class Supervisor:
    """One thread and at most one worker. It knows nothing of its client, so that a forgotten client can go.

    Args:
        command: Starts the worker, without its last argument, the folder.
        grace: Seconds a cancelled request has to end by itself.

    Attributes:
        events: Answers with the ids of their requests.
        log: The last lines of the worker's log.
        worker: The worker, None while there is none.
    """

    def __init__(self, command: list[str], grace: float) -> None:
        self.events: queue.SimpleQueue[tuple[int, Answer]] = queue.SimpleQueue()
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self.worker: WorkerProcess | None = None
        self._command = command
        self._grace = grace
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._cancelled: set[int] = set()
        self._running: int | None = None
        self._closing = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, request: Question) -> int:
        """Put a request in line; returns its id."""
        identifier = next(self._numbers)
        with self._lock:
            if self._closing:
                self.events.put((identifier, _closed()))
                return identifier
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
        self._jobs.put(_Job(identifier, request))
        return identifier

    def cancel(self, identifier: int) -> None:
        """Give a request up; kill the worker if it has not ended it after the grace."""
        with self._lock:
            self._cancelled.add(identifier)
            if self._running != identifier:
                return
            if self.worker:
                with suppress(BrokenPipeError):
                    self.worker.send(identifier, Cancel())
        timer = threading.Timer(self._grace, self._kill_if_running, [identifier])
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        """End the worker and the thread; what is in line gets the error `closed`."""
        with self._lock:
            self._closing = True
            if self.worker:
                self.worker.kill()
        self._jobs.put(None)
        if self._thread:
            self._thread.join(timeout=5)

    def _work(self) -> None:
        remove_stale_folders()
        while (job := self._jobs.get()) is not None:
            with self._lock:
                self._running = job.identifier
            try:
                event: Answer = self._answer(job)
            except _Failure as failure:
                event = failure.error
            except Exception as problem:  # noqa: BLE001 - or requests would wait for ever
                event = Error("internal", f"This should not have happened ({type(problem).__name__}: {problem}).")
            with self._lock:
                self._running = None
                if self._closing:
                    event = _closed()
            if isinstance(event, Error) and event.trace:
                self.log.extend(event.trace.splitlines())
            self.events.put((job.identifier, event))
        self._dispose()

    def _answer(self, job: _Job) -> Result | Error:
        if job.identifier in self._cancelled:
            return _cancelled()
        worker = self._ready_worker(job)
        try:
            request = self._stored(job.request, worker.folder)
            if job.identifier in self._cancelled:
                return _cancelled()
            worker.send(job.identifier, request)
            for identifier, event in worker.messages():
                if identifier != job.identifier:
                    continue
                if isinstance(event, Progress):
                    self.events.put((identifier, event))
                elif isinstance(event, Result):
                    return self._loaded(event, worker.folder)
                elif isinstance(event, Error):
                    return event
        except BrokenPipeError:
            pass  # it died as it was asked
        except (OSError, EOFError) as problem:
            self._dispose()  # the next request gets a new folder
            if job.identifier in self._cancelled:
                return _cancelled()
            reason = getattr(problem, "strerror", None) or "a file in it is not whole"
            sentence = f"The temporary folder {worker.folder.parent} cannot be used ({reason}): free some disk space and try again."
            raise _Failure("disk", sentence) from problem
        raise self._died(job)

    def _ready_worker(self, job: _Job) -> WorkerProcess:
        """The worker that runs, or a new one."""
        if self.worker and self.worker.is_alive():
            return self.worker
        self._dispose()
        self.events.put((job.identifier, Progress(0.0, "Starting")))
        try:
            with self._lock:
                if self._closing:
                    raise _Failure(*_CLOSED)
                self.worker = worker = WorkerProcess(self._command, self.log)
        except OSError as problem:
            sentence = f"{self._command[0]} cannot be started ({problem.strerror}): is the installation complete?"
            raise _Failure("worker-missing", sentence) from problem
        for _, message in worker.messages():
            if not isinstance(message, Ready):
                continue
            if message.version == VERSION:
                return worker
            self._dispose()
            sentence = (
                f"The computing process speaks version {message.version} of the protocol, this program version {VERSION}: "
                "restart the program, and install it again if that does not help."
            )
            raise _Failure("worker-version", sentence)
        code = self._dispose()
        if job.identifier in self._cancelled:
            raise _Failure("cancelled", "Cancelled.")
        sentence = f"{self._command[0]} ended before it was ready (exit code {code}). The log says why: is the installation complete?"
        raise _Failure("worker-missing", sentence)

    def _stored(self, request: Question, folder: Path) -> Question:
        """The request with its arrays in files; files of earlier requests go."""
        arrays: dict[str, Any] = {
            name: value.stored(folder) for name, value in vars(request).items() if isinstance(value, Voxels)
        }
        keep = {voxels.file for voxels in arrays.values()}
        for file in folder.glob("volume-*.npy"):
            if file.name not in keep and arrays:
                file.unlink(missing_ok=True)
        return replace(request, **arrays)

    def _loaded(self, result: Result, folder: Path) -> Result:
        arrays = {name: np.load(folder / file, allow_pickle=False) for name, file in result.arrays.items()}
        for file in result.arrays.values():
            (folder / file).unlink(missing_ok=True)
        return replace(result, arrays=arrays)

    def _died(self, job: _Job) -> _Failure:
        code = self._dispose()
        if job.identifier in self._cancelled:
            return _Failure("cancelled", "Cancelled.")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        sentence = (
            f"The computing process ended unexpectedly ({how}), most likely for want of memory. Nothing has changed; "
            "try again, on the device cpu or with a smaller volume if it happens again."
        )
        return _Failure("worker-died", sentence)

    def _kill_if_running(self, identifier: int) -> None:
        with self._lock:
            if self._running == identifier and self.worker:
                self.worker.kill()

    def _dispose(self) -> int:
        with self._lock:
            worker, self.worker = self.worker, None
        return worker.dispose() if worker else 0
