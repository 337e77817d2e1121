"""The worker's end of the pipes: kept free of what libraries print, and listened to while the engine computes."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NoReturn

from SegHiResCAMLib.worker.frames import Arrivals, Place, frames_of, read_payload
from SegHiResCAMLib.worker.protocol import (
    Cancel,
    Chunk,
    Event,
    NotAMessage,
    Shutdown,
    Wanted,
    decode,
    encode,
    unexpected,
)


class RequestCancelled(Exception):  # noqa: N818 - nothing went wrong
    """The client has cancelled the request."""


class Channel:
    """Requests in, events out.

    Args:
        folder: Private folder of this process. When the client ends, and with it the pipe, the folder is removed and the process ends.
        shares_folder: Whether it is the client's folder, too, so that files need not travel.
    """

    def __init__(self, folder: Path, *, shares_folder: bool = True) -> None:
        self.folder, self.shares_folder = folder, shares_folder
        self._arrivals = Arrivals()
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
        self._write(encode(identifier, event).encode())

    def fetch(self, identifier: int, places: Mapping[str, Place]) -> None:
        """Have the client send files, and wait until they are in their places.

        Raises:
            RequestCancelled: The client has cancelled the request.
            UnexpectedError: It sends something else.
            OSError: They cannot be written; `DiskFull` where there is no room.
        """
        if places:
            self._arrivals.expect(identifier, places)
            self.send(identifier, Wanted(tuple(places)))
            self._arrivals.wait(lambda: self.check(identifier))

    def send_file(self, identifier: int, name: str) -> None:
        """Send a file of the private folder, and delete it.

        Raises:
            RequestCancelled: The client has cancelled the request.
            OSError: It cannot be read.
        """
        for frame in frames_of(identifier, name, self.folder / name):
            self.check(identifier)
            self._write(frame)
        (self.folder / name).unlink()

    def check(self, identifier: int) -> None:
        """Stop where the client has cancelled the request.

        Raises:
            RequestCancelled: It has.
        """
        if self.is_cancelled(identifier):
            raise RequestCancelled

    def is_cancelled(self, identifier: int) -> bool:
        """Whether the client has cancelled this request."""
        return identifier in self._cancelled

    def _listen(self) -> None:
        for read in self._in:
            line = read.decode("utf-8", "replace")
            try:
                identifier, message = decode(line)
            except NotAMessage as problem:
                logging.getLogger(__name__).warning("Not a request: %s", line[:200].rstrip())
                if problem.identifier is not None:  # somebody waits for an answer
                    self.send(problem.identifier, unexpected(problem.__cause__ or problem))
                continue
            if isinstance(message, Chunk):
                self._take(identifier, message)
            elif isinstance(message, Cancel):
                self._cancelled.add(identifier)
            elif isinstance(message, Shutdown):
                break
            else:
                self._requests.put((identifier, message))
        self._end()

    def _take(self, identifier: int, chunk: Chunk) -> None:
        try:
            data = read_payload(self._in, chunk)
            if data is None:
                self._end()
            self._arrivals.take(identifier, chunk, data)
        except Exception as problem:  # noqa: BLE001 - whoever waits for the file reports it
            self._arrivals.fail(problem)

    def _write(self, data: bytes) -> None:
        try:
            with self._writing:
                self._out.write(data)
                self._out.flush()
        except OSError:
            self._end()

    def _end(self) -> NoReturn:
        """At once, whatever is being computed: nobody waits for it any more."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(0)


def _take_over_stdio() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes for the protocol; what anybody else writes to stdout, from C as well, goes to stderr."""
    requests, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(requests, "rb"), os.fdopen(events, "wb")
