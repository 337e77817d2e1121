"""Read and write volumes: files and DICOM series to MONAI's MetaTensor, and back.

A volume is float32 (C, i, j, k). Its `affine` is float64 and takes voxel indices (i, j, k) to RAS millimetres.
C is 1 except for images of several channels: colour gives red, green and blue, as stored (mostly 0 to 255).
Voxel size is `volume.pixdim`.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from monai.utils import SpaceKeys

from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.images.dicom.series import read_dicom_file, read_dicom_folder
from SegHiResCAMLib.engine.images.findings import KEY, findings_of, report
from SegHiResCAMLib.engine.images.formats import kind_of
from SegHiResCAMLib.engine.images.metaimage_file import read_metaimage, write_metaimage
from SegHiResCAMLib.engine.images.nifti_file import read_nifti
from SegHiResCAMLib.engine.images.nrrd_file import read_nrrd
from SegHiResCAMLib.engine.images.picture_file import READERS, read_picture
from SegHiResCAMLib.engine.images.resampling import is_same_grid, resample_onto
from SegHiResCAMLib.engine.images.volume_files import check_affine
from SegHiResCAMLib.engine.progress import Progress, silent
from SegHiResCAMLib.engine.regular_files import check_regular
from SegHiResCAMLib.nifti import write_nifti
from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.records.explanation import Finding
from SegHiResCAMLib.writing.errors import WritingError, check_name
from SegHiResCAMLib.writing.whole_file import whole_file

WRITERS: dict[str, Callable[[Path, npt.NDArray[Any], npt.NDArray[np.float64], Mapping[str, str]], None]] = {
    ".nrrd": write_nrrd,
    ".mha": write_metaimage,
    ".nii.gz": write_nifti,
    ".nii": write_nifti,
}
STORED_AS = {torch.bool: torch.uint8, torch.int64: torch.int32, torch.int8: torch.int16}
"""What other software cannot read, and what is written in its place. Floating types become float32."""

ORIENTATION_GUESSED = (
    "The orientation of {name} is guessed, since the file does not say where its voxels lie: first axis to the patient's left, second to "
    "posterior, third to superior, as ITK and 3D Slicer take it. Compare left and right, front and back with another source."
)


class _Read(NamedTuple):
    """Values (C, i, j, k), RAS affine, and whether the file says how its axes lie in the patient."""

    values: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    is_placed: bool = True


def read_volume(path: str | os.PathLike[str], *, series: str | None = None, progress: Progress = silent) -> MetaTensor:
    """Read an image file, a DICOM file or a DICOM folder.

    The kind is told from the content, so a wrong or missing extension does no harm. NIfTI, NRRD and MetaImage keep
    their own axes, oblique, left-handed or sheared as they are. A picture (PNG, JPEG, TIFF, BMP) is one axial slice
    of 1 mm pixels, each page of a TIFF the next one: i to the patient's left, j to posterior, so that it stands upright in radiological display.
    `engine/images/dicom/series.py` says how DICOM is read: a folder is a series, a file is only that file.

    Voxels that are NaN or infinite (padding outside the field of view) become the smallest finite value. Values beyond 2^24 lose digits in
    float32.

    Only the file itself and regular files beside it that it names are opened, and memory is taken only after the header was held against the
    length of the file and the memory that is free.

    Args:
        path: A file, or a folder of DICOM files.
        series: SeriesInstanceUID, where a folder holds several series.
        progress: Called between pieces of the voxels; it may raise `Cancelled`.

    Returns:
        float32 (C, i, j, k) with a float64 RAS affine; `meta["filename_or_obj"]` is the path as it was given, and `findings_of` gives what is
        to be known of it: voxels that are not finite, or an orientation that the file does not say. Each is a warning, too.

    Raises:
        EngineError: Always this and nothing else: `file-missing`, the codes of `kind_of`, `read_nifti`, `read_nrrd`, `read_metaimage`,
            `read_picture`, `read_dicom_folder` and `read_dicom_file`, of `volume_from_array`, `file-damaged`, `out-of-memory`,
            `series-needs-folder`.
        Cancelled: By `progress`.
    """
    name = os.fspath(path)
    try:
        read = _read(Path(path), name, series, progress)
        volume = _volume(read.values, read.affine, name, progress)
    except (EngineError, Cancelled):
        raise
    except PermissionError as error:
        raise EngineError(
            "file-unreadable", f"{name} cannot be opened: permission denied. Ask its owner for access."
        ) from error
    except Exception as error:  # a parser may raise anything at bytes it did not expect
        refuse_out_of_memory(error, name)
        message = f"{name} cannot be read: it is damaged or incomplete, or a rare variant of its format. Copy or export it again."
        raise EngineError("file-damaged", message) from error
    volume.meta["filename_or_obj"] = name
    if not read.is_placed:
        report(volume, Finding("orientation-guessed", ORIENTATION_GUESSED.format(name=name)))
    return volume


def stack_volumes(volumes: Sequence[MetaTensor]) -> MetaTensor:
    """Volumes of one patient as the channels of one, for networks with several inputs.

    The first one's grid is kept; the others are resampled onto it by patient position, linearly, and where one shows nothing, it takes its own
    smallest value. A volume that lies on the first one's grid already is not touched. A warning says where one covers less than half.

    Args:
        volumes: Each (C, i, j, k) with a RAS affine, in the order that the network wants.

    Returns:
        float32 (sum of C, i, j, k) on the first one's grid.

    Raises:
        EngineError: `volumes-apart`, when one has no voxel in common with the first.
    """
    first, *others = volumes
    channels = [first.as_tensor(), *(_onto(first, other, number) for number, other in enumerate(others, start=2))]
    findings = dict.fromkeys(finding for volume in volumes for finding in findings_of(volume))
    return MetaTensor(torch.cat(channels), meta=dict(first.meta) | ({KEY: tuple(findings)} if findings else {}))


def write_volume(volume: MetaTensor, path: str | os.PathLike[str], header: Mapping[str, str] | None = None) -> None:
    """Write a volume or a label map; the file appears whole or not at all.

    Floating types are written as float32, integers as integers. NRRD and MetaImage hold the affine to 1e-12 mm.
    NIfTI holds it as float32: 6e-8 of the largest number in it, so 6e-5 mm where the origin is 1 m away.

    Args:
        volume: (C, i, j, k) with a RAS affine in millimetres.
        path: Ends in .nrrd, .mha, .nii or .nii.gz. A file that is there is replaced.
        header: Provenance. Key-value pairs of NRRD and MetaImage, a JSON comment in NIfTI.

    Raises:
        EngineError: `format-unknown`, `folder-missing`, `file-not-written`.
    """
    name, path = os.fspath(path), Path(path)
    extension = next((known for known in WRITERS if path.name.lower().endswith(known)), None)
    if extension is None:
        raise EngineError("format-unknown", f"{name} cannot be written: its name must end in {', '.join(WRITERS)}.")
    if not path.parent.is_dir():
        raise EngineError("folder-missing", f"{name} cannot be written: its folder does not exist. Create it first.")
    data = volume.as_tensor().detach().cpu()
    data = data.float() if data.is_floating_point() else data.to(STORED_AS.get(data.dtype, data.dtype))
    array = data.numpy() if len(data) > 1 else data.numpy()[0]
    try:
        check_name(path)
        with whole_file(path) as beside:
            WRITERS[extension](beside, array, volume.affine.numpy(), header or {})
    except WritingError as error:
        raise EngineError("file-not-written", error.message) from error
    except Exception as error:  # a writer may raise anything
        refuse_out_of_memory(error, name)
        message = f"{name} could not be written. Check that there is space on the disk and that you may write there."
        raise EngineError("file-not-written", message) from error


def volume_from_array(array: npt.NDArray[Any], affine: npt.NDArray[np.float64], name: str = "The volume") -> MetaTensor:
    """A volume from (i, j, k) or (C, i, j, k) values and a 4x4 RAS affine in millimetres.

    Args:
        array: Real numbers of any type.
        affine: From voxel indices to RAS millimetres.
        name: What messages call it.

    Raises:
        EngineError: `volume-empty`, `volume-affine-singular`, `volume-not-finite`.
    """
    values = np.ascontiguousarray(array if np.ndim(array) == 4 else array[None], dtype=np.float32)
    if np.may_share_memory(values, array) and not np.isfinite(values).all():
        values = values.copy()  # the caller's stays as it is
    return _volume(values, affine, name)


def _volume(
    values: npt.NDArray[Any], affine: npt.NDArray[np.float64], name: str, progress: Progress = silent
) -> MetaTensor:
    """A volume of values (C, i, j, k), which become its own."""
    affine = np.asarray(affine, np.float64)
    values = np.ascontiguousarray(values, dtype=np.float32)
    if not values.size:
        raise EngineError("volume-empty", f"{name} holds no voxels. Export it again.")
    check_affine(affine, name)
    replaced = _replace_non_finite(values, name, progress)
    volume = MetaTensor(torch.from_numpy(values), affine=torch.from_numpy(affine), meta={"space": SpaceKeys.RAS})
    if replaced:
        report(volume, replaced)
    return volume


def _read(path: Path, name: str, series: str | None, progress: Progress) -> _Read:
    if not path.exists():
        raise EngineError("file-missing", f"{name} does not exist. Check its name and folder.")
    if path.is_dir():
        return _Read(*read_dicom_folder(path, name, series, progress))
    check_regular(path, name)
    if series is not None:
        raise EngineError(
            "series-needs-folder", f"{name} is a file: a series is chosen in a DICOM folder. Give its folder."
        )
    kind = kind_of(path, name)
    if kind == "nrrd":
        return _Read(*read_nrrd(path, name, progress))
    if kind == "metaimage":
        return _Read(*read_metaimage(path, name, progress))
    if kind in ("nifti", "nifti-pair"):
        return _Read(*read_nifti(path, name, kind, progress))
    if kind in READERS:
        return _Read(*read_picture(path, name, kind, progress))
    return _Read(*read_dicom_file(path, name, progress))


def _onto(grid: MetaTensor, volume: MetaTensor, number: int) -> torch.Tensor:
    """The values of `volume`, the one of that number, at the voxels of `grid`."""
    if is_same_grid(volume, grid):
        own: torch.Tensor = volume.as_tensor()
        return own
    channels = [MetaTensor(channel[None], affine=volume.affine) for channel in volume.as_tensor()]
    seen = MetaTensor(torch.ones_like(channels[0], dtype=torch.uint8), affine=volume.affine)
    name = volume.meta.get("filename_or_obj", f"Volume {number}")
    covered = int(resample_onto(seen, grid, "nearest").count_nonzero()) / math.prod(grid.shape[1:])
    if not covered:
        first = grid.meta.get("filename_or_obj", "the first volume")
        raise EngineError(
            "volumes-apart",
            f"{name} and {first} show different places of the patient: they have no voxel in common. Give volumes of one examination.",
        )
    if covered < 0.5:
        warnings.warn(f"{name} covers only {covered:.0%} of the first volume.", stacklevel=3)
    return torch.stack([resample_onto(one, grid, "linear", outside=float(one.min())) for one in channels])


def _replace_non_finite(values: npt.NDArray[np.float32], name: str, progress: Progress) -> Finding | None:
    """Put the smallest finite value in their place, plane by plane, so that no copy is made."""
    planes = [plane for channel in values for plane in channel]
    smallest, count = np.float32(np.inf), 0
    for number, plane in enumerate(planes):
        progress(1.0, "Reading") if number % 16 == 0 else None
        finite = np.isfinite(plane)
        missing = plane.size - int(np.count_nonzero(finite))
        if missing < plane.size:
            smallest = min(smallest, plane.min(where=finite, initial=np.inf) if missing else plane.min())
        count += missing
    if not count:
        return None
    if count == values.size:
        raise EngineError("volume-not-finite", f"{name} contains only NaN or infinite values. Export it again.")
    for plane in planes:
        plane[~np.isfinite(plane)] = smallest
    return Finding(
        "voxels-not-finite",
        f"{name} holds {count} voxels that are NaN or infinite; they are replaced by {smallest:g}, the smallest value.",
    )
