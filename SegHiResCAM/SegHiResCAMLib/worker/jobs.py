"""One request from its arrival to its last event: progress, cancelling, results on disk, and a message for whatever goes wrong."""

from __future__ import annotations

import re
import time
import traceback
from typing import Any

from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.out_of_memory import is_out_of_memory
from SegHiResCAMLib.worker.answers import Kept, answer
from SegHiResCAMLib.worker.arrays import DiskFull, save_array
from SegHiResCAMLib.worker.channel import Channel, RequestCancelled
from SegHiResCAMLib.worker.frames import Place, UnexpectedError
from SegHiResCAMLib.worker.protocol import Error, Progress, Result, result_file, unexpected
from SegHiResCAMLib.worker.request_files import files_of, tidy

REPORTED_EVERY = 0.1
"""Seconds between two progress events at least."""

VOLUME = re.compile(r"volume-[0-9a-f]{32}\.npy")
LARGEST_VOLUME = 2**42
"""Bytes; the disk has less room."""


def run_job(channel: Channel, identifier: int, request: object, kept: Kept) -> Result | Error:
    """Answer a request; its arrays are files in the private folder then."""
    try:
        fetch_volumes(channel, identifier, request)
        found, arrays = answer(request, kept, Reporter(channel, identifier))
        files = {name: result_file(identifier, name) for name in arrays}
        for name, file in files.items():
            save_array(arrays[name], kept.folder / file, lambda: check(channel, identifier))
        if not channel.shares_folder:
            for file in files.values():
                channel.send_file(identifier, file)
        return Result(found, files, tuple(kept.reused))
    except Exception as problem:  # noqa: BLE001 - whatever it is, the client learns of it
        for written in kept.folder.glob(f"result-{identifier}-*.npy"):
            written.unlink(missing_ok=True)
        return error_of(problem)


def fetch_volumes(channel: Channel, identifier: int, request: Any) -> None:
    """Have the client send the volumes of a request that are not here, as on another computer; those of earlier requests are deleted.

    Raises:
        UnexpectedError: A name is not that of a volume.
    """
    files = files_of(request)
    if channel.shares_folder or not files:
        return
    for file in files:
        if not VOLUME.fullmatch(file):
            raise UnexpectedError(f"a volume named '{file[:100]}'")
    tidy(request, channel.folder)
    missing = [file for file in sorted(files) if not (channel.folder / file).exists()]
    channel.fetch(identifier, {file: Place(channel.folder / file, LARGEST_VOLUME) for file in missing})


def check(channel: Channel, identifier: int) -> None:
    """Stop where the client has cancelled the request.

    Raises:
        Cancelled: It has.
    """
    if channel.is_cancelled(identifier):
        raise Cancelled


class Reporter:
    """A progress callback for the engine, which is also where a request is cancelled.

    Args:
        channel: To the client.
        identifier: Of the request.
    """

    def __init__(self, channel: Channel, identifier: int) -> None:
        self._channel, self._identifier = channel, identifier
        self._start, self._reported_at, self._text = time.monotonic(), 0.0, ""

    def __call__(self, fraction: float, text: str) -> None:
        """Report, where enough time has passed or something else is being done.

        Raises:
            Cancelled: The client has cancelled the request.
        """
        check(self._channel, self._identifier)
        now = time.monotonic()
        if now - self._reported_at < REPORTED_EVERY and text == self._text:
            return
        self._reported_at, self._text = now, text
        remaining = remaining_seconds(now - self._start, fraction)
        self._channel.send(self._identifier, Progress(min(max(fraction, 0.0), 1.0), text, remaining))


def remaining_seconds(elapsed: float, fraction: float) -> float | None:
    """Seconds left at the pace so far; None while there is too little to judge by."""
    if elapsed < 1.0 or not 0.05 <= fraction <= 1.0:
        return None
    return round(elapsed * (1 - fraction) / fraction, 1)


def error_of(problem: Exception) -> Error:
    """What is reported of a problem."""
    trace = "".join(traceback.format_exception(problem))
    if isinstance(problem, Cancelled | RequestCancelled):
        return Error("cancelled", "Cancelled.")
    if isinstance(problem, EngineError):
        return Error(problem.code, problem.message, trace if problem.__cause__ else "")
    if isinstance(problem, DiskFull):
        return Error("disk", str(problem.strerror), trace)
    if isinstance(problem, OSError | EOFError) and not is_out_of_memory(problem):
        message = f"A temporary file could not be written or read ({getattr(problem, 'strerror', None) or problem}). Free some disk space, then try again."
        return Error("disk", message, trace)
    return unexpected(problem)
