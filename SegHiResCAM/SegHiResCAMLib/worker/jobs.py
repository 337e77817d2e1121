"""One request from its arrival to its last event: progress, cancelling, results on disk, and a sentence for whatever goes wrong."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.free_memory import is_out_of_memory
from SegHiResCAMLib.worker.answers import Kept, answer
from SegHiResCAMLib.worker.channel import Channel
from SegHiResCAMLib.worker.protocol import Error, Progress, Result, save_array

TOLD_EVERY = 0.1
"""Seconds between two progress events at least."""


def run_job(channel: Channel, identifier: int, request: object, kept: Kept) -> Result | Error:
    """Answer a request; its arrays are files in the private folder then."""
    try:
        facts, arrays = answer(request, kept, reporter(channel, identifier))
        files = {name: f"result-{identifier}-{name}.npy" for name in arrays}
        for name, file in files.items():
            save_array(arrays[name], kept.folder / file)
        return Result(facts, files)
    except Exception as problem:  # noqa: BLE001 - whatever it is, the client is told
        return error_of(problem)


def reporter(channel: Channel, identifier: int) -> Callable[[float, str], None]:
    """A progress callback for the engine, which is also where a request is given up."""
    start = time.monotonic()
    told_at, told_text = 0.0, ""

    def report(fraction: float, text: str) -> None:
        nonlocal told_at, told_text
        if channel.is_cancelled(identifier):
            raise Cancelled
        now = time.monotonic()
        if now - told_at < TOLD_EVERY and text == told_text:
            return
        told_at, told_text = now, text
        channel.send(identifier, Progress(min(max(fraction, 0.0), 1.0), text, remaining_seconds(now - start, fraction)))

    return report


def remaining_seconds(elapsed: float, fraction: float) -> float | None:
    """What remains if all goes on as it has gone; None while there is too little to judge by."""
    if elapsed < 1.0 or not 0.05 <= fraction <= 1.0:
        return None
    return round(elapsed * (1 - fraction) / fraction, 1)


def error_of(problem: Exception) -> Error:
    """What to tell of a problem."""
    trace = "".join(traceback.format_exception(problem))
    if isinstance(problem, Cancelled):
        return Error("cancelled", "Cancelled.")
    if isinstance(problem, EngineError):
        return Error(problem.code, problem.sentence, trace if problem.__cause__ else "")
    if is_out_of_memory(problem):
        sentence = "Out of memory. Choose the device cpu, close other programs, or crop the volume."
        return Error("memory", sentence, trace)
    if isinstance(problem, OSError):
        sentence = f"A temporary file could not be written or read ({problem.strerror or problem}): free some disk space and try again."
        return Error("disk", sentence, trace)
    sentence = f"This should not have happened ({type(problem).__name__}: {problem}). The log has the details."
    return Error("internal", sentence, trace)
