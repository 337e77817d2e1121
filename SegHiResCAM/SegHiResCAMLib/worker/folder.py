"""Private temporary folders that do not outlive the process that made them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from SegHiResCAMLib.writing.owners import own_name
from SegHiResCAMLib.writing.sweeping import sweep


def make_private_folder() -> Path:
    """A new folder that only this user can read; it holds a patient's voxels. Its name says which process it belongs to.

    Raises:
        OSError: The computer's temporary folder cannot be written to.
    """
    folder = Path(tempfile.gettempdir()) / own_name("worker")
    folder.mkdir(mode=0o700)
    return folder


def remove_stale_folders() -> None:
    """Remove what processes that have ended have left behind: after a power cut nobody else could."""
    sweep()
