"""DICOM files in folders: one case for each series. Nothing of a header becomes a name: identifiers are hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.dicom.files import files_in, read_header
from SegHiResCAMLib.engine.images.dicom.quiet import quiet
from SegHiResCAMLib.engine.images.dicom.series import NOT_IMAGES
from SegHiResCAMLib.records.study import Case

TRIED = 200
"""Files that are looked at before a folder counts as one without DICOM."""

FEWEST = 3
"""Images of a series that can be a volume: fewer are scouts and localisers."""


def is_dicom_tree(folder: Path) -> bool:
    """Whether there is DICOM among the first files."""
    return next(_headers(folder, TRIED), None) is not None


def dicom_cases(folder: Path) -> list[Case]:
    """A case for each series of images; a hash of study and series is its name, so that it is the same in every run.

    Raises:
        EngineError: The folder cannot be read, or holds too many files.
    """
    found: dict[str, list[Path]] = {}
    about: dict[str, tuple[str, str]] = {}
    for path, study, series, modality, frames in _headers(folder):
        if modality not in NOT_IMAGES:
            name = _name(study, series)
            found.setdefault(name, []).extend([path] * frames)
            about[name] = (series, modality)
    return [
        Case(
            name=name,
            images=(str(_common(files)),),
            series=about[name][0] or None,
            groups={"modality": about[name][1]},
            is_hashed=True,
        )
        for name, files in sorted(found.items())
        if len(files) >= FEWEST
    ]


def _headers(folder: Path, most: int | None = None) -> Iterator[tuple[Path, str, str, str, int]]:
    """Of each DICOM file: path, study, series, modality, frames."""
    with quiet():
        for path in islice(files_in(folder, str(folder)), most):
            try:
                header = read_header(path, "A file of the DICOM tree")
            except EngineError:  # a damaged file is missed when its series is read
                continue
            if header is not None and "Rows" in header:
                frames = int(header.get("NumberOfFrames") or 1)
                uids = (str(header.get(key, "")) for key in ("StudyInstanceUID", "SeriesInstanceUID", "Modality"))
                study, series, modality = uids
                yield path, study, series, modality, frames


def _common(files: list[Path]) -> Path:
    """The folder that holds all files of a series."""
    parents = [set(one.parents) for one in files]
    return max(set.intersection(*parents), key=lambda one: len(one.parts))


def _name(study: str, series: str) -> str:
    return f"series-{hashlib.sha256(f'{study} {series}'.encode()).hexdigest()[:16]}"
