"""The client of the worker: never blocks, never raises for what happens in the worker, and leaves nothing behind.

    client = Client()
    request = client.submit(Explain("kits-unet", Voxels.of(array, affine), Question(segment="tumour")))
    for identifier, event in client.poll():   # from a timer
        ...

Threads do everything that takes time: start the worker, store arrays, write requests, listen, load results. Requests wait in line, so
the worker has one at a time; when it dies, that one fails and the next one starts a new worker.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from SegHiResCAMLib.child_process import python_executable
from SegHiResCAMLib.worker.protocol import Error, Progress, Result, Task
from SegHiResCAMLib.worker.supervisor import Reply, Supervisor
from SegHiResCAMLib.worker.transports import transport_to

GRACE = 2.0
"""Seconds a cancelled request has to end by itself before the worker is killed."""


class Client:
    """Asks a worker that is started when first needed.

    Args:
        command: Starts the worker on this computer; None for this Python.
        on: Another computer that computes, as `user@host`; empty for this one.
        grace: Seconds a cancelled request has to end by itself.

    Raises:
        AddressError: `on` is not the address of a computer.
    """

    def __init__(self, command: Sequence[str] | None = None, *, on: str = "", grace: float = GRACE) -> None:
        transport = transport_to(on, list(command or worker_command(python_executable())))
        self._supervisor = Supervisor(transport, grace)
        self._inbox: deque[tuple[int, Reply]] = deque()
        # Also when the client is forgotten, and at the end of the program.
        self._finalizer = weakref.finalize(self, self._supervisor.close)

    def start(self) -> None:
        """Start the worker before there is a request, so that it is ready for the first one. What fails is reported by that one."""
        self._supervisor.start()

    def submit(self, request: Task) -> int:
        """Put a request in line; its arrays must not change until it is done.

        Returns:
            Its id, which its events carry.
        """
        return self._supervisor.submit(request)

    def poll(self) -> list[tuple[int, Reply]]:
        """What has happened since the last call: request ids and events."""
        self._listen()
        events = list(self._inbox)
        self._inbox.clear()
        return events

    def wait(
        self, identifier: int, on_progress: Callable[[Progress], None] | None = None, interval: float = 0.02
    ) -> Result | Error:
        """Block until a request is done. Events of others stay for `poll`."""
        others = []
        try:
            while True:
                self._listen()
                while self._inbox:
                    event_of, event = self._inbox.popleft()
                    if event_of != identifier:
                        others.append((event_of, event))
                    elif not isinstance(event, Progress):
                        return event
                    elif on_progress:
                        on_progress(event)
                time.sleep(interval)
        finally:
            self._inbox.extendleft(reversed(others))

    def cancel(self, identifier: int) -> None:
        """Cancel a request, waiting or running, without waiting; its `Error` has the code "cancelled" and comes within the grace."""
        self._supervisor.cancel(identifier)

    def log_tail(self) -> str:
        """The last lines of the worker's log."""
        return "\n".join(list(self._supervisor.log))

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        worker = self._supervisor.worker
        return worker.pid if worker and worker.is_alive() else None

    @property
    def folder(self) -> Path | None:
        """The private folder, None while there is no worker."""
        return self._supervisor.worker.folder if self._supervisor.worker else None

    def close(self) -> None:
        """End the worker, whatever it does, and remove its folder, within two seconds. Requests not done get an `Error`, "closed"."""
        self._finalizer()

    def _listen(self) -> None:
        time.sleep(0.001)  # in an application whose event loop keeps Python to itself, the thread gets its turn now
        for _ in range(self._supervisor.events.qsize()):  # not until it is empty: a worker may say more in the meantime
            self._inbox.append(self._supervisor.events.get())


def worker_command(python: str) -> list[str]:
    """How a Python runs the worker; in 3D Slicer that is PythonSlicer."""
    return [python, "-m", "SegHiResCAMLib.worker"]
