"""A series from a PACS into a folder, complete and unchanged, or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from SegHiResCAMLib.dicomweb.pacs import ArchiveConnection, ArchiveError

UID = re.compile(r"[0-9]+(\.[0-9]+){2,}")
LONGEST_UID = 64

NO_IMAGES = (
    "SEG",
    "SR",
    "PR",
    "KO",
    "RTSTRUCT",
    "RTPLAN",
    "RTDOSE",
    "REG",
    "DOC",
    "AU",
    "ECG",
    "M3D",
    "SMR",
    "RWV",
    "FID",
)
"""Modalities of series that have no volume."""

MOST_INSTANCES = 50_000

STUDY, SERIES, MODALITY, COUNT = "0020000D", "0020000E", "00080060", "00201209"
"""Tags, as DICOM JSON writes them."""

Progress = Callable[[float, str], None]


def is_uid(text: str) -> bool:
    """Whether a text is the UID of a study or a series."""
    return len(text) <= LONGEST_UID and UID.fullmatch(text) is not None


def fetch_series(archive: ArchiveConnection, uid: str, series: str | None, folder: Path, progress: Progress) -> None:
    """Bring a series here, as the PACS has it: neither decompressed nor converted.

    Args:
        archive: Which has it.
        uid: Of a study or of a series.
        series: UID of a series of the study, where that has several.
        folder: For the files; it exists and is empty.
        progress: Called for every instance; may raise.

    Raises:
        ArchiveError: `dicomweb-unknown-uid`, `dicomweb-several-series`, `dicomweb-incomplete`, `dicomweb-disk`, and those of `asking`.
    """
    progress(0.0, f"Looking in {archive.host}")
    study, series, expected = _found(archive, uid, series)
    count = 0
    with archive.asking():
        for dataset in archive.client.iter_series(study, series, media_types=(("application/dicom", "*"),)):
            if str(dataset.get("SeriesInstanceUID")) != series or count >= MOST_INSTANCES:
                raise ValueError("another series")
            archive.session.object_came()
            count += 1
            _save(dataset, folder / f"{count:06}.dcm")
            progress(
                min(count / max(expected, count), 1.0),
                f"Fetching from {archive.host}: {count} images",
            )
    if count < expected or not count:
        message = f"Of {expected} images of the series {series}, '{archive.host}' sent {count}, so the series is not used. Try again."
        raise ArchiveError("dicomweb-incomplete", message)


def _found(archive: ArchiveConnection, uid: str, series: str | None) -> tuple[str, str, int]:
    """UIDs of study and series, and how many instances that has; 0 where the PACS does not say."""
    fields = ["Modality", "NumberOfSeriesRelatedInstances"]
    with archive.asking():
        client = archive.client
        found = client.search_for_series(search_filters={"SeriesInstanceUID": series or uid}, fields=fields)
        if not found and series is None:
            found = client.search_for_series(study_instance_uid=uid, fields=fields)
            found = [one for one in found if _value(one, MODALITY) not in NO_IMAGES]
        listed = [
            (str(_value(one, STUDY) or uid), str(_value(one, SERIES)), int(_value(one, COUNT) or 0), one)
            for one in found
        ]
        if not all(is_uid(text) for one in listed for text in one[:2]):
            raise ValueError("a UID that is none")
    if not listed:
        message = f"'{archive.host}' has no study and no series of images with the UID {series or uid}. Check it, and that you may see it there."
        raise ArchiveError("dicomweb-unknown-uid", message)
    if len(listed) > 1:
        lines = ", ".join(
            f"{one} ({str(_value(content, MODALITY))[:16]}, {count} images)" for _, one, count, content in listed[:20]
        )
        message = f"The study {uid} has {len(listed)} series of images: {lines}. Choose one with --series."
        raise ArchiveError("dicomweb-several-series", message)
    return listed[0][:3]


def _value(content: Any, tag: str) -> Any:
    values = content.get(tag, {}).get("Value", [])
    return values[0] if values else None


def _save(dataset: Any, path: Path) -> None:
    try:
        dataset.save_as(path, enforce_file_format=True)
    except OSError as problem:
        free = shutil.disk_usage(path.parent).free
        message = f"The series cannot be written to the temporary folder '{path.parent.parent}' ({problem.strerror}; {free / 1e9:.1f} GB are free). Free some space there."
        raise ArchiveError("dicomweb-disk", message) from problem
