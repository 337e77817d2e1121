"""One worker process with its private folder, its pipes and its log: made together, removed together."""

from __future__ import annotations

import queue
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from SegHiResCAMLib import child_process
from SegHiResCAMLib.worker.folder import make_private_folder
from SegHiResCAMLib.worker.frames import Arrivals, Place, frames_of, read_payload
from SegHiResCAMLib.worker.protocol import Cancel, Chunk, NotAMessage, Request, decode, encode
from SegHiResCAMLib.worker.transports import Transport

LONGEST_MESSAGE = 2**26
"""Bytes; a longer line is not a message. Explanations of thousands of points take megabytes."""

LOGGED = 500
"""Characters of a line that the log keeps."""

ENDS = 1.0
"""Seconds that a worker has to end once it has closed its pipe, so that its exit code is its own."""


class WorkerProcess:
    """A running worker. Nothing waits for it but `messages` and `dispose`.

    Args:
        transport: Starts it.
        log: Lines that it writes to stderr, and what it writes to stdout that is not a message.

    Attributes:
        folder: This end's private folder.
        said: The last lines of its own, which may tell why it ended.
        problem: With a file that was to be sent, None while there is none.
        models: Where models of this computer lie on the worker's, by what they are.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, transport: Transport, log: deque[str]) -> None:
        self.folder = make_private_folder()
        self.said: deque[str] = deque(maxlen=20)
        self.problem: OSError | None = None
        self.models: dict[tuple[object, ...], str] = {}
        self._log = log
        self._unsent: queue.SimpleQueue[_Unsent | None] = queue.SimpleQueue()
        self._arrivals = Arrivals()
        self._killed = False
        try:
            self._process = child_process.start(
                transport.command(self.folder),
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                environment=transport.environment(),
            )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._write, self._read_log)]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it runs, and will go on: one that was killed may need a while to end."""
        return not self._killed and self._process.poll() is None

    def send(self, identifier: int, request: Request) -> None:
        """Put a request on its way. A thread writes it: the pipe to a worker that does not read is full after some kilobytes."""
        self._unsent.put(_Unsent(iter([encode(identifier, request).encode()]), ends_files=isinstance(request, Cancel)))

    def send_files(self, identifier: int, files: Mapping[str, Path], sent: Callable[[int], None]) -> None:
        """Put files on their way, by their names in the request. Messages overtake them, and a cancel ends them.

        Args:
            identifier: Of the request.
            files: By their names in it.
            sent: Called in the thread, after each piece, with its bytes on the wire.
        """
        frames = (frame for name, path in files.items() for frame in frames_of(identifier, name, path))
        self._unsent.put(_Unsent(frames, sent))

    def send_no_more_files(self) -> None:
        """Stop sending the files that are under way: what needed them is over."""
        self._unsent.put(_Unsent(iter(()), ends_files=True))

    def expect(self, identifier: int, places: Mapping[str, Place]) -> None:
        """Which files it may send from now on, of this request."""
        self._arrivals.expect(identifier, places)

    def messages(self) -> Iterator[tuple[int, Any]]:
        """What it says, until it ends; files that arrive go to their places. Lines that are not messages go to the log.

        Raises:
            UnexpectedError: It sends what nobody asked for.
            OSError: A file cannot be written.
        """
        pipe = _bytes(self._process.stdout)
        for line in _lines(pipe, LONGEST_MESSAGE):
            try:
                identifier, message = decode(line)
            except NotAMessage:
                self._note(line[:LOGGED].rstrip())
                continue
            if not isinstance(message, Chunk):
                yield identifier, message
                continue
            data = read_payload(pipe, message)
            if data is None:
                break
            self._arrivals.take(identifier, message, data)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDS)

    def kill(self) -> None:
        """End it and its children now, stopped or not."""
        self._killed = True
        child_process.kill(self._process)

    def dispose(self) -> int:
        """End it, wait for it and remove its folder.

        Returns:
            Its exit code; on POSIX minus the signal that ended it.
        """
        self.kill()
        code = self._process.wait()
        self._unsent.put(None)
        self._threads[1].join(ENDS)  # its last words
        with suppress(OSError):
            if self._process.stdout:
                self._process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return code

    def _write(self) -> None:
        """One piece of a file, whenever there is no message to send."""
        pipe = _bytes(self._process.stdin)
        files: deque[_Unsent] = deque()
        with suppress(OSError, ValueError):  # it has ended; `messages` ends, too
            while (unsent := self._next(files)) is not None:
                if unsent.ends_files:
                    files.clear()
                frame = self._frame(unsent)
                if frame is not None:
                    pipe.write(frame)
                    pipe.flush()
                    unsent.sent(len(frame))
                    files.append(unsent)
        with suppress(OSError, ValueError):
            pipe.close()

    def _next(self, files: deque[_Unsent]) -> _Unsent | None:
        with suppress(queue.Empty):
            return self._unsent.get(block=not files)
        return files.popleft()

    def _frame(self, unsent: _Unsent) -> bytes | None:
        try:
            return next(unsent.frames, None)
        except OSError as problem:
            self.problem = problem
            self.kill()
            raise

    def _read_log(self) -> None:
        with suppress(ValueError, OSError):
            for line in _lines(_bytes(self._process.stderr), LOGGED):
                self._note(line.rstrip())

    def _note(self, line: str) -> None:
        self._log.append(line)
        self.said.append(line)


class _Unsent:
    """What waits to be written: a message, or the frames of files.

    Args:
        frames: To be written at once each.
        sent: Called with the bytes of each.
        ends_files: Whether files that are under way are not wanted any more.
    """

    def __init__(
        self, frames: Iterator[bytes], sent: Callable[[int], None] = lambda _size: None, *, ends_files: bool = False
    ) -> None:
        self.frames, self.sent, self.ends_files = frames, sent, ends_files


def _bytes(pipe: IO[str] | None) -> Any:
    assert pipe
    return pipe.buffer  # type: ignore[attr-defined]


def _lines(pipe: Any, longest: int) -> Iterator[str]:
    """The lines of a pipe, cut off after `longest` bytes: what prints without end takes no memory."""
    while line := pipe.readline(longest):
        yield line.decode("utf-8", "replace")
        while not line.endswith(b"\n") and (line := pipe.readline(longest)):
            pass
