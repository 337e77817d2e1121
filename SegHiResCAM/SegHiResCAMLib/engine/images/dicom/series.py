"""DICOM folders and files: which slices belong together.

A folder, with its subfolders and whatever else lies in it, is read as one series. A file is read alone: a slice of a
series gives that slice, a projection image (panoramic, CR, DX) one slice, an enhanced multi-frame CT or MR its whole
volume. `dicom_geometry.py` says where slices lie, `dicom_pixels.py` what values they hold.

No sentence here carries a patient's name, number or date.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.images.dicom.geometry import stack
from SegHiResCAMLib.engine.images.dicom.pixels import Slice, read_pixels
from SegHiResCAMLib.engine.images.formats import is_dicom

SMALLEST_VOLUME = 3
"""Series of fewer slices are taken for scouts where a folder holds exactly one larger series."""

NOT_IMAGES = frozenset({"SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "REG"})
"""Modalities that describe images and are none, though some hold pixels."""


def read_dicom_folder(
    folder: Path, name: str, series: str | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """One series of a folder as values (C, i, j, k) and RAS affine: i along rows, j down columns, k along the normal.

    Series of fewer than 3 slices (scouts, localisers) are passed over where exactly one larger series remains.

    Args:
        folder: Holds DICOM files of any name, in subfolders too; other files are passed over.
        name: The folder as the user gave it, for sentences.
        series: SeriesInstanceUID.

    Raises:
        EngineError: `dicom-no-images`, `dicom-damaged`, `series-unknown`, `series-ambiguous`, the codes of `stack`
            and of `read_pixels`.
    """
    slices, affine = read_series(folder, name, series)
    with _quiet():
        return read_pixels(slices, name), affine


def read_series(folder: Path, name: str, series: str | None = None) -> tuple[list[Slice], npt.NDArray[np.float64]]:
    """The headers of one series of a folder, in the order of k, and the RAS affine of (column i, row j, slice k).

    Raises:
        EngineError: As `read_dicom_folder`.
    """
    with _quiet():
        return stack(_choose(_series_in(folder, name), series, name), name)


def read_dicom_file(path: Path, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """One file as values (C, i, j, k) and RAS affine.

    Raises:
        EngineError: `dicom-no-images`, `dicom-damaged`, the codes of `stack` and of `read_pixels`.
    """
    with _quiet():
        slices = _slices_of(path, name)
        if not slices:
            sentence = (
                f"{name} is DICOM without an image (a report, plan, segmentation or directory). Give the image series."
            )
            raise EngineError("dicom-no-images", sentence)
        return _volume(slices, name)


def _volume(slices: list[Slice], name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    slices, affine = stack(slices, name)
    return read_pixels(slices, name), affine


def _series_in(folder: Path, name: str) -> list[list[Slice]]:
    """The slices of each series of the folder, the largest series first."""
    series: dict[str, list[Slice]] = {}
    seen: set[tuple[str, int]] = set()
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for path in (Path(parent) / file for file in sorted(files)):
            if not is_dicom(path):
                continue
            for item in _slices_of(path, str(Path(name) / path.relative_to(folder))):
                instance = (str(item.header.get("SOPInstanceUID") or path), item.frame)
                if instance not in seen:  # a copy of a file is no second slice
                    seen.add(instance)
                    series.setdefault(str(item.header.get("SeriesInstanceUID", "")), []).append(item)
    if not series:
        sentence = f"{name} holds no DICOM images. Give the folder with the images, or an image file itself."
        raise EngineError("dicom-no-images", sentence)
    return sorted(series.values(), key=len, reverse=True)


def _choose(series: list[list[Slice]], wanted: str | None, name: str) -> list[Slice]:
    choices = "; ".join(map(_described, series))
    if wanted is not None:
        for slices in series:
            if _uid(slices) == wanted:
                return slices
        raise EngineError("series-unknown", f"{name} has no series {wanted}. It has: {choices}.")
    volumes = [slices for slices in series if len(slices) >= SMALLEST_VOLUME]
    for candidates in (series, volumes):
        if len(candidates) == 1:
            return candidates[0]
    sentence = f"{name} holds {len(series)} series. Choose one by its UID (series=, or --series): {choices}."
    raise EngineError("series-ambiguous", sentence)


def _described(slices: list[Slice]) -> str:
    """A series, to choose from."""
    header, count = slices[0].header, f"{len(slices)} slice{'s' if len(slices) > 1 else ''}"
    facts = (str(header.get("Modality", "")), count, str(header.get("SeriesDescription", "")))
    return f"{_uid(slices)} ({', '.join(filter(None, facts))})"


def _uid(slices: list[Slice]) -> str:
    return str(slices[0].header.get("SeriesInstanceUID", ""))


def _slices_of(path: Path, name: str) -> list[Slice]:
    """The slices of one file, without pixels; none where it holds no image."""
    try:
        header = dcmread(path, stop_before_pixels=True, force=True)
        if "Rows" not in header or "Columns" not in header or header.get("Modality") in NOT_IMAGES:
            return []
        return [Slice(path, number, frame) for number, frame in enumerate(_frames(header))]
    except Exception as error:  # pydicom raises many types at a damaged header
        refuse_out_of_memory(error, name)
        raise EngineError("dicom-damaged", f"{name} is a damaged DICOM file. Copy or export it again.") from error


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


@contextmanager
def _quiet() -> Iterator[None]:
    """Without pydicom's warnings: they quote values, and values may name the patient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
