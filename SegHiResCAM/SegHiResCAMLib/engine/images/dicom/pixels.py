"""The values that DICOM slices hold: decoded, rescaled (CT: to Hounsfield units), float32."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import apply_modality_lut, iter_pixels
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    RLELossless,
    generate_uid,
)

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import check_room, refuse_out_of_memory
from SegHiResCAMLib.engine.images.dicom.codestreams import sizes
from SegHiResCAMLib.engine.images.dicom.files import read_pixel_elements
from SegHiResCAMLib.engine.images.dicom.palette import Palette
from SegHiResCAMLib.engine.images.dicom.quiet import quiet
from SegHiResCAMLib.engine.images.volume_files import check_size
from SegHiResCAMLib.engine.progress import Progress, silent
from SegHiResCAMLib.writing.temporary import temporary_folder

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
"""Stored without compression, or with one of the whole data set."""

DECODED_BY_GDCM = (JPEGLossless, JPEGLosslessSV1, JPEGExtended12Bit)
"""pydicom has no permissively licensed decoder of these; SimpleITK brings GDCM's."""

STORED = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
"""What says how pixels are stored."""

ALWAYS_READ = 2**27
VALUES_A_BYTE = 16
"""A series may claim so many values, and so many more for each byte of its files: an empty image takes next to none."""

COPIES_OF_A_FILE = 4
"""Of its pixels while it is decoded: as stored, inflated, as pydicom hands them out, and one frame of them as numbers."""

REPORT_EVERY_S = 0.2


@dataclass(frozen=True)
class StoredSlice:
    """One slice: the file and frame that hold its pixels, and its header, flat also where the file is multi-frame."""

    path: Path
    frame: int
    header: Dataset


def read_pixels(slices: Sequence[StoredSlice], name: str, progress: Progress = silent) -> npt.NDArray[np.float32]:
    """Values (C, i, j, k) of slices in the order given, each with its own rescale slope and intercept.

    Colour gives three channels (0 to 255). A projection image without a position in the patient that is stored
    inverted (MONOCHROME1) is turned, so that bone is bright.

    Args:
        slices: Of one size.
        name: Of the folder or file, as the user gave it.
        progress: Called after each frame; what it raises stops the reading.

    Raises:
        EngineError: `volume-too-large`, `out-of-memory`, `dicom-not-decodable`.
    """
    first = slices[0].header
    colour = int(first.get("SamplesPerPixel") or 1) > 1 or first.get("PhotometricInterpretation") == "PALETTE COLOR"
    shape = (len(slices), int(first.Rows), int(first.Columns), 3 if colour else 1)
    files: dict[Path, list[int]] = {}
    for index, item in enumerate(slices):
        files.setdefault(item.path, []).append(index)
    for indices in files.values():
        indices.sort(key=lambda index: slices[index].frame)
    _check_claims(shape, slices, files, name)
    values = np.empty(shape, np.float32)
    done: list[int] = []
    stopped = threading.Event()

    def read(path: Path) -> None:
        frames = [slices[index] for index in files[path]]
        for index, frame in zip(files[path], _read_file(path, frames, name), strict=True):
            if stopped.is_set():
                return
            values[index] = _bone_bright(frame, slices[index].header).reshape(shape[1:])
            done.append(index)

    pool = ThreadPoolExecutor()
    try:
        with quiet():
            reading = {pool.submit(read, path) for path in files}
            while reading:
                finished, reading = wait(reading, REPORT_EVERY_S, FIRST_COMPLETED)
                for future in finished:
                    future.result()
                progress(len(done) / len(slices), f"Reading {name}")
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
    return _slices_last(values)


def _slices_last(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(k, j, i, C) as (C, i, j, k), contiguous; a row of all slices at a time, which fits into the processor's cache."""
    turned = np.empty(values.shape[::-1], np.float32)
    for j in range(values.shape[1]):
        turned[:, :, j] = values[:, j].T
    return turned


def _check_claims(shape: Sequence[int], slices: Sequence[StoredSlice], files: dict[Path, list[int]], name: str) -> None:
    """Refuse more than the files can hold, and more than fits into memory."""
    if any((int(item.header.Rows), int(item.header.Columns)) != tuple(shape[1:3]) for item in slices):
        raise _not_decodable(name)
    count = int(np.prod(shape, dtype=object))
    check_size(count, name)
    stored = {path: path.stat().st_size for path in files}
    if count > ALWAYS_READ + VALUES_A_BYTE * sum(stored.values()):
        raise EngineError(
            "volume-too-large",
            f"{name} claims {count:.3g} values in {sum(stored.values()) / 2**20:.1f} MiB, more than it can hold. Copy or export it again.",
        )
    most = max(_bytes_of(path, slices[indices[0]].header) for path, indices in files.items())
    check_room(2 * 4 * count + COPIES_OF_A_FILE * most, name)


def _bytes_of(path: Path, header: Dataset) -> int:
    """What the pixels of a file take as they are stored, or without compression, whichever is more."""
    frames, samples = (int(header.get(keyword) or 1) for keyword in ("NumberOfFrames", "SamplesPerPixel"))
    bits = int(header.get("BitsAllocated") or 16)
    return max(path.stat().st_size, frames * samples * int(header.Rows) * int(header.Columns) * bits // 8)


def _read_file(path: Path, slices: Sequence[StoredSlice], name: str) -> Iterator[npt.NDArray[Any]]:
    """The frames of one file, in the order of `slices`: that of the file."""
    dataset = read_pixel_elements(path, name, _bytes_of(path, slices[0].header))
    syntax = _transfer_syntax(dataset)
    try:
        if syntax not in (*NATIVE, RLELossless):
            dataset.PixelData = encapsulate(_frames(dataset))  # what was checked is what is decoded
        palette = Palette(dataset) if dataset.get("PhotometricInterpretation") == "PALETTE COLOR" else None
        decode = _decode_with_gdcm if syntax in DECODED_BY_GDCM else _decode
        for item, frame in zip(slices, decode(dataset, [item.frame for item in slices]), strict=False):
            yield palette.colours(frame) if palette else rescaled(frame, item.header)
    except Exception as error:  # decoders raise many types
        refuse_out_of_memory(error, name)
        raise _not_decodable(name, "" if syntax in NATIVE else f" ({syntax.name[:64]})") from error


def _transfer_syntax(dataset: FileDataset) -> UID:
    """How the pixels are stored. A file without its header says it only by how it could be read."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return UID(dataset.file_meta.TransferSyntaxUID)


def _frames(dataset: Dataset) -> list[bytes]:
    """The compressed frames, each of the size that the header says: decoders take memory for what the frame says."""
    expected = (int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel") or 1))
    frames = list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1)))
    for frame in frames:
        if set(sizes(frame)) != {expected}:
            raise ValueError(expected)
    return frames


def _decode(dataset: FileDataset, frames: Sequence[int]) -> Iterator[npt.NDArray[Any]]:
    every = list(frames) == list(range(int(dataset.get("NumberOfFrames") or 1)))
    yield from iter_pixels(dataset, indices=None if every else frames)  # in turn is faster than by number


def _decode_with_gdcm(dataset: FileDataset, frames: Sequence[int]) -> Iterator[npt.NDArray[Any]]:
    """GDCM is given nothing but the pixels and how they are stored; what else is in the file, it never sees."""
    import SimpleITK as sitk

    alone = Dataset()
    alone.update({dataset[keyword].tag: dataset[keyword] for keyword in (*STORED, "PixelData") if keyword in dataset})
    alone.SOPClassUID, alone.SOPInstanceUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid()
    alone.file_meta = FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    with temporary_folder("dicom") as folder:
        path = folder / "pixels.dcm"
        alone.save_as(path, enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetImageIO("GDCMImageIO")
        decoded = sitk.GetArrayFromImage(reader.Execute())
    yield from (decoded[frame] for frame in frames)


def rescaled(frame: npt.NDArray[Any], header: Dataset) -> npt.NDArray[Any]:
    """Stored numbers as what they measure: through the modality's table, or its slope and intercept, 1 and 0 where they are left out."""
    if header.get("ModalityLUTSequence"):
        measured: npt.NDArray[Any] = apply_modality_lut(frame.astype(np.int32), header)
        return measured
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    if slope is None and intercept is None:
        return frame
    return frame * float(slope or 1) + float(intercept or 0)  # a slope of 0 says nothing, either


def _bone_bright(values: npt.NDArray[Any], header: Dataset) -> npt.NDArray[Any]:
    """Turn an inverted projection image over: what the lowest and the highest stored number mean change places."""
    if header.get("PhotometricInterpretation") != "MONOCHROME1" or header.get("ImagePositionPatient"):
        return values
    lowest = -(2 ** (header.BitsStored - 1)) if header.PixelRepresentation else 0
    ends = rescaled(np.array([lowest, lowest + 2**header.BitsStored - 1]), header)
    turned: npt.NDArray[Any] = ends.sum() - values
    return turned


def _not_decodable(name: str, kind: str = "") -> EngineError:
    return EngineError(
        "dicom-not-decodable",
        f"{name} holds pixels{kind} that cannot be decoded: damaged, incomplete, or of an unknown compression. Export it again, uncompressed.",
    )
