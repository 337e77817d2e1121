"""What this process has on the disk for a while. Whatever it leaves when it is killed, the next start of any command sweeps (`sweeping.py`)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from SegHiResCAMLib.writing.owners import own_name

NOTE = "place"
"""Kind of a file in the computer's temporary folder that names a folder elsewhere, so that any command finds what is to be swept."""

made: dict[Path, Path | None] = {}
"""What this process has made and not removed yet, each with its note."""


def make_folder_in(parent: Path, kind: str) -> Path:
    """A new hidden folder whose name says which process it belongs to; only this user can read it. Then `remove` it.

    Raises:
        OSError: `parent` is not a folder that can be written to, or the disk is full.
    """
    folder = hidden_name(parent, kind)
    try:
        folder.mkdir(mode=0o700)
    except BaseException:
        remove(folder)
        raise
    return folder


def hidden_name(parent: Path, kind: str) -> Path:
    """The path of a folder to be made in `parent`, of which others will know when this process is killed. Then `remove` it."""
    folder = parent.absolute() / f".{own_name(kind)}"
    note: Path | None = Path(tempfile.gettempdir()) / own_name(NOTE)
    made[folder] = note
    try:
        with os.fdopen(os.open(str(note), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(os.fsencode(folder))
    except OSError:  # the folder is still found by whoever writes to the same place
        made[folder] = None
    return folder


@contextmanager
def temporary_folder(kind: str) -> Iterator[Path]:
    """A private folder in the computer's temporary folder, for the time of the block.

    Raises:
        OSError: The computer's temporary folder cannot be written to.
    """
    folder = Path(tempfile.gettempdir()) / own_name(kind)
    made[folder] = None
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove what this process has made, with its note."""
    shutil.rmtree(folder, ignore_errors=True)
    note = made.pop(folder, None)
    if note is not None:
        with suppress(OSError):
            note.unlink()
