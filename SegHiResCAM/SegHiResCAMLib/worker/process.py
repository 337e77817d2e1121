"""One worker process with its private folder, its pipes and its log: made together, gone together."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from SegHiResCAMLib import child_process
from SegHiResCAMLib.worker.folder import make_private_folder
from SegHiResCAMLib.worker.protocol import NotAMessage, Request, decode, encode


class WorkerProcess:
    """A running worker.

    Args:
        command: Starts it, without its last argument, the folder.
        log: Lines that it writes to stderr, and what it writes to stdout that is no message.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, command: Sequence[str], log: deque[str]) -> None:
        self.folder = make_private_folder()
        self._log = log
        self._writing = threading.Lock()
        self._killed = False
        try:
            self._process = child_process.start(
                [*command, str(self.folder)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        threading.Thread(target=self._read_log, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it runs, and will go on: one that was killed may need a while to be gone."""
        return not self._killed and self._process.poll() is None

    def send(self, identifier: int, request: Request) -> None:
        """Ask.

        Raises:
            BrokenPipeError: It is gone.
        """
        assert self._process.stdin
        try:
            with self._writing:
                self._process.stdin.write(encode(identifier, request))
                self._process.stdin.flush()
        except OSError as problem:  # which one it is depends on the system
            raise BrokenPipeError from problem

    def messages(self) -> Iterator[tuple[int, Any]]:
        """What it says, until it ends. Lines that are no messages go to the log."""
        assert self._process.stdout
        for line in self._process.stdout:
            try:
                yield decode(line)
            except NotAMessage as nothing:
                self._log.append(str(nothing)[:500])

    def kill(self) -> None:
        """End it and its children now."""
        self._killed = True
        child_process.kill(self._process)

    def dispose(self) -> int:
        """End it, wait for it and remove its folder.

        Returns:
            Its exit code; on POSIX minus the signal that ended it.
        """
        self.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        shutil.rmtree(self.folder, ignore_errors=True)
        return code

    def _read_log(self) -> None:
        with suppress(ValueError, OSError):
            for line in self._process.stderr or ():
                self._log.append(line.rstrip()[:500])
