"""What kind of file it is, told from its first bytes; names and extensions lie."""

from __future__ import annotations

import re
from pathlib import Path

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.gzip_stream import first_bytes
from SegHiResCAMLib.engine.regular_files import open_regular

HEAD = 512
"""Bytes that every signature below fits in."""

KINDS: dict[str, re.Pattern[bytes]] = {
    # DICOM comes first: its first 128 bytes are free, and some writers put a TIFF header there.
    "dicom": re.compile(rb".{128}DICM", re.DOTALL),
    "nifti": re.compile(rb".{344}n\+1\0|.{4}n\+2\0", re.DOTALL),
    "nifti-pair": re.compile(rb".{344}ni1\0|.{4}ni2\0", re.DOTALL),
    "nrrd": re.compile(rb"NRRD000\d"),
    "metaimage": re.compile(rb"\s*(ObjectType|NDims|Comment|Name|ID)\s*="),
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "tiff": re.compile(rb"II\*\0|MM\0\*"),
    "bmp": re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL),
    # A data set without its 128-byte preamble opens with an element of group 0002 or 0008.
    "dicom-bare": re.compile(rb"[\x02\x08]\0[\x00-\x20]\0([A-Z]{2}|.\0\0\0)", re.DOTALL),
}

NOT_IMAGES: dict[re.Pattern[bytes], tuple[str, str]] = {
    re.compile(rb"version https://git-lfs"): (
        "file-is-lfs-pointer",
        "is a Git LFS pointer, a short text that stands for the real file. Fetch the file itself with `git lfs pull`.",
    ),
    re.compile(rb"PK\x03\x04|\xfd7zXZ|7z\xbc\xaf|Rar!|BZh|.{257}ustar", re.DOTALL): (
        "file-is-archive",
        "is an archive. Unpack it and give the folder or the image inside.",
    ),
}


def kind_of(path: Path, name: str) -> str:
    """The kind of the file at `path`, a key of `KINDS`.

    Args:
        path: A file that exists.
        name: The file as the user gave it, for messages.

    Raises:
        EngineError: `file-empty`, `file-unreadable`, `file-not-regular`, `file-damaged` (a gzip stream that breaks off at
            once), `file-is-lfs-pointer`, `file-is-archive`, `file-kind-unknown`.
    """
    head, zipped = _head(path, name)
    for kind, signature in KINDS.items():
        # Only NIfTI is read through gzip: the others compress inside their own container.
        if signature.match(head) and (not zipped or kind in ("nifti", "nifti-pair")):
            return kind
    for signature, (code, message) in NOT_IMAGES.items():
        if signature.match(head):
            raise EngineError(code, f"{name} {message}")
    raise EngineError(
        "file-kind-unknown",
        f"{name} is not an image in a supported format. Give NIfTI, NRRD, MetaImage (.mha, .mhd), DICOM (a folder or "
        "a file), PNG, JPEG, TIFF or BMP.",
    )


def is_dicom(head: bytes) -> bool:
    """Whether a file starts like DICOM, with or without the preamble. `head`: its first `HEAD` bytes."""
    return any(KINDS[kind].match(head) for kind in ("dicom", "dicom-bare"))


def _head(path: Path, name: str) -> tuple[bytes, bool]:
    """The first bytes, decompressed where the file is gzip, and whether it is."""
    with open_regular(path, name) as file:
        head, packed = first_bytes(file, HEAD, name)
    if not head:
        raise EngineError("file-empty", f"{name} is empty (0 bytes). Copy or export it again.")
    return head, packed
