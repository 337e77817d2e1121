"""Files between the lines of the protocol, for two ends that share no folder: a `Chunk` line, then its bytes, compressed.

A file travels in pieces of some megabytes, so that a message, say a cancel, can come between any two. It appears whole or not at all, under a
name and within a size that this end has asked for; anything else ends the connection.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from SegHiResCAMLib.worker.arrays import AT_ONCE, DiskFull
from SegHiResCAMLib.worker.protocol import Chunk, encode
from SegHiResCAMLib.writing.owners import own_name

LEVEL = 1
"""Of zlib: faster than most networks; a CT takes about half of its bytes."""

LONGEST = AT_ONCE + AT_ONCE // 64
"""Bytes of a compressed piece at most: what cannot be compressed becomes a little longer."""

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class UnexpectedError(Exception):
    """The other end sends what nobody asked for, or what is not a frame. Its text says what."""


@dataclass(frozen=True)
class Place:
    """Where a file goes when it has arrived.

    Attributes:
        path: In a folder that exists.
        limit: Bytes at most.
        sha256: Lower-case hex, where it is known.
    """

    path: Path
    limit: int
    sha256: str = ""


def frames_of(identifier: int, name: str, path: Path) -> Iterator[bytes]:
    """A file as frames, each to be written at once.

    Args:
        identifier: Of the request that it belongs to.
        name: By which the other end expects it.
        path: Of the file.

    Raises:
        OSError: It cannot be read, or it became shorter meanwhile.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        start = 0
        while start < size or size == 0:
            data = file.read(min(AT_ONCE, size - start))
            if not data and size:
                raise OSError(errno.EIO, f"'{path.name}' became shorter while it was read")
            packed = zlib.compress(data, LEVEL)
            yield encode(identifier, Chunk(name, size, start, len(packed))).encode() + packed
            if size == 0:
                return
            start += len(data)


def read_payload(pipe: BinaryIO, chunk: Chunk) -> bytes | None:
    """The bytes that follow a `Chunk`, as they were; None where the pipe ends in the middle.

    Raises:
        UnexpectedError: They are too many, or damaged.
    """
    if not 0 <= chunk.length <= LONGEST:
        raise UnexpectedError(f"a frame of {chunk.length} bytes")
    packed = pipe.read(chunk.length)
    if packed is None or len(packed) < chunk.length:
        return None
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(packed, AT_ONCE + 1)
    except zlib.error as problem:
        raise UnexpectedError("a damaged frame") from problem
    if len(data) > AT_ONCE or not unpacking.eof:
        raise UnexpectedError("a frame that is larger than it says")
    return data


class Arrivals:
    """Files that this end has asked for, on their way; `take` is called by the thread that reads, `wait` by another."""

    def __init__(self) -> None:
        self._request = 0
        self._places: dict[str, Place] = {}
        self._problem: Exception | None = None
        self._changed = threading.Condition()

    def expect(self, identifier: int, places: Mapping[str, Place]) -> None:
        """From now on these files of this request by their names, and no others; parts of earlier ones are deleted."""
        with self._changed:
            for place in self._places.values():
                _part(place.path).unlink(missing_ok=True)
            self._request, self._places, self._problem = identifier, dict(places), None

    def take(self, identifier: int, chunk: Chunk, data: bytes) -> None:
        """Write a piece of a file; a file whose last piece this is appears. What is late, of a request that is over, is left out.

        Raises:
            UnexpectedError: Nobody asked for it, or it is not what was asked for.
            DiskFull: There is no room for it.
            OSError: It cannot be written.
        """
        if identifier != self._request:
            return
        place = self._places.get(chunk.file)
        end = chunk.start + len(data)
        if place is None or not 0 <= chunk.size <= place.limit or not 0 <= chunk.start <= end <= chunk.size:
            raise UnexpectedError(f"'{chunk.file[:100]}', {chunk.size} bytes")
        if chunk.start == 0 and chunk.size > shutil.disk_usage(place.path.parent).free:
            raise DiskFull(place.path.parent, chunk.size)
        part = _part(place.path)
        try:
            with part.open("ab" if chunk.start else "wb") as file:
                if file.tell() != chunk.start:
                    raise UnexpectedError(f"'{chunk.file[:100]}' with a gap")
                file.write(data)
        except OSError as problem:
            if problem.errno in _FULL:
                part.unlink(missing_ok=True)
                raise DiskFull(place.path.parent, chunk.size) from problem
            raise
        if end == chunk.size:
            self._complete(chunk.file, place, part)

    def fail(self, problem: Exception) -> None:
        """What `take` raised, for whoever waits."""
        with self._changed:
            self._problem = problem
            self._changed.notify_all()

    def wait(self, check: Callable[[], None]) -> None:
        """Block until all have arrived.

        Args:
            check: Called now and then; what it raises ends the waiting.

        Raises:
            Exception: What `fail` was given.
        """
        with self._changed:
            while self._places:
                if self._problem is not None:
                    raise self._problem
                check()
                self._changed.wait(0.05)

    def _complete(self, name: str, place: Place, part: Path) -> None:
        if place.sha256 and sha256_of(part) != place.sha256:
            part.unlink()
            raise UnexpectedError(f"'{name[:100]}' with another content")
        part.replace(place.path)
        with self._changed:
            del self._places[name]
            self._changed.notify_all()


def sha256_of(path: Path, check: Callable[[], None] = lambda: None) -> str:
    """Of a file's content, lower-case hex.

    Args:
        path: Of the file.
        check: Called every few megabytes; what it raises stops the work.
    """
    found = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(AT_ONCE):
            check()
            found.update(data)
    return found.hexdigest()


def _part(path: Path) -> Path:
    """Where a file is while it arrives: of this process alone, since two may be sent the same model."""
    return path.with_name(f".{own_name('part').rsplit('-', 1)[0]}-{path.name}")
