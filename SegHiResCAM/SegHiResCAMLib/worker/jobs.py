"""One request from its arrival to its last event: progress, cancelling, results on disk, and a message for whatever goes wrong."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.out_of_memory import is_out_of_memory
from SegHiResCAMLib.worker.answers import Kept, answer
from SegHiResCAMLib.worker.arrays import DiskFull, save_array
from SegHiResCAMLib.worker.channel import Channel
from SegHiResCAMLib.worker.protocol import Error, Progress, Result, unexpected

REPORTED_EVERY = 0.1
"""Seconds between two progress events at least."""


def run_job(channel: Channel, identifier: int, request: object, kept: Kept) -> Result | Error:
    """Answer a request; its arrays are files in the private folder then."""
    try:
        found, arrays = answer(request, kept, reporter(channel, identifier))
        files = {name: f"result-{identifier}-{name}.npy" for name in arrays}
        for name, file in files.items():
            save_array(arrays[name], kept.folder / file, lambda: check(channel, identifier))
        return Result(found, files, tuple(kept.reused))
    except Exception as problem:  # noqa: BLE001 - whatever it is, the client learns of it
        for written in kept.folder.glob(f"result-{identifier}-*.npy"):
            written.unlink(missing_ok=True)
        return error_of(problem)


def check(channel: Channel, identifier: int) -> None:
    """Stop where the client has given the request up.

    Raises:
        Cancelled: It has.
    """
    if channel.is_cancelled(identifier):
        raise Cancelled


def reporter(channel: Channel, identifier: int) -> Callable[[float, str], None]:
    """A progress callback for the engine, which is also where a request is cancelled."""
    start = time.monotonic()
    reported_at, reported_text = 0.0, ""

    def report(fraction: float, text: str) -> None:
        nonlocal reported_at, reported_text
        check(channel, identifier)
        now = time.monotonic()
        if now - reported_at < REPORTED_EVERY and text == reported_text:
            return
        reported_at, reported_text = now, text
        channel.send(identifier, Progress(min(max(fraction, 0.0), 1.0), text, remaining_seconds(now - start, fraction)))

    return report


def remaining_seconds(elapsed: float, fraction: float) -> float | None:
    """Seconds left at the pace so far; None while there is too little to judge by."""
    if elapsed < 1.0 or not 0.05 <= fraction <= 1.0:
        return None
    return round(elapsed * (1 - fraction) / fraction, 1)


def error_of(problem: Exception) -> Error:
    """What is reported of a problem."""
    trace = "".join(traceback.format_exception(problem))
    if isinstance(problem, Cancelled):
        return Error("cancelled", "Cancelled.")
    if isinstance(problem, EngineError):
        return Error(problem.code, problem.sentence, trace if problem.__cause__ else "")
    if isinstance(problem, DiskFull):
        return Error("disk", str(problem.strerror), trace)
    if isinstance(problem, OSError | EOFError) and not is_out_of_memory(problem):
        sentence = f"A temporary file could not be written or read ({getattr(problem, 'strerror', None) or problem}). Free some disk space, then try again."
        return Error("disk", sentence, trace)
    return unexpected(problem)
