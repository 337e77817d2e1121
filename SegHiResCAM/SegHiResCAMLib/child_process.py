"""Child processes whose Python knows this library, and which end with their own children; the standard library alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parents[1]
"""The folder that holds SegHiResCAMLib, for a Python that does not know it."""


def python_executable() -> str:
    """The Python that computes: this one, but in 3D Slicer, where `sys.executable` may be 3D Slicer itself, PythonSlicer.

    Returns:
        Its path; empty where there is none, as in a program that was frozen into one file.
    """
    application = getattr(sys.modules.get("slicer"), "app", None)
    is_slicer = "slicer" in Path(sys.executable or "slicer").stem.lower()
    if getattr(sys, "frozen", False):
        return ""
    if is_slicer or hasattr(application, "slicerHome"):
        return shutil.which("PythonSlicer") or ("" if is_slicer else sys.executable)
    return sys.executable


def start(
    command: Sequence[str], *, stdin: int, stderr: int, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a command without a console, in a group of its own; what it writes to stdout is read from a pipe.

    Args:
        command: With its arguments.
        stdin: As `subprocess.Popen` takes it; pipes carry UTF-8 text.
        stderr: As `subprocess.Popen` takes it.
        environment: Of the command; None for this process's, with this library for a Python to find.

    Raises:
        OSError: It cannot be started.
    """
    return subprocess.Popen(
        list(command),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        encoding="utf-8",
        errors="replace",
        cwd=LIBRARY,  # python -m imports from here first: nothing that lies about elsewhere can be in the way
        env=_environment() if environment is None else environment,
        **_own_group(),
    )


def kill(process: subprocess.Popen[str]) -> None:
    """End a process that `start` started, and its children, now."""
    if sys.platform == "win32":
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True, check=False, creationflags=subprocess.CREATE_NO_WINDOW)
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def system_environment() -> dict[str, str]:
    """That of programs of the operating system: 3D Slicer's launcher puts its own libraries before theirs, with which some do not start."""
    slicer = sys.modules.get("slicer")
    if slicer is None or not hasattr(getattr(slicer, "app", None), "startupEnvironment"):
        return dict(os.environ)
    return dict(slicer.util.startupEnvironment())


def _environment() -> dict[str, str]:
    paths = [str(LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def _own_group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
