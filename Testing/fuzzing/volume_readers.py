"""The readers of volumes: each takes a folder and the bytes to read."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from refusals import done_or_refused

from SegHiResCAMLib.engine.images.volume import read_volume


def volume(folder: Path, data: bytes) -> None:
    (folder / "volume").write_bytes(data)
    with done_or_refused():
        read_volume(folder / "volume")


# Samples that are sound, to be changed from.


def nifti_file(*, two: bool = False) -> bytes:
    import nibabel as nib

    kind = nib.Nifti2Image if two else nib.Nifti1Image
    return kind(np.zeros((3, 4, 5), np.int16), np.diag([2.0, 2, 3, 1])).to_bytes()


NRRD = (
    b"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 3 4 5\n"
    b"space directions: (1,0,0) (0,1,0) (0,0,2)\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
    b"space origin: (0,0,0)\n\n" + bytes(120)
)
METAIMAGE = (
    b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
    b"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = 3 4 5\n"
    b"ElementType = MET_SHORT\nElementDataFile = LOCAL\n" + bytes(120)
)


def dicom_file() -> bytes:
    import pydicom
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.SeriesInstanceUID, data.StudyInstanceUID = generate_uid(), generate_uid()
    data.FrameOfReferenceUID = generate_uid()
    data.Modality, data.Rows, data.Columns = "CT", 4, 4
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [1, 1], 1
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation, data.SamplesPerPixel = 15, 1, 1
    data.PhotometricInterpretation, data.RescaleSlope, data.RescaleIntercept = "MONOCHROME2", 1, 0
    data.PixelData = bytes(32)
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


READERS: dict[str, tuple[Callable[[Path, bytes], None], Callable[[], list[bytes]]]] = {
    "NIfTI": (volume, lambda: [nifti_file(), nifti_file(two=True), gzip.compress(nifti_file())]),
    "NRRD": (volume, lambda: [NRRD]),
    "MetaImage": (volume, lambda: [METAIMAGE]),
    "DICOM": (volume, lambda: [dicom_file()]),
}
