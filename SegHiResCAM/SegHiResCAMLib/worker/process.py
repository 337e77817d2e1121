"""One worker process with its private folder, its pipes and its log: made together, removed together."""

from __future__ import annotations

import queue
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, Any

from SegHiResCAMLib import child_process
from SegHiResCAMLib.worker.folder import make_private_folder
from SegHiResCAMLib.worker.protocol import NotAMessage, Request, decode, encode

LONGEST_MESSAGE = 2**26
"""Characters; a longer line is not a message. Explanations of thousands of points take megabytes."""

LOGGED = 500
"""Characters of a line that the log keeps."""

ENDS = 1.0
"""Seconds that a worker has to end once it has closed its pipe, so that its exit code is its own."""


class WorkerProcess:
    """A running worker. Nothing waits for it but `messages` and `dispose`.

    Args:
        command: Starts it, without its last argument, the folder.
        log: Lines that it writes to stderr, and what it writes to stdout that is not a message.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, command: Sequence[str], log: deque[str]) -> None:
        self.folder = make_private_folder()
        self._log = log
        self._unsent: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._killed = False
        try:
            self._process = child_process.start(
                [*command, str(self.folder)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        for work in (self._write, self._read_log):
            threading.Thread(target=work, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it runs, and will go on: one that was killed may need a while to end."""
        return not self._killed and self._process.poll() is None

    def send(self, identifier: int, request: Request) -> None:
        """Put a request on its way. A thread writes it: the pipe to a worker that does not read is full after some kilobytes."""
        self._unsent.put(encode(identifier, request))

    def messages(self) -> Iterator[tuple[int, Any]]:
        """What it says, until it ends. Lines that are not messages go to the log."""
        for line in _lines(self._process.stdout, LONGEST_MESSAGE):
            try:
                yield decode(line)
            except NotAMessage:
                self._log.append(line[:LOGGED].rstrip())
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
        with suppress(OSError):
            if self._process.stdout:
                self._process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return code

    def _write(self) -> None:
        assert self._process.stdin
        with suppress(OSError, ValueError):  # it has ended; `messages` ends, too
            while (unsent := self._unsent.get()) is not None:
                self._process.stdin.write(unsent)
                self._process.stdin.flush()
        with suppress(OSError, ValueError):
            self._process.stdin.close()

    def _read_log(self) -> None:
        with suppress(ValueError, OSError):
            for line in _lines(self._process.stderr, LOGGED):
                self._log.append(line.rstrip())


def _lines(pipe: IO[str] | None, longest: int) -> Iterator[str]:
    """The lines of a pipe, cut off after `longest` characters: what prints without end takes no memory."""
    assert pipe
    while line := pipe.readline(longest):
        yield line
        while not line.endswith("\n") and (line := pipe.readline(longest)):
            pass
