"""Arrays as .npy files, written and read a few megabytes at a time, so that either end can stop within moments; numpy only.

A file is there whole or not at all, and a full disk is a message that says how much is missing.
"""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import numpy.typing as npt

AT_ONCE = 2**22
"""Bytes between two calls of `check`: milliseconds, even on a slow disk."""

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class DiskFull(OSError):  # noqa: N818 - says what it is
    """The disk has no room for an array.

    Args:
        folder: Where it was to be written.
        needed: Bytes.
    """

    def __init__(self, folder: Path, needed: int) -> None:
        free = shutil.disk_usage(folder).free
        super().__init__(
            errno.ENOSPC,
            f"The disk of the temporary folder '{folder.parent}' has too little space: {_gigabytes(needed)} are needed and {_gigabytes(free)} "
            "are free. Free some disk space, then try again.",
        )


def go_on() -> None:
    """Never stops."""


def digest(array: npt.NDArray[Any], check: Callable[[], None] = go_on) -> str:
    """A name made of the content: equal for equal voxels of one shape, type and memory order.

    Args:
        array: Any; not copied.
        check: Called every few megabytes; what it raises stops the work.
    """
    head = np.lib.format.header_data_from_array_1_0(array)
    found = blake2b(repr(sorted(head.items())).encode(), digest_size=16)
    for chunk in _chunks(array):
        check()
        found.update(chunk)
    return found.hexdigest()


def save_array(array: npt.NDArray[Any], path: Path, check: Callable[[], None] = go_on) -> None:
    """Write a .npy file, whole or not at all.

    Args:
        array: Any; not copied.
        path: The file.
        check: Called every few megabytes; what it raises stops the work.

    Raises:
        DiskFull: There is no room for it.
        OSError: It cannot be written.
    """
    if array.nbytes > shutil.disk_usage(path.parent).free:
        raise DiskFull(path.parent, array.nbytes)
    beside = path.with_name(f".{uuid4().hex}.npy")
    try:
        with beside.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
            for chunk in _chunks(array):
                check()
                file.write(chunk)
        beside.replace(path)
    except OSError as problem:
        if problem.errno in _FULL:
            beside.unlink(missing_ok=True)  # what is free without it
            raise DiskFull(path.parent, array.nbytes) from problem
        raise
    finally:
        beside.unlink(missing_ok=True)


def load_array(path: Path, check: Callable[[], None] = go_on) -> npt.NDArray[Any]:
    """Read what `save_array` has written.

    Args:
        path: The file.
        check: Called every few megabytes; what it raises stops the work.

    Raises:
        EOFError: The file is not whole.
        OSError: It cannot be read.
        MemoryError: There is no room for it.
    """
    shape, kind, is_fortran, start = _header(path)
    array = np.empty(shape, kind, order="F" if is_fortran else "C")
    flat = array.reshape(-1, order="A").view(np.uint8)
    with path.open("rb") as file:
        file.seek(start)
        for begin in range(0, flat.size, AT_ONCE):
            check()
            wanted = flat[begin : begin + AT_ONCE]
            if file.readinto(wanted.data) != wanted.size:
                raise EOFError(f"{path.name} ends after {file.tell()} bytes")
    return array


def array_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array in a file, which is as long as they say.

    Raises:
        EOFError: The file is not whole, or not a .npy file of numbers.
        OSError: It cannot be read.
    """
    return _header(path)[:2]


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Shape, type, whether in Fortran's order, and where the values begin."""
    with path.open("rb") as file:
        try:
            np.lib.format.read_magic(file)
            shape, is_fortran, kind = np.lib.format.read_array_header_1_0(file)
        except ValueError as problem:
            raise EOFError(str(problem)) from problem
        start = file.tell()
    size = start + math.prod(shape) * kind.itemsize
    if kind.hasobject or min(shape, default=0) < 0 or path.stat().st_size != size:
        raise EOFError(f"{path.name} does not have {size} bytes of numbers")
    return shape, kind, is_fortran, start


def _chunks(array: npt.NDArray[Any]) -> Iterator[memoryview]:
    """The bytes of an array in its memory order where it has one, else row by row, without a copy of the whole."""
    order: Literal["F", "C"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    size = max(1, AT_ONCE // array.itemsize)
    for chunk in np.nditer(array, ["external_loop", "buffered", "zerosize_ok"], buffersize=size, order=order):
        yield np.ascontiguousarray(chunk).view(np.uint8).data


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
