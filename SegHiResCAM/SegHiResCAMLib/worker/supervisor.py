"""The thread behind a client: starts the worker, stores arrays, sends what it misses, listens, loads results, cleans up.

It answers one request after the other. When the worker dies, that request fails and the next one starts a new worker.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from SegHiResCAMLib.plain_text import plain
from SegHiResCAMLib.worker.arrays import DiskFull
from SegHiResCAMLib.worker.exchange import Exchange, WorkerEndedError
from SegHiResCAMLib.worker.folder import remove_stale_folders
from SegHiResCAMLib.worker.frames import UnexpectedError
from SegHiResCAMLib.worker.model_copies import NotSentError
from SegHiResCAMLib.worker.process import WorkerProcess
from SegHiResCAMLib.worker.protocol import VERSION, Cancel, Error, Progress, Ready, Result, Task, unexpected
from SegHiResCAMLib.worker.transports import Transport

LOG_LINES = 400

MOST_EVENTS = 10_000
"""That wait to be listened to; more of how far a request is are left out."""

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
        transport: The way to the worker.
        grace: Seconds a cancelled request has to end by itself.

    Attributes:
        events: Answers with the ids of their requests.
        log: The last lines of the worker's log.
        worker: The worker, None while there is none.
    """

    def __init__(self, transport: Transport, grace: float) -> None:
        self.events: queue.SimpleQueue[tuple[int, Reply]] = queue.SimpleQueue()
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self.worker: WorkerProcess | None = None
        self._transport = transport
        self._grace = grace
        self._jobs: queue.SimpleQueue[_Job | Literal["start"] | None] = queue.SimpleQueue()
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
            self._begin()
        self._jobs.put(_Job(identifier, request))
        return identifier

    def start(self) -> None:
        """Have a worker ready; where none can be started, the first request says why."""
        with self._lock:
            if self._closing:
                return
            self._begin()
        self._jobs.put("start")

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

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
            if job == "start":
                with suppress(Exception):
                    self._ready_worker(None)
                continue
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
        worker = self._ready_worker(job.identifier)
        exchange = Exchange(
            worker, self._transport, job.identifier, self._check, lambda event: self._report(job.identifier, event)
        )
        try:
            return exchange.answer(job.request)
        except DiskFull as problem:
            raise _Failure("disk", str(problem.strerror)) from problem
        except NotSentError as problem:
            raise _Failure(problem.code, problem.message) from problem
        except UnexpectedError as problem:
            self._dispose()
            raise _Failure("worker-unexpected", self._transport.not_understood(plain(str(problem)))) from problem
        except (OSError, EOFError) as problem:
            self._dispose()  # the next request gets a new folder
            self._check()
            reason = getattr(problem, "strerror", None) or "a file in it is not whole"
            message = f"The temporary folder '{worker.folder.parent}' cannot be used ({reason}). Check that it can be written to, then try again."
            raise _Failure("disk", message) from problem
        except WorkerEndedError as problem:
            raise self._died(worker) from problem

    def _report(self, identifier: int, event: Progress) -> None:
        """How far it is, unless nobody has listened for so long that more of it would only take memory."""
        if self.events.qsize() < MOST_EVENTS:
            self.events.put((identifier, event))

    def _check(self) -> None:
        """Stop where nobody waits for the running request any more."""
        if self._closing:
            raise _Failure(*_CLOSED)
        if self._given_up:
            raise _Failure(*_CANCELLED)

    def _ready_worker(self, identifier: int | None) -> WorkerProcess:
        """The worker that runs, or a new one, for a request or for those to come."""
        if self.worker and self.worker.is_alive():
            return self.worker
        self._dispose()
        if identifier is not None:
            self.events.put((identifier, Progress(0.0, "Starting")))
        try:
            worker = WorkerProcess(self._transport, self.log)
        except OSError as problem:
            raise _Failure("worker-missing", self._transport.not_started(problem)) from problem
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
            raise _Failure("worker-version", self._transport.other_version(event.version))
        code = self._dispose()
        self._check()
        raise _Failure("worker-missing", self._transport.never_ready(code, worker.said))

    def _died(self, worker: WorkerProcess) -> _Failure:
        code = self._dispose()
        self._check()
        if worker.problem is not None:
            message = f"A file that was to be sent cannot be read ({worker.problem.strerror}). Nothing was changed. Try again."
            return _Failure("model-not-sent", message)
        return _Failure("worker-died", self._transport.died(code, worker.said))

    def _kill_if_running(self, identifier: int) -> None:
        with self._lock:
            worker = self.worker if self._running == identifier else None
        if worker:
            worker.kill()

    def _dispose(self) -> int:
        with self._lock:
            worker, self.worker = self.worker, None
        return worker.dispose() if worker else 0
