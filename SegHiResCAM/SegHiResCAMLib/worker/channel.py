"""The worker's end of the pipes: kept free of what libraries print, and listened to while the engine computes."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TextIO

from SegHiResCAMLib.worker.protocol import Cancel, Event, NotAMessage, Shutdown, decode, encode, unexpected


class Channel:
    """Requests in, events out.

    Args:
        folder: Private folder of both ends. When the client ends, and with it the pipe, the folder is removed and the process ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._in, self._out = _take_over_stdio()
        self._writing = threading.Lock()
        self._requests: queue.Queue[tuple[int, object]] = queue.Queue()
        self._cancelled: set[int] = set()
        threading.Thread(target=self._listen, daemon=True).start()

    def requests(self) -> Iterator[tuple[int, object]]:
        """Requests as they come; the process ends when there will be no more."""
        while True:
            yield self._requests.get()

    def send(self, identifier: int, event: Event) -> None:
        """Send an event to the client."""
        line = encode(identifier, event)
        try:
            with self._writing:
                self._out.write(line)
                self._out.flush()
        except OSError:
            self._end()

    def is_cancelled(self, identifier: int) -> bool:
        """Whether the client has cancelled this request."""
        return identifier in self._cancelled

    def _listen(self) -> None:
        for line in self._in:
            try:
                identifier, message = decode(line)
            except NotAMessage as problem:
                logging.getLogger(__name__).warning("Not a request: %s", line[:200].rstrip())
                if problem.identifier is not None:  # somebody waits for an answer
                    self.send(problem.identifier, unexpected(problem.__cause__ or problem))
                continue
            if isinstance(message, Cancel):
                self._cancelled.add(identifier)
            elif isinstance(message, Shutdown):
                break
            else:
                self._requests.put((identifier, message))
        self._end()

    def _end(self) -> NoReturn:
        """At once, whatever is being computed: nobody waits for it any more."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)


def _take_over_stdio() -> tuple[TextIO, TextIO]:
    """Keep the pipes for the protocol; what anybody else writes to stdout, from C as well, goes to stderr."""
    requests, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return (
        os.fdopen(requests, "r", encoding="utf-8", errors="replace"),
        os.fdopen(events, "w", encoding="utf-8"),
    )
