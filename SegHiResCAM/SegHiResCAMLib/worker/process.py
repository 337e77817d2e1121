"""One worker process with its private folder, its pipes and its log: made together, gone together."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from SegHiResCAMLib.worker.folder import make_private_folder
from SegHiResCAMLib.worker.protocol import NotAMessage, Request, decode, encode

LIBRARY = Path(__file__).parents[2]
"""Where SegHiResCAMLib is, for a Python that does not know."""


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
        try:
            self._process = subprocess.Popen(
                [*command, str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                cwd=LIBRARY,  # python -m imports from here first: nothing that lies about elsewhere can be in the way
                env=_environment(),
                **_own_group(),
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
        """Whether it runs."""
        return self._process.poll() is None

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
        if sys.platform == "win32":
            quiet: dict[str, Any] = {"creationflags": subprocess.CREATE_NO_WINDOW}
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(self.pid)], capture_output=True, check=False, **quiet)
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

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


def _environment() -> dict[str, str]:
    paths = [str(LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def _own_group() -> dict[str, Any]:
    """So that it can be killed with its children, and shows no console."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
