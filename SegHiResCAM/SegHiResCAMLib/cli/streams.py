"""The standard streams as a shell, a batch system or a pipe hands them over: closed, full, or of an encoding that lacks letters."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO


def prepare_streams() -> None:
    """Let no letter be an error, and no closed stream's number go to a file that is opened later."""
    while (lowest_free := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(lowest_free, True)
    os.close(lowest_free)
    sys.stdout = sys.stdout or _Closed()
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run(command: Callable[[], None], lost: Callable[[str], None]) -> None:
    """Run a command, whose answers may find nobody who reads them.

    Args:
        command: Raises SystemExit when it is done.
        lost: Told why standard output could not be written, but for a reader who has seen enough, as `head` has.
    """
    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except OSError as problem:
        _discard(sys.stdout)
        if problem.errno != errno.EPIPE:
            lost(problem.strerror or str(problem))
        sys.exit(1)
    finally:
        try:
            sys.stderr.flush()
        except OSError:
            _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Let what is left in a stream's buffer go nowhere, so that Python does not try it again at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Closed(io.TextIOBase):
    """Standard output that was closed before the program began."""

    def write(self, _text: str) -> int:
        raise OSError(errno.EBADF, "it is closed")
