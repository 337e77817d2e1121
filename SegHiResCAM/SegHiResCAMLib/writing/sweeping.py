"""What processes that have ended left behind is finished or removed when the next one starts; only that."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from SegHiResCAMLib.writing.commit import is_complete, recover
from SegHiResCAMLib.writing.owners import is_left_behind, is_own, kind_of
from SegHiResCAMLib.writing.temporary import NOTE, made, remove


def sweep() -> None:
    """Sweep the computer's temporary folder, and the places that are noted there. Every command begins with it."""
    for path in _entries(Path(tempfile.gettempdir())):
        if not (is_left_behind(path) and is_own(path)) or path.is_symlink():
            continue
        if kind_of(path.name) == NOTE:
            with suppress(OSError):
                noted = Path(os.fsdecode(path.read_bytes()[:4096]))
                if noted.is_absolute():
                    recover(noted)
                path.unlink()
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def sweep_folder(folder: Path) -> None:
    """Sweep a folder that is written to."""
    for path in _entries(folder):
        if path.name.startswith("."):
            recover(path)


def remove_all() -> None:
    """Remove all that this process has made for a while, but for results that are being put in place; then it ends."""
    for folder in list(made):
        if not is_complete(folder):
            remove(folder)


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as found:
            return [Path(entry.path) for entry in found if "seghirescam-" in entry.name]
    except OSError:
        return []
