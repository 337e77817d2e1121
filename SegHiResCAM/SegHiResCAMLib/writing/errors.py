"""What is said when something cannot be written."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from SegHiResCAMLib.user_error import UserError
from SegHiResCAMLib.writing.owners import place_of

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class WritingError(UserError):
    """What cannot be written, with a code for programs and a message for the user."""


def cannot_write(path: Path, problem: OSError, needed: int = 0) -> WritingError:
    """The error for a file or folder that the operating system refused to write.

    Args:
        path: What was asked for, not the temporary file beside it.
        problem: What the operating system said.
        needed: Bytes, where they are known.
    """
    if problem.errno in _FULL:
        return no_space(path, needed)
    reason = problem.strerror or type(problem).__name__
    return WritingError("not-written", f"{place_of(path)} cannot be written ({reason}): choose another folder or name.")


def no_space(path: Path, needed: int = 0) -> WritingError:
    """The error for a disk that has too little space for `needed` bytes, or for what is written where that is 0."""
    free = readable(free_space(path))
    wanted = f"{readable(needed)} are needed" if needed else "which is not enough"
    return WritingError(
        "disk-full",
        f"{place_of(path)} cannot be written: {free} are free on its disk, {wanted}. Free some space, or choose another disk.",
    )


def check_name(path: Path) -> None:
    """Refuse a path that is not UTF-8: the writers of ITK and MRML know no other, and end the program over one.

    Raises:
        WritingError: `name-not-utf-8`.
    """
    try:
        os.fsencode(path.absolute()).decode("utf-8")
    except ValueError as problem:
        raise WritingError(
            "name-not-utf-8", f"'{path}' cannot be written, since its name is not UTF-8. Choose another name or folder."
        ) from problem


def check_space(path: Path, needed: int) -> None:
    """Refuse to write `needed` bytes where they have no room, before anything is computed.

    Raises:
        WritingError: `disk-full`.
    """
    if needed > free_space(path):
        raise no_space(path, needed)


def free_space(path: Path) -> int:
    """Bytes that are free on the disk where a path lies, or will lie."""
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def readable(size: int) -> str:
    """Bytes for people: "820.6 kB"."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
