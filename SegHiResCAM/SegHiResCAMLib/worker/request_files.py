"""The arrays of a request and of its result, as files in the private folder: stored before it is sent, checked and loaded when it is answered.

Nothing of an answer is believed: its type, the names of its files, their sizes, shapes and types are those that the request leads to, or it is
refused. So whatever computes elsewhere can neither fill the memory nor put another thing in the place of a map.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from SegHiResCAMLib.worker.arrays import array_header, load_array
from SegHiResCAMLib.worker.frames import Place, UnexpectedError
from SegHiResCAMLib.worker.protocol import (
    ANSWERED_BY,
    Explain,
    RemoveRegion,
    Result,
    SegmentVolume,
    Task,
    Voxels,
    numbered,
    result_file,
)

HEADER = 4096
"""Bytes of a .npy file before its values, at most."""

WIDEST = 8
"""Bytes of a value, at most."""


def stored(request: Task, folder: Path, check: Callable[[], None]) -> Task:
    """The request with its arrays in files; see `tidy` for those of earlier requests.

    Raises:
        OSError: They cannot be written; `DiskFull` where there is no room.
    """
    arrays: dict[str, Any] = {
        name: value.stored(folder, check) for name, value in vars(request).items() if isinstance(value, Voxels)
    }
    found = replace(request, **arrays)
    tidy(found, folder)
    return found


def files_of(request: Any) -> set[str]:
    """The files that a stored request names."""
    return {value.file for value in vars(request).values() if isinstance(value, Voxels)}


def tidy(request: Any, folder: Path) -> None:
    """Delete the arrays of earlier requests, now that there is another volume; one that is about a map alone leaves the volume for the next."""
    if getattr(request, "volume", None) is None:
        return
    files = files_of(request)
    for file in folder.glob("volume-*.npy"):
        if file.name not in files:
            file.unlink(missing_ok=True)


def places_of_results(identifier: int, request: Task, folder: Path) -> dict[str, Place]:
    """The files that a stored request can be answered with, and how large they may be."""
    names = _array_names(request)
    if not names:
        return {}
    limit = HEADER + WIDEST * math.prod(_grid(request, folder))
    files = [result_file(identifier, name) for name in names]
    return {file: Place(folder / file, limit) for file in files}


def loaded(identifier: int, request: Task, result: Result, folder: Path, check: Callable[[], None]) -> Result:
    """The result with its arrays, whose files are deleted.

    Raises:
        UnexpectedError: It is not an answer to this request.
        EOFError, OSError: A file is not whole, or cannot be read.
    """
    if type(result.answer) is not ANSWERED_BY[type(request)]:
        raise UnexpectedError(f"an answer of the kind '{result.answer.kind}'")
    expected = {name: result_file(identifier, name) for name in _array_names(request)}
    if any(expected.get(name) != file for name, file in result.files.items()):
        raise UnexpectedError("files of other names")
    files = {name: folder / file for name, file in result.files.items()}
    try:
        arrays = {name: _loaded(file, request, folder, check) for name, file in files.items()}
    finally:
        for file in files.values():
            file.unlink(missing_ok=True)
    return replace(result, files={}, arrays=arrays)


def _loaded(file: Path, request: Task, folder: Path, check: Callable[[], None]) -> Any:
    shape, kind = array_header(file)
    if shape != _grid(request, folder) or kind.kind not in "biuf" or kind.itemsize > WIDEST:
        raise UnexpectedError(f"an array of the shape {shape} and the type {kind}")
    return load_array(file, check)


def _grid(request: Task, folder: Path) -> tuple[int, ...]:
    """Voxels along the axes of the request's volume."""
    assert isinstance(request, SegmentVolume | Explain | RemoveRegion)
    return array_header(folder / request.volume.file)[0][-3:]


def _array_names(request: Task) -> tuple[str, ...]:
    if isinstance(request, SegmentVolume | RemoveRegion):
        return ("labels",)
    if not isinstance(request, Explain):
        return ()
    count = 1 + len(request.further)
    maps = numbered("signed_map", count) + (numbered("deviation", count) if request.question.smooth else ())
    return (*maps, "labels", *numbered("explained", count)) if request.whole else maps
