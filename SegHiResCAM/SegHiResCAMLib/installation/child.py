"""A child process whose lines are read without waiting, and which can be ended with its children."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parents[2]
"""The folder that holds SegHiResCAMLib, for a Python that does not know it."""

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
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            cwd=LIBRARY,
            env=_environment(),
            **_own_group(),
        )
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
        if self._process.poll() is not None:
            return
        self._killed = reason
        if sys.platform == "win32":
            command = ["taskkill", "/F", "/T", "/PID", str(self._process.pid)]
            subprocess.run(command, capture_output=True, check=False, creationflags=subprocess.CREATE_NO_WINDOW)
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> None:
        assert self._process.stdout
        with suppress(ValueError, OSError):
            for line in self._process.stdout:
                self._lines.put(line.rstrip())


def _environment() -> dict[str, str]:
    paths = [str(LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def _own_group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
