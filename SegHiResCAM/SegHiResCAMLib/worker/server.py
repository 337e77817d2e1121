"""The worker's loop. It says it is ready at once and imports the engine, which takes seconds, while the user chooses."""

from __future__ import annotations

import sys
import traceback
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from SegHiResCAMLib.kept_memory import keep_memory
from SegHiResCAMLib.lean_monai import import_lean_monai
from SegHiResCAMLib.model_folders import CACHE, cache_folder
from SegHiResCAMLib.out_of_memory import is_out_of_memory
from SegHiResCAMLib.worker.arrays import DiskFull
from SegHiResCAMLib.worker.channel import Channel, RequestCancelled
from SegHiResCAMLib.worker.folder import make_private_folder, remove_stale_folders
from SegHiResCAMLib.worker.frames import UnexpectedError
from SegHiResCAMLib.worker.model_copies import NotSentError, places_for
from SegHiResCAMLib.worker.protocol import VERSION, Error, ModelPath, Ready, Result, SendModel, unexpected


def main() -> None:
    """Entry point: `python -m SegHiResCAMLib.worker FOLDER`, started by a client on this computer that sees the same folder."""
    serve(Channel(Path(sys.argv[1])))


def serve_elsewhere() -> None:
    """Entry point: `seghirescam worker`, started by a client on another computer."""
    remove_stale_folders()
    serve(Channel(make_private_folder(), shares_folder=False))


def serve(channel: Channel) -> None:
    """Answer requests until the client ends."""
    # Libraries warn developers; what concerns a user's volume comes from our own modules.
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", module="SegHiResCAMLib")
    keep_memory()
    import_lean_monai()
    channel.send(0, Ready(VERSION))
    with suppress(Exception):  # what fails is tried again, and reported, at the first request
        import_module("SegHiResCAMLib.worker.answers")
    kept: Any = None
    for identifier, request in channel.requests():
        if isinstance(request, SendModel):
            channel.send(identifier, take_model(channel, identifier, request))
            continue
        try:
            from SegHiResCAMLib.worker import answers, jobs
        except Exception as problem:  # noqa: BLE001 - libraries fail to import in many ways
            channel.send(identifier, missing_engine(problem))
            continue
        kept = kept or answers.Kept(channel.folder)
        channel.send(identifier, jobs.run_job(channel, identifier, request, kept))


def take_model(channel: Channel, identifier: int, offered: SendModel) -> Result | Error:
    """Take what is missing of a model from the client's computer."""
    try:
        path, missing = places_for(offered)
        channel.fetch(identifier, missing)
        return Result(ModelPath(str(path)))
    except RequestCancelled:
        return Error("cancelled", "Cancelled.")
    except (NotSentError, UnexpectedError) as problem:
        return Error("model-not-sent", str(problem))
    except DiskFull:
        place = f"The disk of '{cache_folder()}' has too little space for the model"
        return Error("disk", f"{place}. Free some disk space there, or set another folder with {CACHE}.")
    except OSError as problem:
        return Error(
            "disk",
            f"'{cache_folder()}' cannot be written to ({problem.strerror}), so the model was not taken. Set another folder with {CACHE}.",
        )


def missing_engine(problem: Exception) -> Error:
    """What is reported when the engine cannot be imported."""
    if is_out_of_memory(problem):
        return unexpected(problem)
    what = getattr(problem, "name", None) or "PyTorch or MONAI"
    message = f"'{what}' cannot be imported by '{sys.executable}'. Install PyTorch and MONAI there, then try again."
    if what.startswith("SegHiResCAMLib"):
        message = f"The installation of SegHiResCAM is incomplete ({problem}). Install it again."
    return Error("engine-missing", message, "".join(traceback.format_exception(problem)))
