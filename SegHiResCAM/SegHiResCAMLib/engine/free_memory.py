"""How much memory there is, refusals before more is taken, and refusals when it ran out all the same."""

from __future__ import annotations

from pathlib import Path

import psutil

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.out_of_memory import is_out_of_memory, out_of_memory_message

__all__ = ["CONTROL_GROUP", "check_room", "free_memory", "is_out_of_memory", "limit_memory", "refuse_out_of_memory"]

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Of this process, where a container or a batch system bounds its memory (cgroup v2)."""


_limits: list[int] = []
"""Bytes that this process may take altogether; none where nobody has said so."""


def limit_memory(size: int) -> None:
    """Let this process take no more than so many bytes altogether, as one of several on a computer; 0 for all there are."""
    _limits[:] = [size] if size else []


def free_memory() -> int:
    """Bytes that this process can still take without swapping."""
    free: int = min([psutil.virtual_memory().available, *_left_in_control_group(), *_left_of_limit()])
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


def _left_in_control_group() -> list[int]:
    try:
        limit, taken = ((CONTROL_GROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        return [max(int(limit) - int(taken), 0)]
    except (OSError, ValueError):  # none, or unbounded: "max"
        return []
