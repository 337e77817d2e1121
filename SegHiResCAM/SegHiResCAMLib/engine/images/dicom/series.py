"""DICOM folders and files: which slices belong together.

A folder, with its subfolders and whatever else lies in it, is read as one series. A file is read alone: a slice of a
series gives that slice, a projection image (panoramic, CR, DX) one slice, an enhanced multi-frame CT or MR its whole
volume. `files.py` reads headers, `members.py` says which images are slices of the volume, `geometry.py` where they lie, `pixels.py` what values they
hold.

No message here carries a patient's name, number or date.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.images.dicom.files import files_in, read_header
from SegHiResCAMLib.engine.images.dicom.geometry import has_position, size, stack
from SegHiResCAMLib.engine.images.dicom.members import Aside, can_be_volume, members
from SegHiResCAMLib.engine.images.dicom.pixels import StoredSlice, read_pixels
from SegHiResCAMLib.engine.images.dicom.quiet import quiet
from SegHiResCAMLib.engine.progress import Progress, part, silent

NOT_IMAGES = frozenset({"SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "REG"})
"""Modalities that describe images and are none, though some hold pixels."""

ONE_STACK = (
    "PatientID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesDescription",
    "ConvolutionKernel",
    "EchoTime",
    "ImageType",
)
"""What slices share that were stored under a series UID each (Canon): with them, one place and one way of imaging."""

MOST_LISTED = 20
"""Series and images that a message lists."""

HEADERS = 0.3
"""Share of the time that is spent on finding the slices."""


def read_dicom_folder(
    folder: Path, name: str, series: str | None = None, progress: Progress = silent
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """One series of a folder as values (C, i, j, k) and RAS affine: i along rows, j down columns, k along the normal.

    Series of fewer than 3 slices (scouts, localisers) are left out where exactly one larger series remains, as are images of a series that are no
    slices of its volume (screen saves, localisers, projections); a warning names them. Slices that have a series UID each are one series where they
    form one stack.

    Args:
        folder: Holds DICOM files of any name, in subfolders too; other files are passed over, links are followed.
        name: The folder as the user gave it, for messages.
        series: SeriesInstanceUID.
        progress: Called for each file and frame; what it raises stops the reading.

    Raises:
        EngineError: `dicom-no-images`, `dicom-damaged`, `series-unknown`, `series-ambiguous`, the codes of `files.py`, of `stack`
            and of `read_pixels`.
    """
    slices, affine = read_series(folder, name, series, progress=part(progress, 0, HEADERS))
    return read_pixels(slices, name, part(progress, HEADERS, 1)), affine


def read_series(
    folder: Path, name: str, series: str | None = None, *, whole: bool = False, progress: Progress = silent
) -> tuple[list[StoredSlice], npt.NDArray[np.float64]]:
    """The headers of one series of a folder, in the order of k, and the RAS affine of (column i, row j, slice k).

    Args:
        folder: As for `read_dicom_folder`.
        name: As for `read_dicom_folder`.
        series: SeriesInstanceUID.
        progress: Called for each file.
        whole: Headers with everything about patient and study.

    Raises:
        EngineError: As `read_dicom_folder`.
    """
    with quiet():
        try:
            found = _one_stack(_series_in(folder, name, whole, progress), name)
            chosen, others = _choose(found, series, name)
            kept, aside = members(chosen)
            slices, affine = _stack_of(kept, aside, folder, name)
        except (EngineError, Cancelled):
            raise
        except Exception as error:  # headers may hold anything
            refuse_out_of_memory(error, name)
            raise _damaged(name) from error
    _tell_aside(aside, others, folder, name)
    return slices, affine


def read_dicom_file(
    path: Path, name: str, progress: Progress = silent
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """One file as values (C, i, j, k) and RAS affine.

    Raises:
        EngineError: `dicom-no-images`, `dicom-damaged`, the codes of `files.py`, of `stack` and of `read_pixels`.
    """
    with quiet():
        slices = _slices_of(path, name)
        if not slices:
            message = (
                f"{name} is DICOM without an image (a report, plan, segmentation or directory). Give the image series."
            )
            raise EngineError("dicom-no-images", message)
        try:
            slices, affine = stack(slices, name)
        except EngineError:
            raise
        except Exception as error:  # headers may hold anything
            refuse_out_of_memory(error, name)
            raise _damaged(name) from error
    return read_pixels(slices, name, progress), affine


def _series_in(folder: Path, name: str, whole: bool, progress: Progress) -> list[list[StoredSlice]]:
    """The slices of each series of the folder, the largest series first."""
    series: dict[str, list[StoredSlice]] = {}
    seen: set[tuple[str, int]] = set()
    for path in files_in(folder, name):
        progress(0, f"Looking for slices in {name}")
        for item in _slices_of(path, str(Path(name) / path.relative_to(folder)), whole=whole):
            instance = (str(item.header.get("SOPInstanceUID") or path), item.frame)
            if instance not in seen:  # a copy of a file is no second slice
                seen.add(instance)
                series.setdefault(_uid([item]), []).append(item)
    if not series:
        message = f"{name} holds no DICOM images. Give the folder with the images, or an image file itself."
        raise EngineError("dicom-no-images", message)
    return sorted(series.values(), key=len, reverse=True)


def _one_stack(series: list[list[StoredSlice]], name: str) -> list[list[StoredSlice]]:
    """Series of one slice each put together, where they are alike and form one regular stack."""
    alike: dict[tuple[str, ...], list[StoredSlice]] = {}
    for item, *more in series:
        if not more and has_position(item.header):
            kind = tuple(str(item.header.get(keyword, "")) for keyword in ONE_STACK)
            alike.setdefault((*kind, *map(str, size(item.header))), []).append(item)
    for slices in alike.values():
        if can_be_volume(slices) and _is_stack(slices, name):
            together = {_uid([item]) for item in slices}
            series = [slices, *(one for one in series if _uid(one) not in together)]
    return sorted(series, key=len, reverse=True)


def _is_stack(slices: Sequence[StoredSlice], name: str) -> bool:
    try:
        stack(slices, name)
    except EngineError:
        return False
    return True


def _choose(
    series: list[list[StoredSlice]], wanted: str | None, name: str
) -> tuple[list[StoredSlice], list[list[StoredSlice]]]:
    """The series to read, and those that are left out without being asked for."""
    if wanted is not None:
        for slices in series:
            if any(_uid([item]) == wanted for item in slices):
                return slices, []
        raise EngineError("series-unknown", f"{name} has no series {wanted}. It has: {_choices(series)}.")
    volumes = [slices for slices in series if can_be_volume(slices)]
    for candidates in (series, volumes):
        if len(candidates) == 1:
            return candidates[0], [slices for slices in series if slices is not candidates[0]]
    message = f"{name} holds {len(series)} series. Choose one by its UID (series=, or --series): {_choices(series)}."
    raise EngineError("series-ambiguous", message)


def _stack_of(
    kept: list[StoredSlice], aside: Aside, folder: Path, name: str
) -> tuple[list[StoredSlice], npt.NDArray[np.float64]]:
    try:
        return stack(kept, name)
    except EngineError as error:
        if not aside:
            raise
        text = f"{error.message} Ignored: {_listed(_images(aside, folder))}."
        raise EngineError(error.code, text) from error


def _choices(series: Sequence[list[StoredSlice]]) -> str:
    return _listed(list(map(_described, series)), "; ")


def _listed(texts: Sequence[str], separator: str = ", ") -> str:
    more = [f"and {len(texts) - MOST_LISTED} more"] if len(texts) > MOST_LISTED else []
    return separator.join([*texts[:MOST_LISTED], *more])


def _images(aside: Aside, folder: Path) -> list[str]:
    return [f"{item.path.relative_to(folder)} ({reason})" for item, reason in aside]


def _tell_aside(aside: Aside, others: Sequence[list[StoredSlice]], folder: Path, name: str) -> None:
    """Warn of images that were found and are not in the volume."""
    named = _images(aside, folder) + [f"series {_described(slices)}" for slices in others]
    if not named:
        return
    count = len(aside) + sum(map(len, others))
    these, were = (f"{count} images", "were") if count > 1 else ("1 image", "was")
    warnings.warn(
        f"{these} of {name} {were} left out, as not part of the volume: {_listed(named)}.",
        stacklevel=6,
    )


def _described(slices: list[StoredSlice]) -> str:
    """A series, to choose from."""
    header, count = slices[0].header, f"{len(slices)} slice{'s' if len(slices) > 1 else ''}"
    facts = (str(header.get("Modality", "")), count, str(header.get("SeriesDescription", "")))
    return f"{_uid(slices)} ({', '.join(filter(None, facts))})"


def _uid(slices: list[StoredSlice]) -> str:
    return str(slices[0].header.get("SeriesInstanceUID", ""))


def _slices_of(path: Path, name: str, *, whole: bool = False) -> list[StoredSlice]:
    """The slices of one file, without pixels; none where it holds no image."""
    header = read_header(path, name, whole=whole)
    try:
        if header is None or "Rows" not in header or "Columns" not in header or header.get("Modality") in NOT_IMAGES:
            return []
        return [StoredSlice(path, number, frame) for number, frame in enumerate(_frames(header))]
    except Exception as error:  # pydicom raises many types at a damaged header
        refuse_out_of_memory(error, name)
        raise _damaged(name) from error


def _damaged(name: str) -> EngineError:
    return EngineError("dicom-damaged", f"{name} is a damaged DICOM file. Copy or export it again.")


def _frames(header: Dataset) -> Iterator[Dataset]:
    """The header of each frame, flat as that of a single-frame image: the functional groups' attributes on top."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        yield header
        return
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    common = {element.tag: element for element in header if element.VR != "SQ" and element.keyword != "NumberOfFrames"}
    for groups in header.PerFrameFunctionalGroupsSequence:
        macros = (element.value[0] for element in chain(shared[0], groups) if element.VR == "SQ" and element.value)
        yield Dataset(common | {element.tag: element for macro in macros for element in macro})
