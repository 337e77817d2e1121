"""The worker's loop. It says it is ready at once; the engine, which takes seconds to import, is loaded at the first request."""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from SegHiResCAMLib.out_of_memory import is_out_of_memory
from SegHiResCAMLib.worker.channel import Channel
from SegHiResCAMLib.worker.protocol import VERSION, Error, Ready, unexpected


def main() -> None:
    """Entry point: `python -m SegHiResCAMLib.worker FOLDER`, started by the client."""
    # Libraries warn developers; what concerns a user's volume comes from our own modules.
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", module="SegHiResCAMLib")
    folder = Path(sys.argv[1])
    channel = Channel(folder)
    channel.send(0, Ready(VERSION))
    kept: Any = None
    for identifier, request in channel.requests():
        try:
            from SegHiResCAMLib.worker import answers, jobs
        except Exception as problem:  # noqa: BLE001 - libraries fail to import in many ways
            channel.send(identifier, missing_engine(problem))
            continue
        kept = kept or answers.Kept(folder)
        channel.send(identifier, jobs.run_job(channel, identifier, request, kept))


def missing_engine(problem: Exception) -> Error:
    """What is reported when the engine cannot be imported."""
    if is_out_of_memory(problem):
        return unexpected(problem)
    what = getattr(problem, "name", None) or "PyTorch or MONAI"
    message = f"'{what}' cannot be imported by '{sys.executable}'. Install PyTorch and MONAI there, then try again."
    if what.startswith("SegHiResCAMLib"):
        message = f"The installation of SegHiResCAM is incomplete ({problem}). Install it again."
    return Error("engine-missing", message, "".join(traceback.format_exception(problem)))
