"""What arrives in the place of a file: nothing, an empty file, or the pointer that Git LFS leaves."""

from __future__ import annotations

from pathlib import Path

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.regular_files import open_regular

LFS = b"version https://git-lfs"
"""How the pointers begin."""


def check_received(path: Path, what: str, prefix: str) -> None:
    """Refuse a file that is not there, holds nothing, or only points to what it should hold.

    Args:
        path: As the user gave it.
        what: What it is called in messages: "weights file".
        prefix: Of the error codes: "weights".

    Raises:
        EngineError: `…-absent`, `…-unreadable`, `…-empty`, `…-lfs`.
    """
    if not path.exists():
        raise EngineError(f"{prefix}-absent", f"There is no {what} '{path}'. Check its name and folder.")
    try:
        with open_regular(path, f"The {what} '{path}'") as file:
            start = file.read(len(LFS))
    except EngineError as error:
        if error.code != "file-unreadable":
            raise
        raise EngineError(f"{prefix}-unreadable", f"{error.message.removesuffix('.')}. Ask its owner.") from error
    size = path.stat().st_size
    if not size:
        raise EngineError(f"{prefix}-empty", f"The {what} '{path}' is empty (0 bytes). Copy or download it again.")
    if start == LFS:
        raise EngineError(
            f"{prefix}-lfs",
            f"The {what} '{path}' is a Git LFS pointer of {size} bytes, which stands for the real file. Run 'git lfs pull' where it was "
            "cloned, or download the file itself.",
        )
