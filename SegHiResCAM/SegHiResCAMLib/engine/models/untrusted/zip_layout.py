"""Zip archives that every reader reads alike: one directory at the end, and everything where the directory has it.

PyTorch reads a checkpoint's directory where its absolute offset points, Python where it ends; local headers can differ from the directory, and names
that differ by case only are one name to PyTorch. What was checked with one reader would not be what the other loads.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

_END, _END_64, _LOCATOR = (struct.Struct(form) for form in ("<4s4H2LH", "<4sQ2H2L4Q", "<4sLQL"))
_ENTRY, _LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_ALL_ONES = 0xFFFFFFFF
_SIZES_FOLLOW = 1 << 3
MAX_DIRECTORY = 8 << 20


class CompressedError(zipfile.BadZipFile):
    """Something in the archive is compressed."""


@dataclass(frozen=True)
class StoredFile:
    """A file in an archive.

    Attributes:
        name: As its bytes are.
        offset: Of its first byte in the archive.
        size: In bytes; it is not compressed.
    """

    name: bytes
    offset: int
    size: int


def stored_files(file: IO[bytes]) -> list[StoredFile]:
    """The files of an archive that holds them uncompressed, as PyTorch writes checkpoints, in the order of its directory.

    Args:
        file: Can be sought.

    Raises:
        zipfile.BadZipFile: Two readers could read it differently; `CompressedError`, where something is compressed.
    """
    try:
        entries, end = _directory(file)
        files = [_located(file, entry) for entry in entries]
    except struct.error as error:
        raise zipfile.BadZipFile("it ends too early") from error
    reached = 0
    for one in sorted(files, key=lambda one: one.offset):
        if one.start < reached or (reached == 0 and one.start != 0):
            raise zipfile.BadZipFile("files overlap, or something lies before the first")
        reached = one.offset + one.size
    if reached > end:
        raise zipfile.BadZipFile("a file reaches into the directory")
    names = [one.name.lower() for one in files]
    if len(set(names)) < len(names):
        raise zipfile.BadZipFile("two files have one name")
    return [StoredFile(one.name, one.offset, one.size) for one in files]


@dataclass(frozen=True)
class _Entry:
    name: bytes
    flags: int
    size: int
    start: int
    offset: int = 0


def _directory(file: IO[bytes]) -> tuple[list[_Entry], int]:
    """Its entries, and where it begins."""
    length = file.seek(0, os.SEEK_END)
    end = length - _END.size
    signature, disk, first_disk, here, count, size, offset, comment = _read(file, end, _END)
    if signature != b"PK\x05\x06" or disk or first_disk or here != count or comment:
        raise zipfile.BadZipFile("it does not end with its directory")
    at = end - _LOCATOR.size
    if at >= 0:
        locator, _, place, _ = _read(file, at, _LOCATOR)
        if locator == b"PK\x06\x07":
            end = at - _END_64.size
            values = _read(file, end, _END_64)
            if values[0] != b"PK\x06\x06" or place != end or values[6] != values[7]:
                raise zipfile.BadZipFile("its two ends differ")
            for short, ones, full in zip(
                (count, size, offset), (0xFFFF, _ALL_ONES, _ALL_ONES), values[7:], strict=True
            ):
                if short not in (ones, full):
                    raise zipfile.BadZipFile("its two ends differ")
            count, size, offset = values[7:]
    if offset + size != end or size > MAX_DIRECTORY:
        raise zipfile.BadZipFile("its directory is not where it should be")
    file.seek(offset)
    entries = list(_entries(file.read(size)))
    if len(entries) != count:
        raise zipfile.BadZipFile("its directory has another number of files")
    return entries, offset


def _entries(directory: bytes) -> Iterator[_Entry]:
    at = 0
    while at < len(directory):
        values = _ENTRY.unpack_from(directory, at)
        signature, _, _, flags, method, _, _, _, packed, size, name, extra, comment, disk, _, _, start = values
        at += _ENTRY.size
        if signature != b"PK\x01\x02" or disk or flags & 1:
            raise zipfile.BadZipFile("its directory is damaged, or a file in it is encrypted")
        if method:
            raise CompressedError
        wide = _wide(directory[at + name : at + name + extra])
        size, packed, start = (next(wide, -1) if value == _ALL_ONES else value for value in (size, packed, start))
        if size != packed or size < 0 or start < 0 or b"\0" in directory[at : at + name]:
            raise zipfile.BadZipFile("a file in it has no size of its own")
        yield _Entry(directory[at : at + name], flags, size, start)
        at += name + extra + comment
    if at != len(directory):
        raise zipfile.BadZipFile("its directory ends too early")


def _wide(extra: bytes) -> Iterator[int]:
    """The numbers of 64 bits that stand for those of the entry that do not fit."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            yield from struct.unpack_from(f"<{min(size, len(extra) - at - 4) // 8}Q", extra, at + 4)
            return
        at += 4 + size


def _located(file: IO[bytes], entry: _Entry) -> _Entry:
    """With the place of its content, after a local header that says the same."""
    signature, _, flags, method, _, _, _, packed, size, name, extra = _read(file, entry.start, _LOCAL)
    sizes = {packed, size}
    known = sizes in ({entry.size}, {_ALL_ONES}) or (flags & _SIZES_FOLLOW and sizes == {0})
    if signature != b"PK\x03\x04" or method or flags != entry.flags or file.read(name) != entry.name or not known:
        raise zipfile.BadZipFile("a file's own header differs from the directory")
    return _Entry(entry.name, flags, entry.size, entry.start, entry.start + _LOCAL.size + name + extra)


def _read(file: IO[bytes], at: int, form: struct.Struct) -> tuple[Any, ...]:
    if at < 0:
        raise zipfile.BadZipFile("it is too short")
    file.seek(at)
    values: tuple[Any, ...] = form.unpack(file.read(form.size))
    return values
