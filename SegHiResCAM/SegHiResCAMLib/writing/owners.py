"""Who made a temporary file or folder, and whether that process still runs: its name says so. What only the dead have left may be swept."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

OLD = 24 * 3600
"""Seconds after which what another computer has left on a shared disk counts as left behind: nobody here can see whether its process runs."""

_NAME = re.compile(
    r"\.?seghirescam-(?P<kind>[a-z0-9]+)-(?:(?P<host>[0-9a-f]{8})-)?(?P<pid>\d{1,9})-(?:(?P<start>[0-9a-f]{8}|x)-)?\w+"
)
"""Version 0.1.0 gave its worker's folders no host and no start."""


NEW = "new"
"""In a hidden folder, the folder that stands for the one that the hidden folder lies in."""


class Owner(NamedTuple):
    """A process: on which computer, its number there, and what tells it from another process of that number ("x": unknown)."""

    host: str
    pid: int
    start: str


def own_name(kind: str) -> str:
    """A name that nobody else uses, for something of this process that will not outlive it; `kind` is letters and digits."""
    owner = this_process()
    return f"seghirescam-{kind}-{owner.host}-{owner.pid}-{owner.start}-{uuid4().hex[:8]}"


def kind_of(name: str) -> str:
    """The `kind` of a name that `own_name` made, with or without a dot before it; empty for any other name."""
    found = _NAME.fullmatch(name)
    return found["kind"] if found else ""


def place_of(path: Path) -> Path:
    """Where a file that is written into a hidden folder will lie: what users are to read of it."""
    for above in path.parents:
        if above.name == NEW and kind_of(above.parent.name):
            return above.parent.parent / path.relative_to(above)
    return path


def is_left_behind(path: Path) -> bool:
    """Whether the process that made `path` has ended without removing it; False for whatever `own_name` has not named."""
    found = _NAME.fullmatch(path.name)
    if not found:
        return False
    if found["host"] not in (None, this_process().host):
        try:
            return time.time() - path.lstat().st_mtime > OLD
        except OSError:
            return False
    start = start_of(int(found["pid"]))
    return not start or ("x" not in (start, found["start"] or "x") and start != found["start"])


def is_own(path: Path) -> bool:
    """Whether a path belongs to this user: others may put what they like into a shared folder."""
    try:
        return not hasattr(os, "getuid") or path.lstat().st_uid == os.getuid()
    except OSError:
        return False


def this_process() -> Owner:
    """The process that runs this."""
    return _process(os.getpid())


@lru_cache(maxsize=2)
def _process(pid: int) -> Owner:
    import socket

    return Owner(_short(socket.gethostname()), pid, start_of(pid) or "x")


def start_of(pid: int) -> str:
    """When a process of this computer started, as a token: another process of the same number has another one. Empty where there is none."""
    if sys.platform == "win32":
        import ctypes

        kernel, times = ctypes.windll.kernel32, [ctypes.c_uint64() for _ in range(4)]
        handle = kernel.OpenProcess(0x101000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION, SYNCHRONIZE
        if not handle:
            return "x" if kernel.GetLastError() == 5 else ""  # ERROR_ACCESS_DENIED: somebody else's
        known = kernel.GetProcessTimes(handle, *map(ctypes.byref, times))
        running = kernel.WaitForSingleObject(handle, 0) == 258  # WAIT_TIMEOUT
        kernel.CloseHandle(handle)
        return (_short(str(times[0].value)) if known else "x") if running else ""
    try:
        os.kill(pid, 0)  # on Windows this would not ask but send Ctrl-C
    except (ProcessLookupError, OverflowError):
        return ""
    except PermissionError:
        pass
    try:
        if sys.platform == "darwin":
            command, language = ["ps", "-o", "lstart=", "-p", str(pid)], {**os.environ, "LC_ALL": "C"}
            listed = subprocess.run(command, capture_output=True, text=True, check=False, env=language).stdout
            return _short(listed) if listed.strip() else "x"
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        # The name of the program, in parentheses, may hold anything; the state follows it.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else _short(boot + fields[19])
    except (OSError, IndexError):
        return "x"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
