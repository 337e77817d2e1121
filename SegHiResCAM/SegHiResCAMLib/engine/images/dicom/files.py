"""DICOM files as a folder holds them, each read within bounds: what a file claims is never believed before it is checked.

Links to files and folders are followed, each folder once. pydicom reads every file through `_Bounded`, which gives no more bytes than the file has
and no more than a header can need, and inflates a deflated data set no further than that.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_partial

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.images.formats import HEAD, is_dicom
from SegHiResCAMLib.engine.regular_files import open_regular

MOST_FILES = 200_000
"""In one folder with its subfolders: a hundred examinations. More is a disk, not an examination."""

HEADER_BYTES, HEADER_SHARE = 2**24, 1 / 4
"""Of all that is read in front of the pixels, and of a longer file's length: enhanced multi-frame files have some kB for each frame."""

MOST_ITEMS, BYTES_AN_ITEM = 200_000, 2**10
"""Items of sequences in a header, nested ones included, and in a longer file one for each so many bytes: each becomes an object of 2 kB."""

TAGS_OF_ITEM = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
"""Little and big endian."""

SMALL = 2**16
"""Bytes that room is made for unasked."""

PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
"""FloatPixelData, DoubleFloatPixelData, PixelData: the last elements that are read."""

NEEDED = (
    *("ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesDescription", "PatientID"),
    *("SliceThickness", "SpacingBetweenSlices", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelSpacing"),
    *("EchoTime", "EchoNumbers", "TriggerTime", "InversionTime", "DiffusionBValue", "ConvolutionKernel"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "AcquisitionNumber", "FrameOfReferenceUID"),
    *("ImagePositionPatient", "ImageOrientationPatient", "TemporalPositionIdentifier"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth"),
    *(f"{color}PaletteColorLookupTableDescriptor" for color in ("Red", "Green", "Blue")),
    *(f"{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")),
    *(f"Segmented{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
"""What a volume is made from. Names and dates of the patient are skipped."""

NEEDED_TAGS = tuple(tag for keyword in NEEDED if (tag := tag_for_keyword(keyword)))


def files_in(folder: Path, name: str) -> Iterator[Path]:
    """Every file of a folder and its subfolders, in the order of their names; links are followed, each folder is seen once.

    Raises:
        EngineError: `folder-unreadable`, `folder-too-large`.
    """
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise EngineError("folder-unreadable", f"{name} cannot be opened: {error.strerror}.") from error
    seen: set[str] = set()
    count = 0
    for parent, folders, files in os.walk(folder, followlinks=True):
        place = os.path.realpath(parent)
        if place in seen:  # a link to it, or one that leads back
            folders.clear()
            continue
        seen.add(place)
        folders.sort()
        count += len(folders) + len(files)
        if count > MOST_FILES:
            raise EngineError(
                "folder-too-large",
                f"{name} holds more than {MOST_FILES:,} files. Give the folder of one examination.",
            )
        yield from (Path(parent) / file for file in sorted(files))


def read_header(path: Path, name: str, *, whole: bool = False) -> Dataset | None:
    """The header of a file without its pixels; None where it is not DICOM, not a regular file, or leads nowhere.

    Args:
        path: The file.
        name: As the user gave it, for messages.
        whole: With everything about patient and study, not only what a volume is made from.

    Raises:
        EngineError: `file-unreadable`, `dicom-damaged`, `dicom-header-too-large`.
    """
    if not path.is_file():  # a broken link, a pipe, a device
        return None
    with open_regular(path, name) as file:
        if not is_dicom(file.read(HEAD)):
            return None
        return _read(file, name, 0, () if whole else NEEDED_TAGS, stop_after=False)


def read_pixel_elements(path: Path, name: str, most: int) -> Dataset:
    """A file with its pixels as they are stored, and what is needed to decode them.

    Args:
        path: Whose header was read before.
        name: As the user gave it, for messages.
        most: Bytes that the pixels can need, as they are stored and uncompressed.

    Raises:
        EngineError: As `read_header`.
    """
    with open_regular(path, name) as file:
        return _read(file, name, most, NEEDED_TAGS, stop_after=True)


def _read(file: BinaryIO, name: str, pixels: int, tags: Sequence[int], *, stop_after: bool) -> Dataset:
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    items = max(MOST_ITEMS, length // BYTES_AN_ITEM)
    bounded = _Bounded(file, name, max(HEADER_BYTES, int(length * HEADER_SHARE)) + pixels, items)
    try:
        dataset = read_partial(
            bounded,
            stop_when=_AtThePixels(after=stop_after),
            force=True,
            specific_tags=list(tags),
        )
        _check_items(dataset, name, items)
    except EngineError:
        raise
    except Exception as error:  # pydicom raises many types at a damaged header
        refuse_out_of_memory(error, name)
        raise EngineError("dicom-damaged", f"{name} is a damaged DICOM file. Copy or export it again.") from error
    return dataset


class _AtThePixels:
    """Where reading ends: in front of the pixels, or behind them, whatever follows."""

    def __init__(self, *, after: bool) -> None:
        self._after, self._seen = after, False

    def __call__(self, tag: int, _vr: str | None, _length: int) -> bool:
        """Whether reading ends in front of this element."""
        if self._seen or int(tag) > PIXELS[-1]:
            return True
        self._seen = int(tag) in PIXELS
        return self._seen and not self._after


class _Bounded:
    """A file as pydicom reads it, with an end to what it gives."""

    def __init__(self, file: BinaryIO, name: str, most: int, items: int) -> None:
        self._file, self._name, self._bytes, self._items = file, name, most, items
        self._end = os.fstat(file.fileno()).st_size
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """As a file; all that remains is only ever asked for where the data set is deflated."""
        if size < 0:
            return self._inflated()
        if size > SMALL:
            size = max(min(size, self._end - self._file.tell()), 0)  # no room is made for what is only claimed
        if size > self._bytes or self._items < 0:
            raise _too_large(self._name)
        piece = self._file.read(size)
        self._bytes -= len(piece)
        self._items -= piece.startswith(TAGS_OF_ITEM)
        return piece

    def _inflated(self) -> bytes:
        """The rest, inflated no further than agreed, and stored as pydicom wants it: as a deflated stream."""
        inflating, stored = zlib.decompressobj(-zlib.MAX_WBITS), zlib.compressobj(0, wbits=-zlib.MAX_WBITS)
        pieces = []
        while self._bytes and not inflating.eof:
            piece = inflating.unconsumed_tail or self._file.read(2**16)
            inflated = inflating.decompress(piece, min(self._bytes, 2**20))
            if not (piece or inflated):
                break
            self._bytes -= len(inflated)
            self._items -= inflated.count(TAGS_OF_ITEM[0])
            if self._items < 0:
                raise _too_large(self._name)
            pieces.append(stored.compress(inflated))
        return b"".join([*pieces, stored.flush()])


def _check_items(dataset: Dataset, name: str, most: int) -> None:
    """Refuse sequences of more items than a scanner writes, while they are bytes still."""
    raw = (dataset.get_item(tag) for tag in dataset.keys())  # noqa: SIM118 - to iterate would convert
    values = [one.value for one in raw if isinstance(one, RawDataElement) and one.tag not in PIXELS and one.value]
    if sum(value.count(tag) for value in values for tag in TAGS_OF_ITEM) > most:
        raise _too_large(name)


def _too_large(name: str) -> EngineError:
    return EngineError(
        "dicom-header-too-large",
        f"{name} has a header larger than any scanner writes. Copy or export it again.",
    )
