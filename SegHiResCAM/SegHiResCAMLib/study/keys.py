"""What tells whether a case has been computed already: a hash of what was asked, and one of what was read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from SegHiResCAMLib.records.explain_job import ExplainJob
from SegHiResCAMLib.records.explanation import SCHEMA_VERSION
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.study import STUDY_VERSION
from SegHiResCAMLib.version import VERSION

AT_ONCE = 2**22
"""Bytes that are read at once."""


def options_key(job: ExplainJob, model: Path) -> str:
    """Hash of everything but a case's own files: what is asked, the content of the model and of a region file for all cases, and this program's version.

    Args:
        job: Whose volumes and path of the model do not count.
        model: The model's file or folder.

    Raises:
        OSError: One of them cannot be read.
    """
    asked = {key: value for key, value in to_json(job).items() if key not in ("volumes", "model", "series")}
    if job.regions is not None and Path(job.regions).exists():
        asked["regions"] = content_of([job.regions])
    versions = [VERSION, SCHEMA_VERSION, STUDY_VERSION]
    return _hash(json.dumps([asked, versions, content_of([str(model)])], sort_keys=True))


def content_of(paths: Iterable[str]) -> str:
    """Hash of the content of files and folders, with the names inside of folders.

    Raises:
        OSError: One cannot be read.
    """
    total = hashlib.sha256()
    for given in paths:
        for path in _files(Path(given)):
            total.update(
                f"\0{path.relative_to(given).as_posix() if path != Path(given) else ''}\0".encode("utf-8", "replace")
            )
            with path.open("rb") as file:
                while some := file.read(AT_ONCE):
                    total.update(some)
    return total.hexdigest()


def stamp_of(paths: Iterable[str]) -> str:
    """Hash of paths, sizes and times: as long as it stays the same, the content need not be read again."""
    return _hash(json.dumps([[str(path), *_size_and_time(path)] for given in paths for path in _files(Path(given))]))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for parent, folders, names in os.walk(path):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
