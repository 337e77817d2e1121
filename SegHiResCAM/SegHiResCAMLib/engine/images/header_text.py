"""Numbers as they stand in the headers of volumes: plain, and no more of them than are expected."""

from __future__ import annotations

import re

from SegHiResCAMLib.engine.images.volume_files import damaged

LONGEST_HEADER = 2**22
"""Bytes: the longest that are known hold a DICOM header each, some 100 kB."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(
    r"[+-]?([0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})([eE][+-]?[0-9]{1,5})?|[+-]?(nan|inf|infinity)", re.IGNORECASE
)


def whole_numbers(text: str, what: str, name: str) -> list[int]:
    """Integers between spaces.

    Args:
        text: From the header.
        what: They are, for messages.
        name: Of the file, for messages.

    Raises:
        EngineError: `file-damaged`.
    """
    return [int(word) if _WHOLE.fullmatch(word) else _refuse(word, what, name) for word in text.split()]


def numbers(text: str, what: str, name: str, count: int) -> list[float]:
    """Exactly `count` numbers between spaces; NaN and infinity are numbers here.

    Raises:
        EngineError: `file-damaged`.
    """
    words = text.split()
    if len(words) != count:
        raise damaged(name, f"its header has {len(words)} numbers for {what}, and {count} are needed")
    return [float(word) if _NUMBER.fullmatch(word) else _refuse(word, what, name) for word in words]


def check_shape(sizes: list[int], name: str) -> None:
    """Refuse axes without voxels.

    Raises:
        EngineError: `file-damaged`.
    """
    if not sizes or min(sizes) < 1:
        raise damaged(name, f"its header gives the size {' x '.join(map(str, sizes))[:80]}")


def pattern_names(text: str, what: str, name: str, most: int) -> list[str] | None:
    """File names from a pattern as in C and its first, last and next number: "%03d.raw 1 9 1"; None where it is not one.

    Args:
        text: From the header.
        what: It is, for messages.
        name: Of the file, for messages.
        most: Files there can be.

    Raises:
        EngineError: `file-damaged`.
    """
    parts = re.fullmatch(r"([^%]*)%(0?[0-9]?)d([^%]*?)((?:\s+[+-]?[0-9]{1,9}){3,4})", text)
    if parts is None:
        return None
    first, last, step = whole_numbers(parts[4], what, name)[:3]
    found = range(first, last + (1 if step > 0 else -1), step) if step else range(0)
    if not 0 < len(found) <= most:
        raise damaged(name, f"its header counts {len(found)} data files, and there can be {most} at most")
    return [parts[1] + f"%{parts[2]}d" % number + parts[3] for number in found]


def _refuse(word: str, what: str, name: str) -> int:
    raise damaged(name, f"its header has {word[:40]!r} for {what}, which is not a number")
