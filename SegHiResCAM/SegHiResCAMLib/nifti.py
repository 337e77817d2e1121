"""NIfTI files, through nibabel; may import numpy and nibabel only, since every room writes them.

nibabel writes slice by slice. So a thread that writes leaves the interpreter to others nearly all the time, and can be stopped at any slice.
"""

from __future__ import annotations

import gzip
import io
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FAST = 1
"""gzip's level: higher ones make floats hardly smaller, and take a multiple of the time."""


def write_nifti(
    path: Path,
    array: npt.NDArray[Any],
    affine: npt.NDArray[np.float64],
    header: Mapping[str, str],
    *,
    written: Callable[[float], None] = lambda _fraction: None,
) -> None:
    """Write a file, compressed where its name ends in .gz.

    The affine goes into the sform, and into the qform where that can hold it; `header` into a JSON comment.

    Args:
        path: The file; half of it is there when `written` raises.
        array: (i, j, k), or (C, i, j, k).
        affine: (4, 4) from voxel indices to RAS millimetres.
        header: Provenance.
        written: Called with the fraction that is written.

    Raises:
        ImportError: nibabel is not installed.
    """
    import nibabel as nib

    sheared = is_sheared(affine)
    values = array if array.ndim == 3 else np.moveaxis(array, 0, -1)[:, :, :, None, :]
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="unknown" if sheared else "scanner")
    if array.ndim == 4:
        image.header.set_intent("vector")
    if header:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", json.dumps(dict(header)).encode()))
    if sheared:
        warnings.warn("NIfTI readers, among them ITK and 3D Slicer, do not keep sheared grids. Use NRRD.", stacklevel=2)
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path, "wb", FAST) if packed else path.open("wb") as file:
        image.to_stream(_Watched(file, array.nbytes, written))


def is_sheared(affine: npt.NDArray[np.float64]) -> bool:
    """Whether a grid's axes are not at right angles, which ITK and 3D Slicer do not read from a NIfTI file."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return not np.allclose(directions.T @ directions, np.eye(3), atol=1e-5)


class _Watched(io.RawIOBase):
    """A file that tells how much was written into it.

    A stream by inheritance: libraries ask for the type, and from Python 3.12 on no longer see methods that `__getattr__` would find.
    """

    def __init__(self, file: Any, expected: int, written: Callable[[float], None]) -> None:
        super().__init__()
        self._file, self._expected, self._written, self._count = file, expected, written, 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def write(self, data: Any) -> int:
        self._count += len(data)
        self._written(min(self._count / self._expected, 1.0))
        return int(self._file.write(data))
