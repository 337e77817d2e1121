"""What a file may be, and what it may refer to: regular files only, and only those beside it that it names. Every reader asks here."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from SegHiResCAMLib.engine.errors import EngineError

_NEVER_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""Opening a pipe that nobody writes into would wait for ever; Windows has no such pipes, but text files."""


def check_regular(path: Path, name: str) -> None:
    """Refuse what is not a regular file: pipes wait for ever, devices never end.

    Args:
        path: Exists; links are followed.
        name: As the user gave it, for messages.

    Raises:
        EngineError: `file-not-regular`, `file-unreadable`.
    """
    open_regular(path, name).close()


def open_regular(path: Path, name: str) -> BinaryIO:
    """Open a regular file for reading. What is checked is what is opened, whatever happens to the name in between.

    Raises:
        EngineError: `file-not-regular`, `file-unreadable`.
    """
    try:
        number = os.open(path, os.O_RDONLY | _NEVER_WAIT)
    except OSError as error:
        raise EngineError("file-unreadable", f"{name} cannot be opened: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise EngineError(
            "file-not-regular",
            f"{name} is not a regular file but a folder, pipe or device. Give an image or model file.",
        )
    return os.fdopen(number, "rb")


def referred_to(file: Path, reference: str, name: str) -> Path:
    """The regular file beside `file` that `file` names; nothing else may be named.

    Args:
        file: That refers, as a path.
        reference: What stands in it: a plain file name.
        name: Of `file`, as the user gave it, for messages.

    Returns:
        The path of a regular file in the same folder, not a link out of it.

    Raises:
        EngineError: `reference-refused`, `file-missing`, `file-not-regular`, `file-unreadable`.
    """
    plain = is_plain_name(reference)
    beside = file.parent / reference
    if not plain or (beside.is_symlink() and beside.resolve().parent != file.parent.resolve()):
        raise EngineError(
            "reference-refused",
            f"{name} refers to {reference[:200]!r}, and only files in its own folder are read. Put both files into one folder, and refer "
            "to the other by its name alone.",
        )
    if not beside.exists():
        raise EngineError(
            "file-missing",
            f"{name} refers to {reference[:200]!r}, which is not in its folder. Copy that file there, too.",
        )
    check_regular(beside, str(beside))
    return beside


def is_plain_name(name: str) -> bool:
    """Whether `name` can be a file's name on every system: no path, nothing that cannot be printed, not longer than file systems allow."""
    return (
        name.isprintable() and name not in ("", ".", "..") and not set(name) & set("/\\:") and len(name.encode()) <= 255
    )
