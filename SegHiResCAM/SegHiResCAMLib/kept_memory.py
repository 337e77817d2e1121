"""Memory that stays with a process which computes, in place of going to and fro between it and the operating system.

glibc asks Linux for fresh pages for every large tensor and returns them with it, and Linux clears each page that it hands out: up to half of the time
that a network takes on a CPU. Where pages are kept, the next tensor of that size finds them.

Only a process whose owner wants it is changed: the worker, the command, and an API user's own by `seghirescam.keep_memory`. PyTorch for
Windows brings an allocator of its own (mimalloc) for this. Neither Windows nor macOS was measured, and nothing is changed there.
"""

from __future__ import annotations

import ctypes
import os

_M_MMAP_MAX, _M_TRIM_THRESHOLD, _M_TOP_PAD = -4, -1, -2
"""Names of settings, from glibc's malloc.h."""

_SETTINGS = (
    (_M_MMAP_MAX, 0),  # large blocks lie in the heap, so that they are not unmapped when they are freed
    (_M_TRIM_THRESHOLD, 2**31 - 1),  # and the heap does not shrink: the largest number that fits
    (_M_TOP_PAD, 64 * 2**20),  # bytes by which it grows beyond what is needed
)


def keep_memory() -> bool:
    """Let this process keep the memory that tensors free, which makes networks on a CPU faster on Linux.

    Call it once, before the first tensors are made. The process then holds on to as much memory as it ever needed at once, and other
    processes can only have it when it ends; `release_memory` gives back what is free.

    Returns:
        Whether anything was changed: False where the C library is not glibc.
    """
    library = _glibc()
    return library is not None and [library.mallopt(*setting) for setting in _SETTINGS] == [1, 1, 1]


def release_memory() -> None:
    """Give back what is free at the moment, where glibc manages memory. Takes milliseconds; what is needed again costs its pages again."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(ctypes.c_size_t(0))


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc."""
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return None
    except (AttributeError, ValueError, OSError):  # not on Windows; a name that macOS and musl do not know
        return None
    return ctypes.CDLL(None)
