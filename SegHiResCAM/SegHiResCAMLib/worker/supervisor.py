"""The thread behind a client: starts the worker, stores arrays, listens, loads results, cleans up.

It answers one request after the other. When the worker dies, that request fails and the next one starts a new worker.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from SegHiResCAMLib.worker.arrays import DiskFull, load_array
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
    SegmentVolume,
    Voxels,
    unexpected,
)

LOG_LINES = 400

Task = GetModel | OpenModel | Layers | SegmentVolume | Explain
Reply = Progress | Result | Error


@dataclass(frozen=True)
class _Job:
    identifier: int
    request: Task


class _Failure(Exception):  # noqa: N818 - carries what is reported to the client
    def __init__(self, code: str, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.error = Error(code, message, trace)


_CLOSED = ("closed", "The program is closing.")
_CANCELLED = ("cancelled", "Cancelled.")

CLOSES = 1.5
"""Seconds that `close` waits at most; what is left then ends with the program, or is swept by the next one."""


class Supervisor:
    """One thread and at most one worker. It knows nothing of its client, so that a forgotten client can go.

    `submit`, `cancel` and `close` are called by the application, so nothing that takes time is done while the lock is held.

    Args:
        command: Starts the worker, without its last argument, the folder.
        grace: Seconds a cancelled request has to end by itself.

    Attributes:
        events: Answers with the ids of their requests.
        log: The last lines of the worker's log.
        worker: The worker, None while there is none.
    """

    def __init__(self, command: list[str], grace: float) -> None:
        self.events: queue.SimpleQueue[tuple[int, Reply]] = queue.SimpleQueue()
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self.worker: WorkerProcess | None = None
        self._command = command
        self._grace = grace
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._waiting: set[int] = set()
        self._running: int | None = None
        self._given_up = False  # the running request
        self._closing = False
        self._lock = threading.RLock()  # a forgotten client may be closed by whichever thread collects garbage
        self._thread: threading.Thread | None = None

    def submit(self, request: Task) -> int:
        """Put a request in line; returns its id."""
        identifier = next(self._numbers)
        with self._lock:
            if self._closing:
                self.events.put((identifier, Error(*_CLOSED)))
                return identifier
            self._waiting.add(identifier)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
        self._jobs.put(_Job(identifier, request))
        return identifier

    def cancel(self, identifier: int) -> None:
        """Give a request up; kill the worker if it has not ended it after the grace."""
        with self._lock:
            if identifier in self._waiting:
                self._waiting.remove(identifier)
                self.events.put((identifier, Error(*_CANCELLED)))
            if self._running != identifier:
                return
            self._given_up = True
            if self.worker:
                self.worker.send(identifier, Cancel())
        timer = threading.Timer(self._grace, self._kill_if_running, [identifier])
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        """End the worker and the thread; what is in line gets the error `closed`."""
        with self._lock:
            self._closing = True
            worker = self.worker
        if worker:
            worker.kill()
        self._jobs.put(None)
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(timeout=CLOSES)

    def _work(self) -> None:
        remove_stale_folders()
        while (job := self._jobs.get()) is not None:
            with self._lock:
                if job.identifier not in self._waiting:
                    continue
                self._waiting.remove(job.identifier)
                self._running, self._given_up = job.identifier, False
            try:
                event: Reply = self._answer(job)
            except _Failure as failure:
                event = failure.error
            except Exception as problem:  # noqa: BLE001 - or requests would wait for ever
                event = unexpected(problem)
            with self._lock:
                self._running = None
                if self._closing:
                    event = Error(*_CLOSED)
            if isinstance(event, Error) and event.trace:
                self.log.extend(event.trace.splitlines())
            self.events.put((job.identifier, event))
        self._dispose()

    def _answer(self, job: _Job) -> Result | Error:
        worker = self._ready_worker(job)
        try:
            request = self._stored(job.request, worker.folder)
            self._check()
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
        except DiskFull as problem:
            raise _Failure("disk", str(problem.strerror)) from problem
        except (OSError, EOFError) as problem:
            self._dispose()  # the next request gets a new folder
            self._check()
            reason = getattr(problem, "strerror", None) or "a file in it is not whole"
            message = f"The temporary folder '{worker.folder.parent}' cannot be used ({reason}). Check that it can be written to, then try again."
            raise _Failure("disk", message) from problem
        raise self._died()

    def _check(self) -> None:
        """Stop where nobody waits for the running request any more."""
        if self._closing:
            raise _Failure(*_CLOSED)
        if self._given_up:
            raise _Failure(*_CANCELLED)

    def _ready_worker(self, job: _Job) -> WorkerProcess:
        """The worker that runs, or a new one."""
        if self.worker and self.worker.is_alive():
            return self.worker
        self._dispose()
        self.events.put((job.identifier, Progress(0.0, "Starting")))
        try:
            worker = WorkerProcess(self._command, self.log)
        except OSError as problem:
            message = (
                f"'{self._command[0]}' cannot be started ({problem.strerror}). Check that the installation is complete."
            )
            raise _Failure("worker-missing", message) from problem
        with self._lock:
            self.worker = worker
            unwanted = self._closing or self._given_up  # while it was started, nobody could kill it
        if unwanted:
            self._dispose()
            self._check()
        for _, event in worker.messages():
            if not isinstance(event, Ready):
                continue
            if event.version == VERSION:
                return worker
            self._dispose()
            message = (
                f"The computing process speaks version {event.version} of the protocol, this program version {VERSION}. "
                "Restart the program, and install it again if that does not help."
            )
            raise _Failure("worker-version", message)
        code = self._dispose()
        self._check()
        message = f"'{self._command[0]}' ended before it was ready ({_how(code)}). The log says why. Check that the installation is complete."
        raise _Failure("worker-missing", message)

    def _stored(self, request: Task, folder: Path) -> Task:
        """The request with its arrays in files; files of earlier requests are deleted."""
        arrays: dict[str, Any] = {
            name: value.stored(folder, self._check)
            for name, value in vars(request).items()
            if isinstance(value, Voxels)
        }
        keep = {voxels.file for voxels in arrays.values()}
        for file in folder.glob("volume-*.npy"):
            if file.name not in keep and arrays:
                file.unlink(missing_ok=True)
        return replace(request, **arrays)

    def _loaded(self, result: Result, folder: Path) -> Result:
        try:
            arrays = {name: load_array(folder / file, self._check) for name, file in result.files.items()}
        finally:
            for file in result.files.values():
                (folder / file).unlink(missing_ok=True)
        return replace(result, files={}, arrays=arrays)

    def _died(self) -> _Failure:
        code = self._dispose()
        self._check()
        return _Failure("worker-died", _ending(code))

    def _kill_if_running(self, identifier: int) -> None:
        with self._lock:
            worker = self.worker if self._running == identifier else None
        if worker:
            worker.kill()

    def _dispose(self) -> int:
        with self._lock:
            worker, self.worker = self.worker, None
        return worker.dispose() if worker else 0


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _ending(code: int) -> str:
    """How a worker has ended, as far as its exit code says, and what to do."""
    if code == -9:
        return (
            "The operating system ended the computing process (signal 9), as it does when memory runs out. Nothing was changed. Close other "
            "programs, crop the volume, or use a model with smaller windows, then try again."
        )
    return f"The computing process ended unexpectedly ({_how(code)}). Nothing was changed. Try again; the log may say why it ended."
