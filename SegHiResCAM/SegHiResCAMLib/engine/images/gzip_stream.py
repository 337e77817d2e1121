"""Streams of gzip or zlib, unpacked piece by piece: no more than is asked for, and in C, whatever their headers hold."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from SegHiResCAMLib.engine.errors import EngineError

MAGIC = b"\x1f\x8b"
_EITHER = 32 + zlib.MAX_WBITS
_AT_ONCE = 2**16


class Unpacked:
    """A gzip stream of one or several members, or a zlib stream. Bytes after it are ignored, as gzip does."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._packed = file, b""
        self._stream = zlib.decompressobj(_EITHER)

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, and none at the end, also where the stream breaks off.

        Raises:
            zlib.error: It is damaged.
        """
        while True:
            if self._stream.eof:
                self._packed = self._stream.unused_data or self._packed
                self._packed += self._file.read(max(len(MAGIC) - len(self._packed), 0))
                if not self._packed.startswith(MAGIC):
                    return b""
                self._stream = zlib.decompressobj(_EITHER)
            packed = self._packed or self._file.read(_AT_ONCE)
            found = self._stream.decompress(packed, count)
            self._packed = self._stream.unconsumed_tail
            if found or (not packed and not self._stream.eof):
                return found


def first_bytes(file: BinaryIO, count: int, name: str) -> tuple[bytes, bool]:
    """The first bytes of a file, unpacked where it is gzip, and whether it is.

    Args:
        file: Open, at its start.
        count: How many, where there are so many.
        name: Of the file, for messages.

    Raises:
        EngineError: `file-damaged`, where a gzip stream cannot be unpacked or breaks off at once.
    """
    head = file.read(count)
    if not head.startswith(MAGIC):
        return head, False
    file.seek(0)
    stream, found = Unpacked(file), b""
    try:
        while len(found) < count and (part := stream.read(count - len(found))):
            found += part
    except zlib.error:
        found = b""
    if not found:
        raise EngineError("file-damaged", f"{name} is a damaged gzip file. Copy or export it again.")
    return found, True
