"""One file, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from SegHiResCAMLib.writing.errors import cannot_write
from SegHiResCAMLib.writing.sweeping import sweep_folder
from SegHiResCAMLib.writing.temporary import make_folder_in, remove


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Lend a file of the same name in a private folder beside `path`, and put it in place when the block succeeds.

    The name stays the same since writers choose their format by it, and a scene names its inner folder after it.

    Raises:
        WritingError: `disk-full`; `not-written`: the folder does not exist or cannot be written to.
    """
    try:
        sweep_folder(path.absolute().parent)
        folder = make_folder_in(path.absolute().parent, "file")
        try:
            beside = folder / path.name
            yield beside
            _flush(beside)
            beside.replace(path)
        finally:
            remove(folder)
    except OSError as problem:
        raise cannot_write(path, problem) from problem


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; its folder is made where it is missing.

    Raises:
        WritingError: As `whole_file`.
    """
    make_folder(path.parent)
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, as far as they are missing.

    Raises:
        WritingError: `not-written`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise cannot_write(folder, problem) from problem


def _flush(path: Path) -> None:
    """Bring a file to the disk itself, so that a full one shows before the old file is replaced."""
    number = os.open(path, os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)
