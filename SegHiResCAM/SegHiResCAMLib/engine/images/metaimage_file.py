"""MetaImage volumes (.mha, .mhd), with the values and the place that ITK gives them. Written by ITK.

They are read here because ITK's reader follows a header anywhere, and crashes at some.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from monai.data.utils import affine_to_spacing, orientation_ras_lps

from SegHiResCAMLib.engine.images.header_text import (
    LONGEST_HEADER,
    check_shape,
    numbers,
    pattern_names,
    whole_numbers,
)
from SegHiResCAMLib.engine.images.volume_files import FloatArray, check_affine, damaged, data_file, time_points
from SegHiResCAMLib.engine.images.voxels import Packing, Stored, read_voxels
from SegHiResCAMLib.engine.progress import Progress
from SegHiResCAMLib.engine.regular_files import open_regular

TYPES = {
    "CHAR": "i1",
    "ASCII_CHAR": "i1",
    "UCHAR": "u1",
    "SHORT": "i2",
    "USHORT": "u2",
    "INT": "i4",
    "UINT": "u4",
    "LONG": "i4",  # the format's, whatever a compiler calls long
    "ULONG": "u4",
    "LONG_LONG": "i8",
    "ULONG_LONG": "u8",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}
MAX_AXES = 10

# Several names of one thing; the first that a header has counts.
ORIGINS = ("Offset", "Position", "Origin")
MATRICES = ("TransformMatrix", "Orientation", "Rotation")
BIG_ENDIAN = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
SPACINGS = ("ElementSpacing", "ElementSize")
KNOWN = (
    "ObjectType", "NDims", "DimSize", "ElementType", "ElementNumberOfChannels", "ElementDataFile", "BinaryData", "CompressedData",
    "HeaderSize", *ORIGINS, *MATRICES, *BIG_ENDIAN, *SPACINGS,
)  # fmt: skip


class _Header(NamedTuple):
    fields: dict[str, str]
    listed: list[str]
    length: int


def read_metaimage(path: Path, name: str, progress: Progress) -> tuple[npt.NDArray[np.float32], FloatArray]:
    """The values (C, i, j, k) and the RAS affine.

    Raises:
        EngineError: `file-damaged`, `reference-refused`, `volume-affine-singular`, `volume-has-time-points`,
            those of `read_voxels`.
    """
    header = _read_header(path, name)
    if header.fields.get("ObjectType", "Image") != "Image":
        raise damaged(name, f"it holds an object of the type {header.fields['ObjectType'][:40]!r}, not an image")
    axes = _one(header, "NDims", name)
    if not 1 <= axes <= MAX_AXES:
        raise damaged(name, f"its header gives {axes} axes")
    sizes = whole_numbers(_need(header, "DimSize", name), "DimSize", name)
    check_shape(sizes, name)
    if len(sizes) != axes:
        raise damaged(name, f"its header gives {len(sizes)} sizes for {axes} axes")
    for size in sizes[3:]:
        if size > 1:
            raise time_points(name, size)
    affine = _affine(header, axes, name)
    check_affine(affine, name)
    channels = _one(header, "ElementNumberOfChannels", name, "1")
    check_shape([channels], name)
    shape = (channels, *(*sizes, 1, 1)[:3])
    return read_voxels(_stored(path, header, shape, name), name, progress), affine


def write_metaimage(path: Path, array: npt.NDArray[Any], affine: FloatArray, header: Mapping[str, str]) -> None:
    """(i, j, k) or (C, i, j, k), compressed. Line breaks become spaces: MetaImage cannot hold them."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array.T, isVector=array.ndim == 4)
    lps = orientation_ras_lps(affine)
    spacing = affine_to_spacing(lps)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    for key, value in header.items():
        image.SetMetaData(key, " ".join(value.split()))
    sitk.WriteImage(image, str(path), useCompression=True)


def _read_header(path: Path, name: str) -> _Header:
    """The lines up to `ElementDataFile`, which is the last; behind it, a list of files where it says so."""
    fields: dict[str, str] = {}
    listed: list[str] = []
    with open_regular(path, name) as file:
        while "ElementDataFile" not in fields and (line := file.readline(LONGEST_HEADER - file.tell())):
            text = line.decode("utf-8", "replace").strip()
            parts = re.fullmatch(r"([^=:]+?)\s*[=:]\s*(.*)", text, re.DOTALL)
            if parts is None and text:
                raise damaged(name, f"its header has a line that is not a field: {text[:80]!r}")
            if parts is None:
                continue
            key, value = parts.groups()
            if key in fields and key in KNOWN:
                raise damaged(name, f"its header gives {key!r} twice")
            fields[key] = value
        length = file.tell()
        if re.match(r"LIST\b", fields.get("ElementDataFile", "")):
            rest = file.read(LONGEST_HEADER).decode("utf-8", "replace").splitlines()
            listed = [line.strip() for line in rest if line.strip()]
    if length >= LONGEST_HEADER:
        raise damaged(name, "its header does not end")
    return _Header(fields, listed, length)


def _stored(path: Path, header: _Header, shape: tuple[int, ...], name: str) -> Stored:
    packing: Packing = "raw"
    if _is_true(header, ("CompressedData",)):
        packing = "deflate"
    elif not _is_true(header, ("BinaryData",), "True"):
        packing = "text"
    dtype = _dtype(header, name)
    skipped = _one(header, "HeaderSize", name, "0")
    text = _need(header, "ElementDataFile", name)
    inside = text.upper() == "LOCAL"
    if skipped < -1 or (inside and skipped > 0) or (packing != "raw" and skipped):
        raise damaged(name, f"its header skips {skipped} bytes")
    if inside:
        files, start = [path], header.length
    else:
        if text.startswith("LIST"):
            names = header.listed
        else:
            names = pattern_names(text, "ElementDataFile", name, int(np.prod(shape, dtype=object))) or [text]
        files, start = [data_file(path, one, name) for one in names], max(skipped, 0)
    if not files:
        raise damaged(name, "its list of data files is empty")
    return Stored(tuple(files), shape, (3, 2, 1, 0), dtype, packing, None if skipped == -1 else start)


def _dtype(header: _Header, name: str) -> np.dtype[Any]:
    word = _need(header, "ElementType", name)
    code = TYPES.get(word.removeprefix("MET_").removesuffix("_ARRAY"))
    if code is None or not word.startswith("MET_"):
        raise damaged(name, f"its values are of the type {word[:40]!r}, which is not a number's")
    return np.dtype((">" if _is_true(header, BIG_ENDIAN) else "<") + code)


def _affine(header: _Header, axes: int, name: str) -> FloatArray:
    """RAS affine of an image of up to three axes of space; a plane lies at z = 0 and is 1 mm thick."""
    spacing = numbers(_first(header, SPACINGS, " ".join(["1"] * axes)), "ElementSpacing", name, axes)
    origin = numbers(_first(header, ORIGINS, " ".join(["0"] * axes)), "Offset", name, axes)
    matrix = np.eye(axes)
    if text := _first(header, MATRICES, ""):
        matrix = np.reshape(numbers(text, "TransformMatrix", name, axes * axes), (axes, axes)).T  # a row is an axis
    kept = min(axes, 3)
    lps = np.eye(4)
    lps[:kept, :kept] = (matrix * spacing)[:kept, :kept]
    lps[:kept, 3] = origin[:kept]
    ras: npt.NDArray[np.float64] = orientation_ras_lps(lps)
    return ras


def _first(header: _Header, keys: tuple[str, ...], default: str) -> str:
    return next((header.fields[key] for key in keys if key in header.fields), default)


def _is_true(header: _Header, keys: tuple[str, ...], default: str = "False") -> bool:
    return _first(header, keys, default)[:1] in ("T", "t", "1")


def _one(header: _Header, key: str, name: str, default: str = "") -> int:
    found = whole_numbers(header.fields.get(key, default), key, name)
    if len(found) != 1:
        raise damaged(name, f"its header does not say what {key!r} is")
    return found[0]


def _need(header: _Header, key: str, name: str) -> str:
    if not header.fields.get(key):
        raise damaged(name, f"its header does not say what {key!r} is")
    return header.fields[key]
