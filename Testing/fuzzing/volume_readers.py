"""The readers of volumes but for DICOM: each takes a folder and the bytes to read.

Pictures are decoded by what `picture_file` starts, forked here, so that twenty thousand do not take a day: it may die, but within its bounds.
"""

from __future__ import annotations

import bz2
import gzip
import os
import signal
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from refusals import done_or_refused

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.picture_file import READERS as READERS_OF_PICTURES
from SegHiResCAMLib.engine.images.picture_file import bounds, check_bmp
from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.picture_decoder import main


def volume(folder: Path, data: bytes) -> None:
    (folder / "volume").write_bytes(data)
    with done_or_refused():
        read_volume(folder / "volume")


def header(folder: Path, data: bytes) -> None:
    """A header whose voxels may lie in files beside it."""
    for name in ("0.raw", "1.raw", "2.raw", "header.img"):
        if not (folder / name).exists():
            (folder / name).write_bytes(bytes(120))
    (folder / "header.hdr").write_bytes(data)
    with done_or_refused():
        read_volume(folder / "header.hdr")


def picture(kind: str) -> Callable[[Path, bytes], None]:
    """A reader of pictures of that kind."""

    def read(folder: Path, data: bytes) -> None:
        (folder / "picture").write_bytes(data)
        if kind == "bmp":
            try:
                check_bmp(data[:54], len(data), "picture")
            except EngineError:
                return
        most, memory = bounds(len(data))
        memory += psutil.Process().memory_info().vms  # what this process has is the fork's, too
        child = os.fork()
        if not child:
            import resource  # POSIX has it, as it has fork

            resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
            arguments = [
                str(folder / "picture"),
                READERS_OF_PICTURES[kind],
                str(folder / "out"),
                str(most),
                str(memory),
            ]
            try:
                os._exit(main(arguments))
            except BaseException:  # noqa: BLE001 - in the real process it is an exit code, and a message
                os._exit(1)
        _, status, used = os.wait4(child, 0)
        assert used.ru_utime + used.ru_stime < 20, "slow"
        assert used.ru_maxrss < 4 << 20, "large"
        assert not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU), "slow"

    return read


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


def compressed_metaimage() -> bytes:
    head = METAIMAGE[:-120].replace(b"CompressedData = False", b"CompressedData = True")
    return head + zlib.compress(bytes(120))


def packed_nrrd(encoding: bytes, voxels: bytes, more: bytes = b"") -> bytes:
    return NRRD[:-121].replace(b"raw", encoding) + more + b"\n" + voxels


NRRD_PACKED = [
    packed_nrrd(b"gzip", gzip.compress(bytes(120))),
    packed_nrrd(b"bzip2", bz2.compress(bytes(120))),
    packed_nrrd(b"ascii", b"1 " * 60),
    packed_nrrd(b"hex", b"00" * 120),
    packed_nrrd(b"raw", bytes(120), b'byte skip: -1\nspace units: "mm" "mm" "mm"\nSegment0_ID:=a\nSegment0_Name:=b\n'),
    b"NRRD0005\ntype: float\ndimension: 4\nsizes: 2 3 2 2\nspacings: nan 1 2 3\naxis mins: 0 0 0 0\ncenters: ??? cell node cell\n"
    b"kinds: vector domain domain domain\nendian: big\nencoding: raw\n\n" + bytes(96),
]
DETACHED = [
    NRRD[:-121] + b"data file: 0.raw\n",
    NRRD[:-121] + b"line skip: 0\nbyte skip: 0\ndata file: %d.raw 0 2 1\n",
    NRRD[:-121] + b"data file: LIST 2\n0.raw\n1.raw\n2.raw\n",
    METAIMAGE[:-120].replace(b"LOCAL", b"0.raw"),
    METAIMAGE[:-120].replace(b"LOCAL", b"LIST\n0.raw\n1.raw\n2.raw"),
    METAIMAGE[:-120].replace(b"LOCAL", b"%d.raw 0 2 1"),
    METAIMAGE[:-120].replace(b"ElementDataFile", b"HeaderSize = -1\nElementDataFile").replace(b"LOCAL", b"0.raw"),
]


def pair_header() -> bytes:
    import nibabel as nib

    header = nib.nifti1.Nifti1PairHeader()
    header.set_data_shape((3, 4, 5))
    header.set_data_dtype(np.int16)
    header["magic"] = b"ni1"
    return header.binaryblock


def pictures(extension: str) -> list[bytes]:
    import SimpleITK as sitk

    grey = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30) % 251
    arrays = [(grey, False), (np.stack([grey, grey.T.reshape(20, 30), grey], axis=-1), True)]
    if extension == ".tif":
        arrays += [(np.stack([grey] * 3).astype(np.uint16), False), (grey.astype(np.float32), False)]
    if extension == ".png":
        arrays += [(grey.astype(np.uint16) * 100, False), (np.stack([grey] * 4, axis=-1), True)]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for array, vector in arrays:
            for packed in (True, False):
                path = Path(folder) / f"sample{extension}"
                sitk.WriteImage(sitk.GetImageFromArray(array, isVector=vector), str(path), useCompression=packed)
                found.append(path.read_bytes())
    return found


READERS: dict[str, tuple[Callable[[Path, bytes], None], Callable[[], list[bytes]]]] = {
    "NIfTI": (volume, lambda: [nifti_file(), nifti_file(two=True), gzip.compress(nifti_file())]),
    "NRRD": (volume, lambda: [NRRD, *NRRD_PACKED]),
    "MetaImage": (volume, lambda: [METAIMAGE, compressed_metaimage()]),
    "detached header": (header, lambda: [*DETACHED, pair_header()]),
    "PNG": (picture("png"), lambda: pictures(".png")),
    "TIFF": (picture("tiff"), lambda: pictures(".tif")),
    "BMP": (picture("bmp"), lambda: pictures(".bmp")),
    "JPEG": (picture("jpeg"), lambda: pictures(".jpg")),
}
