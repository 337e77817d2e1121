"""How much memory there is, refusals before more is taken, and what an error looks like when it ran out all the same."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from SegHiResCAMLib.engine.errors import EngineError

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Of this process, where a container or a batch system bounds its memory (cgroup v2)."""

_WORDS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "bad allocation",
)


def free_memory() -> int:
    """Bytes that this process can still take without swapping."""
    return min([psutil.virtual_memory().available, *_left_in_control_group()])


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: on the CPU, PyTorch has no class of its own for it, and ITK only words."""
    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in said for words in _WORDS)


def _left_in_control_group() -> list[int]:
    try:
        limit, taken = ((CONTROL_GROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        return [max(int(limit) - int(taken), 0)]
    except (OSError, ValueError):  # none, or unbounded: "max"
        return []
