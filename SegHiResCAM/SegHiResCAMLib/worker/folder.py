"""Private temporary folders that do not outlive the process that made them."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

_PREFIX = "seghirescam-worker-"
_NAME = re.compile(re.escape(_PREFIX) + r"(\d+)-")


def make_private_folder() -> Path:
    """A new folder that only this user can read; it holds a patient's voxels. Its name tells the process that it belongs to.

    Raises:
        OSError: The computer's temporary folder cannot be written to.
    """
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))


def remove_stale_folders() -> None:
    """Remove what processes that are gone have left behind: after a power cut nobody else could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = _NAME.match(folder.name)
        if owner and not _is_alive(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, process)  # PROCESS_QUERY_LIMITED_INFORMATION
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(process, 0)  # on Windows this would not ask but send Ctrl-C
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
