"""NRRD volumes, with the values and the place that ITK gives them; read here because ITK's reader follows a header anywhere.

`nrrd_header` takes the header apart, `voxels` reads what it describes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.data.utils import orientation_ras_lps

from SegHiResCAMLib.engine.images.header_text import check_shape, numbers, pattern_names, whole_numbers
from SegHiResCAMLib.engine.images.nrrd_header import NrrdHeader, read_nrrd_header
from SegHiResCAMLib.engine.images.volume_files import (
    FloatArray,
    check_affine,
    complex_numbers,
    damaged,
    data_file,
    no_place,
    time_points,
)
from SegHiResCAMLib.engine.images.voxels import AT_ONCE, Packing, Stored, read_voxels
from SegHiResCAMLib.engine.progress import Progress
from SegHiResCAMLib.engine.regular_files import open_regular

TYPES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
"""The format's names of types, by numpy's."""

PACKINGS: dict[str, Packing] = {
    "raw": "raw",
    "gzip": "deflate",
    "gz": "deflate",
    "bzip2": "bzip2",
    "bz2": "bzip2",
    "text": "text",
    "txt": "text",
    "ascii": "text",
    "hex": "hex",
}
DOMAIN = ("domain", "space", "time")
UNKNOWN = ("???", "none", "")
MAX_AXES = 16

# To left-posterior-superior, where the space says by its name how it lies; as ITK, all others are taken for that one.
FLIPS = {
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
KNOWN_SPACES = (*FLIPS, "left-posterior-superior", "lps")


def read_nrrd(path: Path, name: str, progress: Progress) -> tuple[npt.NDArray[np.float32], FloatArray, bool]:
    """The values (C, i, j, k), the RAS affine, and whether the file says how its axes lie in the patient.

    Components of a value, and the images of a list, are channels.

    Raises:
        EngineError: `file-damaged`, `reference-refused`, `volume-affine-singular`, `volume-has-time-points`,
            `volume-complex`, those of `read_voxels`.
    """
    header = read_nrrd_header(path, name)
    sizes = whole_numbers(_need(header, "sizes", name), "sizes", name)
    check_shape(sizes, name)
    if len(sizes) > MAX_AXES or [len(sizes)] != whole_numbers(_need(header, "dimension", name), "dimension", name):
        raise damaged(name, f"its header gives {len(sizes)} sizes for dimension {header.fields['dimension'][:20]!r}")
    vectors = _vectors(header, len(sizes), name)
    domain, channels = _axes(header, vectors, sizes, name)
    affine, placed = _affine(header, vectors, domain, name)
    check_affine(affine, name)

    # (C, i, j, k), and which of these each axis of the file is, the slowest first. Axes of one voxel may stand anywhere.
    shape = [1, 1, 1, 1]
    for axis, position in enumerate(domain, start=1):
        shape[axis] = sizes[position]
    shape[0] = sizes[channels] if channels is not None else 1
    places = {position: axis for axis, position in enumerate(domain, start=1)} | (
        {channels: 0} if channels is not None else {}
    )
    used = [places[position] for position in sorted(places, reverse=True)]
    order = (*(axis for axis in range(4) if axis not in used), *used)

    stored = _stored(path, header, tuple(shape), order, name, progress)
    return read_voxels(stored, name, progress), affine, placed


def _stored(
    path: Path, header: NrrdHeader, shape: tuple[int, ...], order: tuple[int, ...], name: str, progress: Progress
) -> Stored:
    word = _need(header, "encoding", name).lower()
    packing = PACKINGS.get(word)
    if packing is None:
        raise damaged(name, f"its voxels are packed by {word[:40]!r}, which is not one of the format's encodings")
    files: tuple[Path, ...] = (path,)
    start = header.length
    if "datafile" in header.fields:
        files, start = tuple(data_file(path, one, name) for one in _data_files(header, shape, name)), 0
    lines, count = (_skip(header, field, name) for field in ("lineskip", "byteskip"))
    if lines < 0 or count < -1 or (count == -1 and packing != "raw") or (lines and len(files) > 1):
        raise damaged(name, f"its header skips {lines} lines and {count} bytes")
    if lines:
        start = _behind_lines(files[0], start, lines, name, progress)
    dtype = _dtype(header, packing, name)
    if count == -1:
        return Stored(files, shape, order, dtype, packing, None)
    if packing in ("deflate", "bzip2"):
        return Stored(files, shape, order, dtype, packing, start, count)
    return Stored(files, shape, order, dtype, packing, start + count)


def _data_files(header: NrrdHeader, shape: tuple[int, ...], name: str) -> list[str]:
    """The names in `data file`: one, those of a list, or those of a pattern."""
    text = header.fields["datafile"]
    if re.fullmatch(r"LIST(\s+[0-9]{1,2})?", text, re.IGNORECASE):
        if not header.listed:
            raise damaged(name, "its list of data files is empty")
        return list(header.listed)
    return pattern_names(text, "data file", name, int(np.prod(shape, dtype=object))) or [text]


def _dtype(header: NrrdHeader, packing: Packing, name: str) -> np.dtype[Any]:
    word = " ".join(_need(header, "type", name).lower().split())
    code = next((code for code, words in TYPES.items() if word in words.split(", ")), None)
    if code is None:
        raise damaged(name, f"its values are of the type {word[:40]!r}, which is not a number's")
    endian = header.fields.get("endian", "" if code[1] != "1" and packing != "text" else "little").lower()
    if endian not in ("little", "big"):
        raise damaged(name, f"its header gives the byte order {endian[:40]!r}, which is neither little nor big")
    return np.dtype({"little": "<", "big": ">"}[endian] + code)


def _axes(
    header: NrrdHeader, vectors: list[FloatArray | None], sizes: list[int], name: str
) -> tuple[list[int], int | None]:
    """Axes of the file that are axes of space, at most three, and the one that counts channels, if there is one."""
    kinds = header.fields.get("kinds", "").lower().split() or ["???"] * len(sizes)
    if len(kinds) != len(sizes):
        raise damaged(name, f"its header gives {len(kinds)} kinds for {len(sizes)} axes")
    if "complex" in kinds:
        raise complex_numbers(name)
    placed = any(vector is not None for vector in vectors)
    # An axis that lies nowhere, in a file that says where the others lie, is not one of space.
    inside = [
        kind in DOMAIN or (kind in UNKNOWN and not (placed and vector is None))
        for kind, vector in zip(kinds, vectors, strict=True)
    ]
    domain = [axis for axis, one in enumerate(inside) if one]
    others = [axis for axis, one in enumerate(inside) if not one]
    times = [axis for axis in domain if kinds[axis] == "time" or axis in domain[3:]]
    for axis in times:
        if sizes[axis] > 1:
            raise time_points(name, sizes[axis])
    domain = [axis for axis in domain if axis not in times]
    if not domain or len(others) > 1:
        raise damaged(name, f"it has {len(domain)} axes of space and {len(others)} others, which are not one volume")
    return domain, others[0] if others else None


def _affine(
    header: NrrdHeader, vectors: list[FloatArray | None], domain: list[int], name: str
) -> tuple[FloatArray, bool]:
    """The RAS affine, and whether the file says how its axes lie in the patient."""
    lps = np.eye(4)
    count = len(domain)
    if not any(vectors[axis] is not None for axis in domain):
        spacing, origin = _along_axes(header, len(vectors), name)
        if header.fields.get("space") and ("spacings" in header.fields or "spaceorigin" in header.fields):
            raise no_place(name)  # a space without directions
        lps[range(count), range(count)] = [spacing[axis] for axis in domain]
        lps[:count, 3] = [origin[axis] for axis in domain]
        return orientation_ras_lps(lps), False
    columns = [vectors[axis] for axis in domain]
    if any(column is None or len(column) != count for column in columns):
        raise no_place(name)
    lps[:count, :count] = np.transpose(columns)  # type: ignore[arg-type]
    if "spaceorigin" in header.fields:
        found = _vector(header.fields["spaceorigin"], "space origin", name)
        if found is None or len(found) != count:
            raise no_place(name)
        lps[:count, 3] = np.nan_to_num(found)
    space = re.sub(r"-time$|t$", "", header.fields.get("space", "").lower())
    lps[:3] *= np.reshape(FLIPS.get(space, (1, 1, 1)), (3, 1))
    return orientation_ras_lps(lps), space in KNOWN_SPACES


def _along_axes(header: NrrdHeader, count: int, name: str) -> tuple[FloatArray, FloatArray]:
    """Voxel size and first voxel's centre along each axis, of a file that gives no directions: 1 and 0 where it does not say."""

    def field(key: str) -> FloatArray:
        text = header.fields.get(key)
        return np.full(count, np.nan) if text is None else np.array(numbers(text, key, name, count))

    spacing, first, last = field("spacings"), field("axismins"), field("axismaxs")
    centres = (header.fields.get("centers") or header.fields.get("centerings") or "").lower().split()
    node = np.array([*(one == "node" for one in centres), *[False] * count][:count])
    sizes = np.array(whole_numbers(header.fields["sizes"], "sizes", name), float)
    step = np.where(np.isfinite(spacing), spacing, (last - first) / np.maximum(np.where(node, sizes - 1, sizes), 1))
    origin = first + np.where(node, 0, step / 2)
    known = np.isfinite(origin).all()
    return np.where(np.isfinite(spacing), spacing, 1.0), origin if known else np.zeros(count)


def _vectors(header: NrrdHeader, count: int, name: str) -> list[FloatArray | None]:
    """The direction of each axis; None where it has none."""
    text = header.fields.get("spacedirections")
    if text is None:
        return [None] * count
    words = re.findall(r"\([^()]*\)|[^\s()]+", text)
    if len(words) != count:
        raise damaged(name, f"its header gives {len(words)} space directions for {count} axes")
    return [_vector(word, "space directions", name) for word in words]


def _vector(text: str, what: str, name: str) -> FloatArray | None:
    if text.lower() == "none":
        return None
    if not (text.startswith("(") and text.endswith(")")):
        raise damaged(name, f"its header has {text[:40]!r} for {what}, which is not a vector")
    parts = text[1:-1].split(",")
    found = np.array(numbers(" ".join(parts), what, name, len(parts)))
    return None if np.isnan(found).all() else found


def _skip(header: NrrdHeader, field: str, name: str) -> int:
    found = whole_numbers(header.fields.get(field, "0"), field, name)
    return found[0] if len(found) == 1 else -2


def _behind_lines(path: Path, start: int, lines: int, name: str, progress: Progress) -> int:
    """Where that many lines of a file end, of which the first begins at `start`."""
    with open_regular(path, name) as file:
        file.seek(start)
        while piece := file.read(AT_ONCE):
            progress(0.0, "Reading")
            ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n"))
            if len(ends) >= lines:
                return start + int(ends[lines - 1]) + 1
            lines -= len(ends)
            start += len(piece)
    raise damaged(name, f"its header skips {lines} lines more than there are")


def _need(header: NrrdHeader, field: str, name: str) -> str:
    if not header.fields.get(field):
        raise damaged(name, f"its header does not say what {field!r} is")
    return header.fields[field]
