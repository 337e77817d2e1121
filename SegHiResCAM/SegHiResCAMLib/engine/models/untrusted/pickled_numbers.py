"""NumPy's scalars in checkpoints, read by code of our own.

Training programs keep scores beside the weights, often as NumPy scalars, whose pickles call functions of NumPy and of `codecs`. What
stands for these functions here makes numbers and nothing else.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np


class _Kind:
    """Stands for `numpy.dtype`: a number of at most 8 bytes, or it is refused."""

    def __init__(self, kind: object, *_: object) -> None:
        if not isinstance(kind, str) or not re.fullmatch(r"[iuf][1248]|b1", kind):
            message = f"GLOBAL numpy.dtype({str(kind)[:40]!r}) is not a plain number"
            raise pickle.UnpicklingError(message)
        self.name = kind
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _number(kind: object, data: object = b"") -> float | int | bool:
    """Stands for `numpy._core.multiarray.scalar`."""
    if not isinstance(kind, _Kind) or not isinstance(data, bytes) or len(data) != int(kind.name[1:]):
        message = "a NumPy scalar without its bytes"
        raise pickle.UnpicklingError(message)
    value: float | int | bool = np.frombuffer(data, f"{kind.order}{kind.name}")[0].item()
    return value


def _bytes(text: object, encoding: object = "latin1") -> bytes:
    """Stands for `_codecs.encode`, which older pickles write bytes with."""
    if not isinstance(text, str) or encoding != "latin1":
        message = f"GLOBAL _codecs.encode({str(encoding)[:40]!r})"
        raise pickle.UnpicklingError(message)
    return text.encode("latin1")


STAND_INS: list[tuple[Callable[..., Any], str]] = [
    (_Kind, "numpy.dtype"),
    (_number, "numpy._core.multiarray.scalar"),
    (_number, "numpy.core.multiarray.scalar"),
    (_bytes, "_codecs.encode"),
]
"""For `torch.serialization.safe_globals`."""
