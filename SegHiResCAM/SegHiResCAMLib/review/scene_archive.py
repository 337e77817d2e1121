"""A case's scene is read before 3D Slicer opens it: it may come from anybody, and may name only what is inside of it.

A scene can refer to any file of this computer, and to addresses that 3D Slicer would fetch; an archive can have members that are unpacked
elsewhere. The scenes that this program writes do neither.
"""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Mapping
from html import unescape
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.parsers import expat

from SegHiResCAMLib.review.errors import ReviewError

MOST_MEMBERS = 10_000
LARGEST = 2**35
"""Bytes of all members together, unpacked."""

LARGEST_SCENE = 2**26
"""Bytes of the text of a scene."""

_REFERENCE = re.compile(r"fileName|fileListMember\d*|uri\w*", re.IGNORECASE)
"""Attributes of a scene's elements that name files or addresses."""


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
                    _check_text(path, archive.read(member))
    except (
        *(OSError, ValueError, NotImplementedError, RuntimeError, EOFError),
        *(zipfile.BadZipFile, expat.ExpatError),
    ) as problem:
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


def _check_text(path: Path, text: bytes) -> None:
    """Read as 3D Slicer reads it, by expat: encodings and entities can hide a name from whoever searches the text."""

    def element(_name: str, attributes: Mapping[str, str]) -> None:
        for attribute, value in attributes.items():
            name = unquote(unescape(value)).strip()
            is_address = attribute.lower().startswith("uri") or "://" in name
            if _REFERENCE.fullmatch(attribute) and name and (is_address or not _is_inside(name)):
                raise _reaches_out(path, f"refers to '{name[:100]}'")

    def document_type(*_: object) -> None:
        raise _reaches_out(path, "declares a document type, which can refer to other files")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.StartDoctypeDeclHandler = element, document_type
    parser.Parse(text, True)


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
