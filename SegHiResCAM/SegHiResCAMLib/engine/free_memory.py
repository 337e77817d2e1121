"""How much memory there is, refusals before more is taken, and refusals when it ran out all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.out_of_memory import is_out_of_memory, out_of_memory_message

__all__ = ["check_room", "free_memory", "is_out_of_memory", "limit_memory", "refuse_out_of_memory"]

CONTROL_GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Where Linux says what a container or a batch system lets its processes have, and in which groups this one is."""


class _Accounts(NamedTuple):
    """Where a version of control groups keeps them: files in a group's folder, and the line of `memory.stat` with the files' pages that can be dropped."""

    folder: str
    limit: str
    taken: str
    dropped: str


_FIRST = _Accounts("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_SECOND = _Accounts("", "memory.max", "memory.current", "inactive_file")


_limits: list[int] = []
"""Bytes that this process may take altogether; none where nobody has said so."""


def limit_memory(size: int) -> None:
    """Let this process take no more than so many bytes altogether, as one of several on a computer; 0 for all there are."""
    _limits[:] = [size] if size else []


def free_memory() -> int:
    """Bytes that this process can still take without swapping."""
    free: int = min([psutil.virtual_memory().available, *_left_in_control_groups(), *_left_of_limit()])
    return free


def check_room(needed: int, name: str, doing: str = "Reading") -> None:
    """Refuse what does not fit into memory, before memory is taken.

    Args:
        needed: Bytes at the highest, over everything that is held at once.
        name: The file or object, as the user knows it.
        doing: What needs them, as a participle that `name` follows: "Reading".

    Raises:
        EngineError: `out-of-memory`.
    """
    free = free_memory()
    if needed > free:
        raise EngineError(
            "out-of-memory",
            f"{doing} {name} needs {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free. Close other programs, or crop or "
            "resample the image.",
        )


def refuse_out_of_memory(error: BaseException, name: str = "") -> None:
    """For handlers of errors of any kind, before they say what else may be wrong: does nothing unless memory ran out.

    Args:
        error: What was caught.
        name: The file or object that was worked on, as the user knows it; empty for none.

    Raises:
        EngineError: `out-of-memory`.
    """
    if is_out_of_memory(error):
        prefix = f"{name}: " if name else ""
        raise EngineError("out-of-memory", f"{prefix}{out_of_memory_message(error)}") from error


def _left_of_limit() -> list[int]:
    return [max(limit - psutil.Process().memory_info().rss, 0) for limit in _limits]


def _left_in_control_groups() -> Iterator[int]:
    """Of each group that this process is in, and of those around it: a batch system bounds a job, a container all that is in it."""
    try:
        lines = OWN_GROUPS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for _, controllers, own in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers and "memory" not in controllers.split(","):
            continue
        accounts = _FIRST if controllers else _SECOND
        root = CONTROL_GROUPS / accounts.folder
        group = root / own.lstrip("/")
        yield from (
            left
            for folder in (group, *group.parents)
            if folder.is_relative_to(root) and (left := _left(folder, accounts)) is not None
        )


def _left(folder: Path, accounts: _Accounts) -> int | None:
    """Bytes that a group's processes can still take; None where there is no bound. Pages of files that were read count as free, as they do in the system's own figure."""
    try:
        limit, taken = (int((folder / name).read_text()) for name in (accounts.limit, accounts.taken))
    except (OSError, ValueError):  # none, or unbounded: "max"
        return None
    try:
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        dropped = int(stat.get(accounts.dropped, 0))
    except (OSError, ValueError):
        dropped = 0
    return max(limit - max(taken - dropped, 0), 0)
