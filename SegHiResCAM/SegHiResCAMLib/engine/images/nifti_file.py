"""NIfTI volumes: nibabel reads the header, because ITK straightens sheared sforms.

The voxels are read here, because nibabel takes the memory that a header claims.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from monai.data.utils import orientation_ras_lps
from nibabel.volumeutils import apply_read_scaling

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.gzip_stream import MAGIC, first_bytes
from SegHiResCAMLib.engine.images.volume_files import (
    FloatArray,
    check_affine,
    complex_numbers,
    damaged,
    data_file,
    no_place,
    time_points,
)
from SegHiResCAMLib.engine.images.voxels import Stored, read_voxels
from SegHiResCAMLib.engine.progress import Progress
from SegHiResCAMLib.engine.regular_files import open_regular

UNITS_IN_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Metres, millimetres, microns: the low three bits of `xyzt_units`. Anything else is taken for millimetres."""

LONGEST_HEADER = 540


def read_nifti(
    path: Path, name: str, kind: str, progress: Progress
) -> tuple[npt.NDArray[np.float32], FloatArray, bool]:
    """A NIfTI-1 or NIfTI-2 file or pair: the values (C, i, j, k), the RAS affine, and whether the file says how its axes lie.

    By sform, else qform, as the standard gives it. Where there is neither, axes and origin are those that ITK and 3D Slicer take.

    Raises:
        EngineError: `file-damaged`, `reference-refused`, `volume-affine-singular`, `volume-has-time-points`,
            `volume-complex`, those of `read_voxels`.
    """
    header, packed = _read_header(path, name)
    shape = header.get_data_shape()
    if len(shape) > 3 and shape[3] > 1:
        raise time_points(name, shape[3])
    # (i, j, k, 1, C) is the standard's layout of vectors.
    components = int(np.prod(shape[4:], dtype=object))
    if not shape or min(shape) < 1:
        raise EngineError("volume-empty", f"{name} holds no voxels. Export it again.")
    dtype = header.get_data_dtype()
    if dtype.kind == "c":
        raise complex_numbers(name)
    colours = len(dtype.names or ())  # RGB or RGBA, one byte each
    if colours and components > 1:
        raise damaged(name, f"its header gives {components} colours for a voxel")
    affine, placed = _affine(header)
    check_affine(affine, name)

    offset = int(header.get_data_offset())
    files: tuple[Path, ...] = (path,)
    if kind == "nifti-pair":
        files = (data_file(path, _image_name(path, name), name),)
        with open_regular(files[0], name) as file:
            packed = file.read(2) == MAGIC
    elif not len(header.structarr.tobytes()) <= offset:
        raise damaged(name, f"its voxels begin at byte {offset}, inside its header")
    stored = Stored(
        files,
        (colours or components, *(*shape, 1, 1)[:3]),
        (3, 2, 1, 0) if colours else (0, 3, 2, 1),
        np.dtype(np.uint8) if colours else dtype,
        "deflate" if packed else "raw",
        0 if packed else offset,
        offset if packed else 0,
    )
    values = read_voxels(stored, name, progress, _scaling(header))
    return values[:3] if colours else values, affine, placed


def _read_header(path: Path, name: str) -> tuple[Any, bool]:
    """The header, without what extends it, and whether the file is packed."""
    with open_regular(path, name) as file:
        head, packed = first_bytes(file, LONGEST_HEADER, name)
    kind = nib.Nifti2Header if head[4:6] == b"n+" or head[4:6] == b"ni" else nib.Nifti1Header
    size = kind.template_dtype.itemsize
    if len(head) < size:
        raise damaged(name, "its header is truncated")
    stored = kind(head[:size], check=False)
    if stored["sform_code"] <= 0 and not stored["pixdim"][1:][: min(stored["dim"][0], 3)].all():
        raise no_place(name)  # nibabel would take 1 mm for 0
    return kind(head[:size]), packed


def _affine(header: Any) -> tuple[FloatArray, bool]:
    """The RAS affine in millimetres, and whether the file says how its axes lie."""
    millimetres = np.diag([UNITS_IN_MM.get(int(header["xyzt_units"]) & 7, 1.0)] * 3 + [1.0])
    placed = bool(header["sform_code"] > 0 or header["qform_code"] > 0)
    if placed:
        return millimetres @ header.get_best_affine(), True
    spacing = [*np.asarray(header.get_zooms(), np.float64)[:3], 1.0, 1.0][:3]
    return millimetres @ orientation_ras_lps(np.diag([*spacing, 1.0])), False


def _scaling(header: Any) -> Any:
    """From stored values to what they mean, as nibabel does it."""
    if header.get_data_dtype().names:
        return lambda values: values
    slope, intercept = header.get_slope_inter()
    return partial(apply_read_scaling, slope=slope, inter=intercept)


def _image_name(path: Path, name: str) -> str:
    """Of the file that holds the voxels of a header: `ct.img` for `ct.hdr`, packed or not."""
    stem, dot, extension = path.name.removesuffix(".gz").rpartition(".")
    if not dot or extension.lower() != "hdr":
        raise damaged(
            name,
            "it is the header of a pair, whose voxels lie in a file of the same name that ends in .img; name it with .hdr",
        )
    image = f"{stem}.{'IMG' if extension.isupper() else 'img'}"
    packed = [f"{image}.gz", image] if path.name.endswith(".gz") else [image, f"{image}.gz"]
    return next((one for one in packed if (path.parent / one).exists()), packed[0])
