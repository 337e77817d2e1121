"""No output is ever an input: whatever name it goes by, a link, another case, a file in a folder that is read, or the voxels beside a header."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from SegHiResCAMLib.writing.errors import WritingError

_HEADER = 2**16
"""Bytes in which a header names the file of its voxels."""

_REFERENCE = re.compile(rb"(?im)^\s*(?:data ?file:|ElementDataFile\s*=)(.*)", re.DOTALL)
_TOGETHER = (
    {".hdr", ".img", ".hdr.gz", ".img.gz"},
    {".json", ".pt", ".pth", ".ts", ".ckpt", ".safetensors"},
)
"""Endings of files that belong together where the rest of their names is the same."""

_MOST_NAMES = 4096


def check_outputs(
    outputs: Iterable[Path], inputs: Iterable[Path], folders: Iterable[Path] = (), *, beside: bool = True
) -> None:
    """Refuse outputs that are inputs, before anything is computed.

    Args:
        outputs: Files that will be written or removed, whether they exist or not.
        inputs: Files and folders that are read, as the user gave them; what does not exist is not looked at.
        folders: Folders that several files are written into.
        beside: Whether what lies beside an input and belongs to it is read, too.

    Raises:
        WritingError: `output-is-input`.
    """
    read: dict[tuple[int, int], Path] = {}
    for given in inputs:
        for path in files_read(Path(given), beside=beside):
            read.setdefault(_identity(path), Path(given))
    read.pop(_NOWHERE, None)
    for output in outputs:
        source = read.get(_identity(output))
        if source is not None:
            raise WritingError(
                "output-is-input",
                f"Writing '{output}' would overwrite an input ('{source}'). Choose another name or folder for the output.",
            )
    for folder in folders:
        source = read.get(_identity(folder))
        if source is not None:
            raise WritingError(
                "output-is-input",
                f"'{folder}' is an input ('{source}'), so nothing is written into it. Choose another folder for the output.",
            )
        if folder.name == "dicom" and any(_identity(above) in read for above in folder.absolute().parents):
            raise WritingError(
                "output-is-input",
                f"'{folder}' lies inside a folder that is read, and DICOM files there would be read with it. Choose another folder.",
            )


_NOWHERE = (-1, -1)


def _identity(path: Path) -> tuple[int, int]:
    """Of a file or folder on this computer, the same for all its names; that of a path that does not exist is no other's."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return _NOWHERE
    return found.st_dev, found.st_ino


def files_read(path: Path, *, beside: bool = True) -> Iterator[Path]:
    """A file, with those that may belong to it where they count, or a folder with all there is in it, through links as well.

    Not among them: voxels that a NRRD header names by a pattern with numbers.
    """
    yield path
    if path.is_dir():
        seen: set[tuple[int, int]] = set()
        for folder, below, files in os.walk(path, followlinks=True):
            below[:] = [name for name in below if not _is_known(Path(folder, name), seen)]
            yield from (Path(folder, name) for name in [*below, *files])
    elif beside and path.is_file():
        yield from _beside(path)


def _is_known(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder was walked through already: links may lead in circles."""
    identity = _identity(folder)
    known = identity in seen
    seen.add(identity)
    return known


def _beside(path: Path) -> Iterator[Path]:
    name = path.name.lower()
    for endings in _TOGETHER:
        ending = max((one for one in endings if name.endswith(one)), key=len, default="")
        if ending:
            start = path.name[: -len(ending)]
            yield from (path.with_name(start + other) for other in endings)
            yield from (path.with_name(start + other.upper()) for other in endings)
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER)
    except OSError:
        return
    found = _REFERENCE.search(head.partition(b"\n\n")[0] if head.startswith(b"NRRD") else head)
    if found:
        names = {line.strip() for line in found[1].splitlines()} | set(found[1].split())
        for one in list(names)[:_MOST_NAMES]:
            yield path.parent / os.fsdecode(one.replace(b"\0", b""))
