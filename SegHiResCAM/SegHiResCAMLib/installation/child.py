"""A child process whose lines are read without waiting, and which can be ended with its children."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from SegHiResCAMLib import child_process

CANCELLED = "cancelled"


class Child:
    """Runs a command; its standard output and error are lines.

    Args:
        command: With its arguments.
        limit: Seconds after which it is ended; None for none.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, command: Sequence[str], limit: float | None = None) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._deadline = None if limit is None else time.monotonic() + limit
        self._limit = limit
        self._killed = ""
        self._process = child_process.start(command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def poll(self) -> list[str]:
        """The lines since the last call; never waits."""
        if self._deadline is not None and time.monotonic() > self._deadline and not self.is_done:
            self.kill(f"no answer for {self._limit:.0f} s")
        lines = []
        with suppress(queue.Empty):
            while True:
                lines.append(self._lines.get_nowait())
        return lines

    @property
    def is_done(self) -> bool:
        """Whether it has ended and said everything."""
        return self._process.poll() is not None and not self._reader.is_alive() and self._lines.empty()

    @property
    def failure(self) -> str:
        """How it ended, where not by itself and well; to be asked when it is done."""
        if self._killed:
            return self._killed
        code = self._process.returncode
        return "" if not code else f"signal {-code}" if code < 0 else f"exit code {code}"

    def kill(self, reason: str = CANCELLED) -> None:
        """End it and its children now."""
        if self._process.poll() is None:
            self._killed = reason
            child_process.kill(self._process)

    def _read(self) -> None:
        assert self._process.stdout
        with suppress(ValueError, OSError):
            for line in self._process.stdout:
                self._lines.put(line.rstrip())
