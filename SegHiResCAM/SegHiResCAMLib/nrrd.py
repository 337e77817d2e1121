"""NRRD files: an array, where it lies, and what is to be known of it; may import numpy only, since every room writes them.

They are written some slices at a time. So a thread that writes leaves the interpreter to others nearly all the time, and can be stopped
in between. The format: http://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FAST = 1
"""zlib's level: higher ones make floats hardly smaller, and take a multiple of the time."""

AT_ONCE = 2**22
"""Bytes that are packed at once: tenths of a second at most, and not so few that a thread has to ask for the interpreter all the time."""

LONGEST_HEADER = 2**20
"""Bytes of a header that are read: a record of a heat map takes some thousands."""

_GZIP = 16 + zlib.MAX_WBITS
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_nrrd(
    path: Path,
    array: npt.NDArray[Any],
    affine: npt.NDArray[np.float64],
    header: Mapping[str, str],
    *,
    first_axis: str = "vector",
    written: Callable[[float], None] = lambda _fraction: None,
) -> None:
    """Write a file, compressed.

    Args:
        path: The file; half of it is there when `written` raises.
        array: (i, j, k), or (C, i, j, k); whole numbers or floats of up to 64 bits.
        affine: (4, 4) from voxel indices to RAS millimetres, kept to the last digit.
        header: Key-value pairs; line breaks become spaces, as in MetaImage, which cannot hold them.
        first_axis: What the axis C is: "vector" for components of a value, "list" for several images.
        written: Called with the fraction that is written.
    """
    array = np.asarray(array)
    packer = zlib.compressobj(FAST, zlib.DEFLATED, _GZIP)
    with path.open("wb") as file:
        file.write(_header(array, affine, header, first_axis).encode())
        slices = array.shape[-1]
        step = max(1, AT_ONCE * slices // max(1, array.nbytes))
        for start in range(0, slices, step):
            some = array[..., start : start + step].T  # the first axis runs fastest
            file.write(packer.compress(np.ascontiguousarray(some, array.dtype.newbyteorder("<")).data))
            written(min(start + step, slices) / slices)
        file.write(packer.flush())


def read_pairs(path: Path) -> dict[str, str]:
    """The key-value pairs in a file's header; none for a file that is no NRRD, cannot be read, or has a header that does not end."""
    pairs: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            if not file.readline(16).startswith(b"NRRD"):
                return {}
            while line := file.readline(LONGEST_HEADER - file.tell()):
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                if not text:
                    return pairs
                key, sign, value = text.partition(":=")
                if sign and not key.startswith("#"):
                    pairs[key] = re.sub(r"\\(.)", lambda escaped: "\n" if escaped[1] == "n" else escaped[1], value)
    except OSError:
        pass
    return {}


def _header(array: npt.NDArray[Any], affine: npt.NDArray[np.float64], pairs: Mapping[str, str], first_axis: str) -> str:
    lps = _TO_LPS @ np.asarray(affine, np.float64)
    several = array.ndim == 4
    directions = [*(["none"] if several else []), *(_vector(lps[:3, axis]) for axis in range(3))]
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        f"type: {_type(array)}",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, array.shape))}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {' '.join([*([first_axis] if several else []), 'domain', 'domain', 'domain'])}",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(lps[:3, 3])}",
        *(f"{key}:={_escaped(value)}" for key, value in pairs.items()),
    ]
    return "\n".join([*lines, "", ""])


def _vector(values: npt.NDArray[np.float64]) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"


def _type(array: npt.NDArray[Any]) -> str:
    """The format's name of a type: that of numpy, but for floats."""
    return {"float32": "float", "float64": "double"}.get(array.dtype.name, array.dtype.name)


def _escaped(text: str) -> str:
    return " ".join(text.splitlines()).replace("\\", "\\\\")
