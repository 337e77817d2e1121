"""Volumes from a PACS, and results into it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from SegHiResCAMLib.cli.application import app
from SegHiResCAMLib.cli.console import answer, job, print_json
from SegHiResCAMLib.cli.options import INPUT, RESULTS, JsonOption
from SegHiResCAMLib.cli.progress_report import Report
from SegHiResCAMLib.user_error import UserError

DicomWebOption = Annotated[
    str | None,
    typer.Option(
        "--dicomweb",
        metavar="URL",
        help="A PACS: VOLUME is then the UID of a study or series, and --store stores there.",
        rich_help_panel=INPUT,
    ),
]
StoreOption = Annotated[
    bool,
    typer.Option(
        "--store",
        help="Write DICOM, too, and store it in the PACS of --dicomweb.",
        rich_help_panel=RESULTS,
    ),
]


@contextmanager
def volumes_here(
    volumes: Sequence[str], url: str | None, series: str | None, progress: Report, *, store: bool = False
) -> Iterator[list[str]]:
    """The volumes as paths: those that are UIDs are fetched from the PACS, into a private folder, for the time of the block.

    Raises:
        UserError: `dicomweb-missing`, `dicomweb-unused`, and those of `fetch_series`.
    """
    from SegHiResCAMLib.dicomweb.fetch import fetch_series, is_uid
    from SegHiResCAMLib.dicomweb.pacs import ArchiveConnection
    from SegHiResCAMLib.engine.progress import part
    from SegHiResCAMLib.writing.temporary import temporary_folder

    uids = [one for one in volumes if is_uid(one) and not Path(one).exists()]
    if url is None:
        if store:
            raise UserError("dicomweb-missing", "--store needs the address of a PACS. Give it with --dicomweb.")
        yield list(volumes)
        return
    if not uids and not store:
        message = (
            "--dicomweb names a PACS, but nothing is fetched or stored. Give a UID in place of a file, or add --store."
        )
        raise UserError("dicomweb-unused", message)
    archive = ArchiveConnection(url)
    with temporary_folder("dicomweb") as folder:
        places = {uid: folder / str(number) for number, uid in enumerate(dict.fromkeys(uids), start=1)}
        for number, (uid, place) in enumerate(places.items()):
            place.mkdir()
            share = part(progress, number / len(places), (number + 1) / len(places))
            fetch_series(archive, uid, series, place, share)
        yield [str(places.get(one, one)) for one in volumes]


def store_objects(files: Sequence[Path], folder: Path, url: str) -> int:
    """Store DICOM files of a result; how many there were.

    Args:
        files: To store.
        folder: Of the result, which is stored again after an interruption.
        url: Of the PACS.
    """
    again = shlex.join(["seghirescam", "store", str(folder), "--dicomweb", url])
    with job(f"Cancelled while storing: a series may be incomplete in the PACS. Complete it with: {again}") as progress:
        from SegHiResCAMLib.dicomweb.pacs import ArchiveConnection
        from SegHiResCAMLib.dicomweb.store import store_files

        stored = store_files(ArchiveConnection(url), files, again, progress)
    return stored.count


@app.command(epilog="Example: seghirescam store why-tumour --dicomweb https://pacs.hospital.org/dicom-web")
def store(
    result: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a result with DICOM objects.")],
    dicomweb: Annotated[str, typer.Option("--dicomweb", metavar="URL", help="Address of the PACS's DICOMweb service.")],
    as_json: JsonOption = False,
) -> None:
    """Store the DICOM objects of a result in a PACS; those that are there already stay as they are."""
    with job():
        files = sorted(result.rglob("*.dcm"))
        if not files:
            raise UserError(
                "dicomweb-nothing", f"'{result}' has no DICOM objects. Explain with --dicom or --store first."
            )
    count = store_objects(files, result, dicomweb)
    if as_json:
        print_json({"stored": count, "files": [str(file) for file in files]})
        return
    answer.print(f"Stored: {count} DICOM objects.")
