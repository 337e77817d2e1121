"""The readers of DICOM: files of every kind of pixels, and folders of which one file is changed."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from engine.test_dicom import ROWS, STORED, ct_slice, enhanced_ct
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from refusals import done_or_refused

from SegHiResCAMLib.engine.images.volume import read_volume


def file(folder: Path, data: bytes) -> None:
    (folder / "file").write_bytes(data)
    with done_or_refused():
        read_volume(folder / "file")


def slices(folder: Path, data: bytes) -> None:
    """A folder of three sound slices and the changed one."""
    series = folder / "series"
    if not series.exists():
        series.mkdir()
        for k in range(3):
            ct_slice(k).save_as(series / str(k), enforce_file_format=True)
    (series / "changed").write_bytes(data)
    with done_or_refused():
        read_volume(series)


def _written(dataset: Any, syntax: str = ExplicitVRLittleEndian) -> bytes:
    into = io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = syntax
    big, implicit = syntax == ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    dataset["PixelData"].VR = "OW"
    pydicom.dcmwrite(into, dataset, little_endian=not big, implicit_vr=implicit, enforce_file_format=True)
    return into.getvalue()


def _compressed(syntax: str) -> bytes:
    values = (np.arange(64 * 64, dtype=np.int16) % 999).tobytes()  # OpenJPEG wants that many
    dataset = ct_slice(3, Rows=64, Columns=64, PixelData=values)
    dataset.compress(syntax)
    into = io.BytesIO()
    dataset.save_as(into, enforce_file_format=True)
    return into.getvalue()


def _by_gdcm(compressor: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        writer = sitk.ImageFileWriter()
        writer.SetFileName(f"{folder}/x.dcm")
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.Execute(sitk.GetImageFromArray(STORED[:1]))
        return Path(folder, "x.dcm").read_bytes()


def _palette() -> bytes:
    dataset = ct_slice(BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        tag = pydicom.datadict.tag_for_keyword(f"{colour}PaletteColorLookupTableDescriptor")
        dataset.add_new(tag, "US", [20, 0, 16])
        tag = pydicom.datadict.tag_for_keyword(f"Segmented{colour}PaletteColorLookupTableData")
        dataset.add_new(tag, "OW", np.array([0, 1, 9, 1, 19, 65000], "<u2").tobytes())
    dataset.PixelData = bytes(range(ROWS * 5))
    return _written(dataset)


def samples() -> list[bytes]:
    """Sound files."""
    return [
        _written(ct_slice(3)),
        _written(ct_slice(3), ImplicitVRLittleEndian),
        _written(ct_slice(3), ExplicitVRBigEndian),
        _written(ct_slice(3), DeflatedExplicitVRLittleEndian),
        *map(_compressed, (RLELossless, JPEGLSLossless, JPEG2000Lossless)),
        _by_gdcm("JPEG"),
        _palette(),
        _written(enhanced_ct(np.array([0, 0, 2.5]))),
    ]


READERS: dict[str, tuple[Callable[[Path, bytes], None], Callable[[], list[bytes]]]] = {
    "DICOM file": (file, samples),
    "DICOM folder": (slices, samples),
}
