"""The child process that reads: it lives for many inputs, says what came of each, and which lines of the project it reached for the first time."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

PROJECT = f"{os.sep}SegHiResCAMLib{os.sep}"


@dataclass(frozen=True)
class Outcome:
    """What one input led to.

    Attributes:
        problem: What fell out and where; empty when the input was read, or refused with a message.
        detail: The traceback.
        new_lines: Lines of the project that no earlier input reached.
        seconds: Of the processor, in this process.
        peak: The most memory that the process ever held while it read this input, in bytes; 0 where the system does not say.
    """

    problem: str
    detail: str
    new_lines: int
    seconds: float
    peak: int


def serve(connection: Connection, module: str) -> None:
    """Answer (reader's name, data) with `Outcome` until the connection closes."""
    _quiet()
    readers = importlib.import_module(module).READERS
    reached = _Reached()
    with tempfile.TemporaryDirectory(prefix="seghirescam-fuzzing-") as folder:
        os.chdir(folder)
        connection.send("ready")
        while True:
            try:
                name, data = connection.recv()
            except EOFError:
                return
            connection.send(_outcome(readers[name][0], Path(folder), data, reached))


def _outcome(read: Any, folder: Path, data: bytes, reached: _Reached) -> Outcome:
    before, problem, detail = len(reached.lines), "", ""
    _forget_peak()
    started = time.process_time()
    sys.settrace(reached.call)
    try:
        read(folder, data)
    except BaseException as error:  # noqa: BLE001 - whatever falls out is the finding
        sys.settrace(None)
        where = traceback.extract_tb(error.__traceback__)[-1]
        problem = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
        detail = "".join(traceback.format_exception(error, limit=-12))[-4000:]
    finally:
        sys.settrace(None)
    return Outcome(problem, detail, len(reached.lines) - before, time.process_time() - started, _peak())


class _Reached:
    """Lines of the project that ran; other code is left at full speed."""

    def __init__(self) -> None:
        self.lines: set[tuple[str, int]] = set()

    def call(self, frame: FrameType, _event: str, _argument: object) -> Any:
        return self.line if PROJECT in frame.f_code.co_filename else None

    def line(self, frame: FrameType, _event: str, _argument: object) -> Any:
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self.line


def _quiet() -> None:
    """Native readers print to where no Python redirection reaches."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # another system than Linux, or not allowed
        return


def _peak() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
