"""What compressed frames say of their own size, read before a decoder takes memory for it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

SIZE_OF_J2K = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream and of its size; inside a JP2 file, too."""

START_OF_JPEG = b"\xff\xd8"
STAND_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers of JPEG without a length."""

FRAME_HEADERS = {*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7}
"""Markers of JPEG and JPEG-LS that the size follows."""


def sizes(frame: bytes) -> Iterator[tuple[int, int, int]]:
    """(rows, columns, components) of each image that a compressed frame holds; none where it is neither JPEG nor JPEG 2000."""
    if frame.startswith(START_OF_JPEG):
        yield from _jpeg(frame)
    at = frame.find(SIZE_OF_J2K)
    while at >= 0:
        yield _jpeg_2000(frame, at)
        at = frame.find(SIZE_OF_J2K, at + 1)


def _jpeg(frame: bytes) -> Iterator[tuple[int, int, int]]:
    """All frame headers in front of the first scan."""
    at = 2
    while at + 9 < len(frame):
        marker = frame[at + 1]
        if frame[at] != 0xFF or marker == 0xDA:
            return
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker in STAND_ALONE:
            at += 2
            continue
        if marker in FRAME_HEADERS:
            yield struct.unpack_from(">HHB", frame, at + 5)
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")


def _jpeg_2000(frame: bytes, at: int) -> tuple[int, int, int]:
    if len(frame) < at + 42:
        return 0, 0, 0
    right, bottom, left, top = struct.unpack_from(">4I", frame, at + 8)
    (components,) = struct.unpack_from(">H", frame, at + 40)
    return bottom - top, right - left, components
