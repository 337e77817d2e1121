"""Which classes and functions a pickle names, read without unpickling it."""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 64 << 20
"""Names come early; what follows are numbers."""

# What PyTorch's own checkpoints of tensors name.
_PLAIN = frozenset({"collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"})
_PICKLES = 4
"""Before its content, a checkpoint of PyTorch before 1.6 has a magic number, a version and the machine's sizes, each a pickle."""


def wanted_by(path: Path) -> str | None:
    """The first class or function ("os.system") that a checkpoint would call beyond those that tensors need; None when it names none."""
    return next(
        (name for name in _names(_pickle_in(path)) if name not in _PLAIN and not name.endswith("Storage")), None
    )


def _pickle_in(path: Path) -> bytes:
    """As far as it can be read; empty where an archive is damaged."""
    with path.open("rb") as whole:
        if whole.read(4) != b"PK\x03\x04":
            whole.seek(0)
            return whole.read(MAX_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
            if name is None:
                return b""
            with archive.open(name) as file:
                return file.read(MAX_BYTES)
    except Exception:  # noqa: BLE001 - a damaged archive can fail in any way
        return b""


def _names(data: bytes) -> Iterator[str]:
    """Each "module.name"; newer protocols put the two on the stack, so the last two texts are taken for them."""
    stream = io.BytesIO(data)
    try:
        for _ in range(_PICKLES):
            texts = ["", ""]
            for opcode, argument, _position in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    yield ".".join(str(argument).split(" ", 1))
                elif opcode.name == "STACK_GLOBAL":
                    yield ".".join(texts)
                elif isinstance(argument, str):
                    texts = [texts[1], argument]
    except Exception:  # noqa: BLE001 - whatever follows is no pickle
        return
