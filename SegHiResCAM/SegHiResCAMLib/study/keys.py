"""What tells whether a case has been computed already: a hash of what was asked, and one of what was read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from SegHiResCAMLib.records.explain_job import OWN_REGIONS, ExplainJob
from SegHiResCAMLib.records.explanation import SCHEMA_VERSION
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.study import STUDY_VERSION, Case
from SegHiResCAMLib.version import VERSION
from SegHiResCAMLib.writing.inputs import files_read

AT_ONCE = 2**22
"""Bytes that are read at once."""


def options_key(job: ExplainJob, model: Path, *, with_scene: bool = True) -> str:
    """Hash of everything but a case's own files: what is asked, the content of the model and of a region file for all cases, and this program's version.

    Args:
        job: Whose volumes and path of the model do not count.
        model: The model's file or folder.
        with_scene: Whether figures and scenes are asked for.

    Raises:
        OSError: One of them cannot be read.
    """
    asked = {key: value for key, value in to_json(job).items() if key not in ("volumes", "model", "series")}
    if job.regions not in (None, OWN_REGIONS) and Path(str(job.regions)).exists():
        asked["regions"] = _content_of([str(job.regions)])
    versions = [VERSION, SCHEMA_VERSION, STUDY_VERSION]
    return _hash(json.dumps([asked, with_scene, versions, _content_of([str(model)])], sort_keys=True))


def content_of(case: Case) -> str:
    """Hash of the content of a case's files, and of what each of them is: image, reference or regions.

    Raises:
        OSError: One cannot be read.
    """
    return _hash(json.dumps([_roles(case), _content_of(case.files)]))


def stamp_of(case: Case) -> str:
    """Hash of paths, sizes and times, and of what each is: as long as it stays the same, the content need not be read again."""
    listed = [[str(path), *_size_and_time(path)] for given in case.files for path in _files(Path(given))]
    return _hash(json.dumps([_roles(case), listed, *([case.salt] if case.salt else [])]))


def _roles(case: Case) -> list[object]:
    return [len(case.images), case.reference is not None, case.regions is not None, case.series]


def _content_of(paths: Iterable[str]) -> str:
    """Of files, with what belongs to them, and of folders, with the names inside."""
    total = hashlib.sha256()
    for given in map(Path, paths):
        for path in _files(given):
            name = os.path.relpath(path, given) if given.is_dir() else path.suffix * (path != given)
            total.update(f"\0{name}\0".encode("utf-8", "surrogateescape"))
            with path.open("rb") as file:
                while some := file.read(AT_ONCE):
                    total.update(some)
    return total.hexdigest()


def _files(path: Path) -> list[Path]:
    """All that is read of a file or folder; a file that is not there is listed, too."""
    found = {one for one in files_read(path) if one.is_file()}
    return sorted(found if path.is_dir() else found | {path})


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
