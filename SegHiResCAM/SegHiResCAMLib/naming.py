"""Names that are unique by construction: identifiers of segments, and folders called after them on any file system; the standard library."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""What Windows keeps for devices, whatever comes after a dot."""

LONGEST = 80
"""Letters of a folder's name; file systems take 255 bytes, of which a letter may need four."""


def identifier(name: str, value: int) -> str:
    """A segment's identifier made of its name, or of its value where the name has no letter or digit."""
    return re.sub(r"\W+", "-", name.lower()).strip("-") or f"segment-{value}"


def unique(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """The names, in their order, where one that is there already (in any case of its letters) gets the next free number: a, a-2, a-3."""
    found: list[str] = []
    known = {_folded(name) for name in taken}
    for name in names:
        number, free = 2, name
        while _folded(free) in known:
            number, free = number + 1, f"{name}-{number}"
        known.add(_folded(free))
        found.append(free)
    return found


def folder_names(names: Sequence[str]) -> list[str]:
    """A folder's name for each segment, different for all of them on file systems that take upper and lower case for one, too."""
    return unique([_folder_name(name) for name in names])


def case_folder(name: str) -> str:
    """The name of the folder of a study's case: the same whatever other cases there are, and different for all of them."""
    plain = folder_names([name])[0]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _folder_name(name: str) -> str:
    plain = re.sub(r"[^\w.+-]+", "-", unicodedata.normalize("NFC", name))[:LONGEST].strip(".-") or "segment"
    return f"segment-{plain}" if _RESERVED.fullmatch(plain) else plain


def _folded(name: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
