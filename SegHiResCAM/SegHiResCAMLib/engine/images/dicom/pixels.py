"""The values that DICOM slices hold: decoded, rescaled (CT: to Hounsfield units), float32."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
)

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.images.volume_files import check_size

DECODED_BY_GDCM = (JPEGLossless, JPEGLosslessSV1, JPEGExtended12Bit)
"""pydicom has no permissively licensed decoder of these; SimpleITK brings GDCM's."""


@dataclass(frozen=True)
class Slice:
    """One slice: the file and frame that hold its pixels, and its header, flat also where the file is multi-frame."""

    path: Path
    frame: int
    header: Dataset


def read_pixels(slices: Sequence[Slice], name: str) -> npt.NDArray[np.float32]:
    """Values (C, i, j, k) of slices in the order given, each with its own rescale slope and intercept.

    Colour gives three channels (0 to 255). A projection image without a position in the patient that is stored
    inverted (MONOCHROME1) is turned, so that bone is bright.

    Raises:
        EngineError: `volume-too-large`, `dicom-not-decodable`.
    """
    first = slices[0].header
    colour = first.get("SamplesPerPixel", 1) > 1 or first.get("PhotometricInterpretation") == "PALETTE COLOR"
    channels = 3 if colour else 1
    shape = (len(slices), int(first.Rows), int(first.Columns), channels)
    check_size(int(np.prod(shape, dtype=object)), name)
    values = np.empty(shape, np.float32)

    files: dict[Path, list[int]] = {}
    for index, item in enumerate(slices):
        files.setdefault(item.path, []).append(index)

    def read(path: Path) -> None:
        frames = [slices[index] for index in files[path]]
        for index, frame in zip(files[path], _read_file(path, frames, name), strict=True):
            values[index] = _bone_bright(frame, slices[index].header).reshape(shape[1:])

    with ThreadPoolExecutor() as pool:
        list(pool.map(read, files))
    return values.transpose(3, 2, 1, 0)


def _read_file(path: Path, slices: Sequence[Slice], name: str) -> list[npt.NDArray[Any]]:
    """The frames of one file, in the order of `slices`."""
    dataset = dcmread(path, force=True)
    syntax = _transfer_syntax(dataset)
    try:
        if syntax in DECODED_BY_GDCM:
            return _decode_with_gdcm(path, slices)
        stored = dataset.pixel_array
    except Exception as error:  # decoders raise many types
        refuse_out_of_memory(error, name)
        kind = "" if syntax.is_compressed is False else f" ({syntax.name})"
        sentence = (
            f"{name} holds pixels{kind} that cannot be decoded: damaged, incomplete, or of an unknown compression. "
            "Export it again, uncompressed."
        )
        raise EngineError("dicom-not-decodable", sentence) from error
    frames = stored if int(dataset.get("NumberOfFrames") or 1) > 1 else stored[None]
    return [_values(frames[item.frame], item.header) for item in slices]


def _transfer_syntax(dataset: Dataset) -> Any:
    """How the pixels are stored. A file without its header says it only by how it could be read."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset.file_meta.TransferSyntaxUID


def _decode_with_gdcm(path: Path, slices: Sequence[Slice]) -> list[npt.NDArray[Any]]:
    """Values of a file through SimpleITK, which rescales all frames by the first one's slope and intercept."""
    rescales = {(item.header.get("RescaleSlope"), item.header.get("RescaleIntercept")) for item in slices}
    if len(rescales) > 1:
        raise NotImplementedError
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    frames = sitk.GetArrayFromImage(reader.Execute())
    return [frames[item.frame] for item in slices]


def _values(frame: npt.NDArray[Any], header: Dataset) -> npt.NDArray[Any]:
    if header.get("PhotometricInterpretation") == "PALETTE COLOR":
        colours = apply_color_lut(frame, header)
        return colours / (257.0 if colours.dtype == np.uint16 else 1.0)
    return apply_modality_lut(frame, header)


def _bone_bright(values: npt.NDArray[Any], header: Dataset) -> npt.NDArray[Any]:
    """Turn an inverted projection image over: what the lowest and the highest stored number mean change places."""
    if header.get("PhotometricInterpretation") != "MONOCHROME1" or header.get("ImagePositionPatient"):
        return values
    lowest = -(2 ** (header.BitsStored - 1)) if header.PixelRepresentation else 0
    ends = apply_modality_lut(np.array([lowest, lowest + 2**header.BitsStored - 1]), header)
    return ends.sum() - values
