"""Readers that fail in every way the harness has to survive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def dies(_folder: Path, _data: bytes) -> None:
    os.abort()


def raises(_folder: Path, _data: bytes) -> None:
    raise ValueError


def takes_memory(_folder: Path, _data: bytes) -> None:
    held = bytearray(b"1") * (384 << 20)
    time.sleep(len(held))


def reads(_folder: Path, _data: bytes) -> None:
    """Whatever it is."""


READERS: dict[str, tuple[Callable[[Path, bytes], None], Callable[[], list[bytes]]]] = {
    "dies": (dies, list),
    "raises": (raises, list),
    "takes memory": (takes_memory, list),
    "reads": (reads, list),
}
