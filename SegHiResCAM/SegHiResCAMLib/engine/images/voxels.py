"""The voxels of a file, whatever their format: read some slices at a time, bounded before memory is taken, cancelled between two pieces.

A header is trusted for nothing but where its voxels lie. How many there can be, the length of the file says.
"""

from __future__ import annotations

import bz2
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import numpy as np
import numpy.typing as npt

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import check_room
from SegHiResCAMLib.engine.images.gzip_stream import Unpacked
from SegHiResCAMLib.engine.images.volume_files import check_size, damaged
from SegHiResCAMLib.engine.progress import Progress
from SegHiResCAMLib.engine.regular_files import open_regular

Packing = Literal["raw", "deflate", "bzip2", "text", "hex"]
Convert = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]

AT_ONCE = 2**23
"""Bytes of voxels that are read between two looks at whether the user has cancelled: some slices, which are also turned fastest."""

DEFLATE_RATIO = 1032
"""No deflate stream (gzip, zlib) grows more when it is unpacked: https://zlib.net/zlib_tech.html."""

PLAUSIBLE_RATIO = 256
PLAUSIBLE = 3 * 2**29
"""Bytes in memory that a packed file may become: a multiple of its length, and in any case this, an empty mask of 512 x 512 x 1536 voxels."""


SKIPPED = 2**26
"""Bytes of a packed stream at most that come before its voxels: other headers."""


@dataclass(frozen=True)
class Stored:
    """Where voxels lie and how they are stored.

    Attributes:
        files: Regular files that hold an equal share each, in the order of the voxels.
        shape: (C, i, j, k).
        order: Axes of `shape` from the slowest to the fastest in the file.
        dtype: Of a stored value, with its byte order.
        packing: "deflate" is gzip or zlib.
        start: Byte of each file at which they, or the packed stream, begin; None where they are the last bytes of the file.
        skip: Bytes of the unpacked stream that come before them.
    """

    files: tuple[Path, ...]
    shape: tuple[int, ...]
    order: tuple[int, ...]
    dtype: np.dtype[Any]
    packing: Packing
    start: int | None = 0
    skip: int = 0

    @property
    def share(self) -> int:
        """Bytes of voxels in each file, unpacked."""
        return math.prod(self.shape) * self.dtype.itemsize // len(self.files)


def read_voxels(
    stored: Stored, name: str, progress: Progress, convert: Convert = lambda values: values
) -> npt.NDArray[np.float32]:
    """The values, float32 (C, i, j, k).

    Args:
        stored: Where they are.
        name: The file that the user gave, for messages.
        progress: Called before every piece.
        convert: From stored values to what they mean, piece by piece.

    Raises:
        EngineError: `volume-too-large`, `out-of-memory`, `file-damaged`, those of `open_regular`.
        Cancelled: By `progress`.
    """
    count = math.prod(stored.shape)
    check_size(count, name)
    if count % len(stored.files):
        raise damaged(name, f"its {count} values cannot lie in {len(stored.files)} files of one size")
    lengths = []
    for path in stored.files:
        with open_regular(path, name) as file:
            lengths.append(file.seek(0, 2))
        _check_length(stored, lengths[-1], name)
    _check_plausible(stored, sum(lengths), name)
    check_room(4 * count + 3 * AT_ONCE, name)
    values = np.empty(stored.shape, np.float32)
    done = 0
    with closing(_Bytes(stored, name)) as stream:
        for piece in _pieces(values.transpose(stored.order), stored.dtype.itemsize):
            progress(done / count, "Reading")
            found = np.frombuffer(stream.read(piece.size * stored.dtype.itemsize), stored.dtype)
            with np.errstate(
                over="ignore", invalid="ignore"
            ):  # what float32 cannot hold becomes infinite, and is counted then
                piece[...] = convert(found).reshape(piece.shape)
            done += piece.size
    return values


class _Bytes:
    """The unpacked bytes of all files, one after another, one open at a time."""

    def __init__(self, stored: Stored, name: str) -> None:
        self._stored, self._name, self._files, self._left = stored, name, iter(stored.files), 0
        self._stack = ExitStack()

    def read(self, count: int) -> bytes:
        """All that are asked for, or a message."""
        parts = []
        try:
            while count:
                if not self._left:
                    self._next()
                part = self._stream.read(min(count, self._left, AT_ONCE))
                if not part:
                    raise _too_short(self._name, self._stored.share, self._stored.share - self._left)
                parts.append(part)
                count -= len(part)
                self._left -= len(part)
                if not self._left and self._stored.packing == "deflate":
                    self._stream.read(
                        1
                    )  # checks the sum where the stream ends here; what comes after the voxels is ignored
        except (zlib.error, OSError, EOFError, ValueError, OverflowError) as error:
            raise damaged(self._name, "the packed voxels are damaged") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        self._stack.close()

    def _next(self) -> None:
        self._stack.close()
        file = self._stack.enter_context(open_regular(next(self._files), self._name))
        self._left = self._stored.share
        file.seek(*((-self._left, 2) if self._stored.start is None else (self._stored.start, 0)))
        self._stream = _unpacked(file, self._stored)
        skip = self._stored.skip
        while skip:
            skip -= len(self._stream.read(min(skip, AT_ONCE))) or skip


class _Stream(Protocol):
    def read(self, count: int, /) -> bytes: ...


class _Text:
    """Numbers between white space, as bytes of their type."""

    def __init__(self, file: BinaryIO, dtype: np.dtype[Any]) -> None:
        self._file, self._dtype, self._begun, self._bytes = file, dtype, b"", b""

    def read(self, count: int) -> bytes:
        while not self._bytes:
            chunk = self._file.read(2**16)
            words = (self._begun + chunk).replace(b",", b" ").split()
            if not chunk and not words:
                return b""
            ended = not chunk or chunk[-1:].isspace()
            self._begun = b"" if ended else words.pop()
            if len(self._begun) > 2**10:
                raise ValueError
            numbers = np.array([word.decode("ascii") for word in words])
            whole = self._dtype.kind in "iu"
            self._bytes = (np.array([*map(int, numbers)]) if whole else numbers.astype(np.float64)).astype(
                self._dtype
            ).tobytes()  # fmt: skip
        found, self._bytes = self._bytes[:count], self._bytes[count:]
        return found


class _Hex:
    """Two hexadecimal digits a byte."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._begun = file, b""

    def read(self, count: int) -> bytes:
        while True:
            chunk = self._file.read(2 * count)
            digits = self._begun + b"".join(chunk.split())
            whole = min(len(digits) // 2, count) * 2
            self._begun = digits[whole:]
            if whole or not chunk:
                return bytes.fromhex(digits[:whole].decode("ascii"))


def _unpacked(file: BinaryIO, stored: Stored) -> _Stream:
    match stored.packing:
        case "deflate":
            return Unpacked(file)
        case "bzip2":
            return bz2.BZ2File(file)
        case "text":
            return _Text(file, stored.dtype)
        case "hex":
            return _Hex(file)
    return file


def _pieces(target: npt.NDArray[np.float32], itemsize: int) -> Iterator[npt.NDArray[np.float32]]:
    """Views of what is filled, in the order of the file, of about `AT_ONCE` stored bytes each."""
    each = math.prod(target.shape[1:]) * itemsize
    if each > AT_ONCE and target.ndim > 1:
        for part in target:
            yield from _pieces(part, itemsize)
        return
    step = max(AT_ONCE // each, 1)
    for start in range(0, len(target), step):
        yield target[start : start + step]


def _check_length(stored: Stored, length: int, name: str) -> None:
    """Refuse a file that is too short for what is claimed of it, as far as its packing tells."""
    length = max(length - (stored.start or 0), 0)
    expected, count = stored.share, stored.share // stored.dtype.itemsize
    if stored.packing == "raw" and length < expected:
        raise _too_short(name, expected, length)
    if stored.packing == "hex" and length < 2 * expected:
        raise _too_short(name, expected, length // 2)
    if stored.packing == "text" and length < 2 * count - 1:
        raise damaged(name, f"{count} numbers do not fit into {length} bytes of text")
    if stored.packing == "deflate" and DEFLATE_RATIO * length < expected:
        raise damaged(name, f"{expected} bytes of voxels are expected, and {length} packed bytes cannot hold them")
    if stored.skip > SKIPPED:
        raise damaged(name, f"its voxels begin after {stored.skip} other bytes")


def _check_plausible(stored: Stored, length: int, name: str) -> None:
    """Refuse some packed bytes that would fill the memory: no image is packed so well."""
    count = math.prod(stored.shape)
    if stored.packing in ("deflate", "bzip2") and 4 * count > max(PLAUSIBLE, PLAUSIBLE_RATIO * length):
        raise EngineError(
            "volume-too-large",
            f"{name} claims {count:.3g} values, which need {4 * count / 2**30:.1f} GiB of memory, in only {length / 2**20:.3g} MiB. If it is "
            "sound, save it uncompressed.",
        )


def _too_short(name: str, expected: int, found: int) -> EngineError:
    return damaged(name, f"it holds {found} of {expected} bytes of voxels")
