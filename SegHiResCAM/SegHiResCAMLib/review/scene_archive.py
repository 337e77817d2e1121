"""A case's scene is read before 3D Slicer opens it: it may come from anybody, and may name only what is inside of it.

A scene can refer to any file of this computer, and to addresses that 3D Slicer would fetch; an archive can have members that are unpacked
elsewhere. The scenes that this program writes do neither.
"""

from __future__ import annotations

import re
import stat
import zipfile
from html import unescape
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from SegHiResCAMLib.review.errors import ReviewError

MOST_MEMBERS = 10_000
LARGEST = 2**35
"""Bytes of all members together, unpacked."""

LARGEST_SCENE = 2**26
"""Bytes of the text of a scene."""

_REFERENCE = re.compile(r"""\b(?:fileName|fileListMember\d*|uri\w*)\s*=\s*("[^"]*"|'[^']*')""", re.IGNORECASE)


def check_scene(path: Path) -> None:
    """Refuse a scene that reaches beyond itself.

    Raises:
        ReviewError: `scene-unreadable`, `scene-reaches-out`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members)
            for member in members:
                if member.filename.lower().endswith(".mrml"):
                    _check_text(path, archive.read(member).decode("utf-8", "replace"))
    except (OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, EOFError) as problem:
        raise ReviewError(
            "scene-unreadable",
            f"The scene '{path}' cannot be opened ({type(problem).__name__}). Run the study once more, or open another case.",
        ) from problem


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MOST_MEMBERS or sum(one.file_size for one in members) > LARGEST:
        raise _reaches_out(path, f"has more than {MOST_MEMBERS} files or {LARGEST >> 30} GiB")
    for one in members:
        if not _is_inside(one.filename) or stat.S_ISLNK(one.external_attr >> 16):
            raise _reaches_out(path, f"has a file '{one.filename[:100]}', which would lie elsewhere")
        if one.filename.lower().endswith(".mrml") and one.file_size > LARGEST_SCENE:
            raise _reaches_out(path, f"has a text of more than {LARGEST_SCENE >> 20} MiB")


def _check_text(path: Path, text: str) -> None:
    for found in _REFERENCE.finditer(text):
        name = unquote(unescape(found[1][1:-1])).strip()
        is_address = found[0].lower().startswith("uri") or "://" in name
        if name and (is_address or not _is_inside(name)):
            raise _reaches_out(path, f"refers to '{name[:100]}'")


def _is_inside(name: str) -> bool:
    """Whether a name leads to a place inside any folder, on any system."""
    return not (
        name.startswith(("/", "\\"))
        or ".." in PurePosixPath(name.replace("\\", "/")).parts
        or re.match(r"[A-Za-z]:", name)
        or "\0" in name
    )


def _reaches_out(path: Path, what: str) -> ReviewError:
    return ReviewError(
        "scene-reaches-out",
        f"The scene '{path}' {what}, so it is not opened: scenes of a study hold all that they show. Ask who gave you the study, or compute it yourself.",
    )
