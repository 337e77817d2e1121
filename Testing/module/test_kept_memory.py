"""Memory that is freed stays with a process that asked for it, and only with that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import SegHiResCAMLib
from SegHiResCAMLib.kept_memory import _glibc

LIBRARY = Path(SegHiResCAMLib.__file__).parent.parent

TOUCH = """
import ctypes, resource, sys
from SegHiResCAMLib.kept_memory import keep_memory, release_memory
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def faults(blocks=20, size=40 * 2**20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        block = library.malloc(ctypes.c_size_t(size))
        ctypes.memset(block, 1, size)
        library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
"""
"""How many pages the kernel hands out for blocks as large as tensors, each written to and freed."""

pytestmark = pytest.mark.skipif(_glibc() is None, reason="memory is kept on glibc only")


def run(code: str) -> list[int]:
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    found = subprocess.run(
        [sys.executable, "-c", TOUCH + code], capture_output=True, text=True, env=environment, check=True
    )
    return [int(word) for word in found.stdout.split()]


def test_kept_pages_are_not_asked_for_again() -> None:
    untouched, kept = run("first = faults(); assert keep_memory(); faults(1); print(first, faults())")
    assert untouched >= 20 * 20  # of 2 MiB at least; mostly they have 4 KiB
    assert kept < untouched / 20


def test_what_is_free_can_be_given_back() -> None:
    before, kept, released = run(
        "keep_memory(); print(resident()); faults(); print(resident()); release_memory(); print(resident())"
    )
    assert kept - before > 35 * 2**20
    assert released - before < 5 * 2**20


def test_importing_the_library_changes_nothing() -> None:
    code = "import SegHiResCAMLib.kept_memory, SegHiResCAMLib.cli, SegHiResCAMLib.worker.server; print(resident()); faults(); print(resident())"
    before, after = run(code)
    assert after - before < 5 * 2**20
