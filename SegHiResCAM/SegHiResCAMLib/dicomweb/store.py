"""DICOM objects into a PACS (STOW-RS), and a message for what did not arrive there.

A PACS takes one object after the other, so a series can end up in it by halves when a connection breaks. Every object keeps its UID, so storing
again completes what is missing and changes nothing else; every message about an interruption says that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SegHiResCAMLib.dicomweb.pacs import NOTHING_SENT, ArchiveConnection, ArchiveError

AT_ONCE = 32_000_000
"""Bytes of objects that are sent in one request, if it is more than one."""

Progress = Callable[[float, str], None]


@dataclass
class Confirmed:
    """What has arrived.

    Attributes:
        total: Objects that were to be stored.
        uids: SOP Instance UIDs that the PACS has confirmed, by their series.
    """

    total: int
    uids: dict[str, set[str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Objects that have arrived."""
        return sum(map(len, self.uids.values()))


def store_files(archive: ArchiveConnection, files: Sequence[Path], again: str, progress: Progress) -> Confirmed:
    """Store files, until the PACS has confirmed each.

    Args:
        archive: For them.
        files: DICOM files.
        again: The command that repeats this, for messages.
        progress: Called for every request; may raise.

    Raises:
        ArchiveError: `dicomweb-not-stored`, `dicomweb-file`; nothing or a part was stored, and the message says how much.
    """
    stored = Confirmed(len(files))
    done, size = 0, max(sum(file.stat().st_size for file in files), 1)
    try:
        for batch in _batches(files):
            progress(done / size, f"Storing in {archive.host}: {stored.count} of {stored.total} objects")
            _store(archive, [_read(file) for file in batch], stored)
            done += sum(file.stat().st_size for file in batch)
    except ArchiveError as problem:
        if problem.code in NOTHING_SENT:
            raise
        raise ArchiveError("dicomweb-not-stored", f"{problem.message} {_so_far(archive, stored, again)}") from problem
    return stored


def _batches(files: Sequence[Path]) -> Iterator[list[Path]]:
    batch: list[Path] = []
    for file in files:
        if batch and sum(one.stat().st_size for one in [*batch, file]) > AT_ONCE:
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def _read(file: Path) -> Any:
    import pydicom

    try:
        return pydicom.dcmread(file)
    except (OSError, ValueError, pydicom.errors.InvalidDicomError) as problem:
        raise ArchiveError("dicomweb-file", f"'{file}' is not a DICOM file that can be read.") from problem


def _store(archive: ArchiveConnection, datasets: Sequence[Any], stored: Confirmed) -> None:
    with archive.asking():
        answer = archive.client.store_instances(datasets)
        refused = {str(one.ReferencedSOPInstanceUID): one for one in answer.get("FailedSOPSequence", [])}
        confirmed = {str(one.ReferencedSOPInstanceUID) for one in answer.get("ReferencedSOPSequence", [])} - set(
            refused
        )
    for dataset in datasets:
        uid = str(dataset.SOPInstanceUID)
        if uid in confirmed:
            stored.uids.setdefault(str(dataset.SeriesInstanceUID), set()).add(uid)
    missing = [str(one.SOPInstanceUID) for one in datasets if str(one.SOPInstanceUID) not in confirmed]
    if missing:
        reasons = sorted({f"{int(one.get('FailureReason', 0)):04X}" for one in refused.values()})
        why = f" (reason {', '.join(reasons)})" if reasons else ""
        raise ArchiveError("dicomweb-refused", f"'{archive.host}' did not take {len(missing)} objects{why}.")


def _so_far(archive: ArchiveConnection, stored: Confirmed, again: str) -> str:
    return f"'{archive.host}' has confirmed {stored.count} of {stored.total} objects; a series may be incomplete there. Complete it with: {again}"
