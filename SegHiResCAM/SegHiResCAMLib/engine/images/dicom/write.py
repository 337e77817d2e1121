"""A heat map back to where its images came from: DICOM files of the same patient and study, for a picture archive.

This is the only place where who the patient is leaves the source images, and only into these files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import nibabel as nib
import numpy as np
import numpy.typing as npt
from monai.data import MetaTensor
from pydicom import Dataset
from pydicom.uid import generate_uid

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.dicom.files import read_header
from SegHiResCAMLib.engine.images.dicom.geometry import ROUNDING_MM
from SegHiResCAMLib.engine.images.dicom.objects import LOWER_FRACTION, Made, fused_picture, parametric_map, segmentation
from SegHiResCAMLib.engine.images.dicom.pixels import StoredSlice, read_pixels
from SegHiResCAMLib.engine.images.dicom.quiet import quiet
from SegHiResCAMLib.engine.images.dicom.series import read_series
from SegHiResCAMLib.grids import distance
from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.terminology import ANATOMY, Code

HEATMAP, SEGMENTATION, PICTURES = "heatmap.dcm", "segmentation.dcm", "picture-{:04}.dcm"

MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
"""Of patient and study, what DICOM wants to be there, if only empty (type 2); anonymised series lack it."""

REFERRED_TO = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
"""How the new objects name their source images."""

T = TypeVar("T")


def write_dicom(
    heatmap: MetaTensor,
    record: ExplanationRecord,
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    series: str | None = None,
    labels: MetaTensor | None = None,
    segments: Sequence[Label] = (),
    pictures: bool = True,
) -> list[Path]:
    """Write a heat map, the outlines and fused pictures as DICOM, into the patient and study of the source series.

    Each frame carries its own position, so series of a tilted gantry are right, too; but dcmqi 1.5, which 3D Slicer reads Parametric Maps and
    Segmentations with, takes every stack for straight and misplaces those.

    Args:
        heatmap: (1, i, j, k) with RAS affine in mm, on the series' grid in any axis order (so also of a NIfTI made from it).
        record: Of the heat map; of the patient nothing is in it.
        source: The folder of the DICOM series that was explained.
        folder: For the files; it must exist. Files of the same names are replaced.
        series: SeriesInstanceUID, where the source folder holds several.
        labels: Label map (1, i, j, k) on the heat map's grid, for a DICOM Segmentation.
        segments: Of the label map.
        pictures: Write the slices on which something of the map shows as colour pictures, too.

    Returns:
        heatmap.dcm (Parametric Map), segmentation.dcm (Segmentation, where something is outlined) and picture-0001.dcm ... (Secondary
        Capture). They appear whole, all or none.

    Raises:
        EngineError: Those of `read_volume` for the source; `dicom-grid-differs`, `dicom-source-unfit`, `folder-missing`, `file-not-written`.
    """
    name, folder = os.fspath(source), Path(folder)
    if not folder.is_dir():
        raise EngineError(
            "folder-missing", f"{folder} does not exist, so no DICOM can be written there. Create it first."
        )
    slices, affine = _read_source(name, series)
    values = _on_grid(heatmap, slices, affine, name).astype(np.float32)
    made = Made(record)
    images = _source_images(slices, name)
    order = _frame_order(slices)
    region = _region(next((one for one in segments if one.name == record.question.segment), None))
    objects: dict[str, Dataset] = {
        HEATMAP: _made_by_highdicom(lambda: parametric_map(values[order], images, made, region), name)
    }
    if labels is not None and segments:
        outlined = _on_grid(labels, slices, affine, name).round().astype(np.int64)
        if outlined.any():
            objects[SEGMENTATION] = _made_by_highdicom(
                lambda: segmentation(outlined[order], segments, images, made), name
            )
    if pictures and values.max() > 0:
        objects |= _pictures(values, slices, affine, made, name)
    _write_all(objects, folder)
    return [folder / file for file in objects]


def check_source(volume: MetaTensor, source: str | os.PathLike[str], series: str | None = None) -> None:
    """Refuse a series that the heat map of a volume cannot be written beside, before anything is computed.

    Raises:
        EngineError: Those of `write_dicom` for the source.
    """
    name = os.fspath(source)
    slices, affine = _read_source(name, series)
    _on_grid(volume, slices, affine, name)
    _source_images(slices, name)


def _read_source(name: str, series: str | None) -> tuple[Sequence[StoredSlice], npt.NDArray[np.float64]]:
    if not Path(name).is_dir():
        message = f"{name} is not a folder. DICOM is written into the study of a series: give the folder of its images."
        raise EngineError("dicom-source-unfit", message)
    return read_series(Path(name), name, series, whole=True)


def _on_grid(
    volume: MetaTensor, slices: Sequence[StoredSlice], affine: npt.NDArray[np.float64], name: str
) -> npt.NDArray[np.float64]:
    """The volume's values as (slice, row, column) of the series: axes permuted and flipped as needed, never resampled."""
    values, there = volume.as_tensor()[0].cpu().numpy(), volume.affine.cpu().numpy()
    turn = nib.orientations.ornt_transform(nib.io_orientation(there), nib.io_orientation(affine))
    there = there @ nib.orientations.inv_ornt_aff(turn, values.shape)
    values = nib.apply_orientation(values, turn)
    header = slices[0].header
    shape = (header.Columns, header.Rows, len(slices))
    if values.shape != shape or distance(there, affine, shape) > ROUNDING_MM:
        message = (
            f"The heat map does not lie on the grid of {name} (another series, or resampled), so it cannot be written into their "
            "study. Explain the DICOM series itself, or write NRRD."
        )
        raise EngineError("dicom-grid-differs", message)
    turned: npt.NDArray[np.float64] = values.transpose(2, 1, 0)
    return turned


def _source_images(slices: Sequence[StoredSlice], name: str) -> list[Dataset]:
    """One header a slice; of a multi-frame file, its own."""
    multi_frame = len({item.path for item in slices}) < len(slices) or slices[0].header.get("NumberOfFrames")
    images = [_header(slices[0].path, name)] if multi_frame else [item.header for item in slices]
    frame_of_reference = images[0].get("FrameOfReferenceUID") or generate_uid(
        entropy_srcs=[str(images[0].get("SeriesInstanceUID"))]
    )
    lacking = [keyword for keyword in REFERRED_TO if not all(image.get(keyword) for image in images)]
    if lacking:
        raise EngineError("dicom-source-unfit", _unfit(name, f"lack {', '.join(lacking)}"))
    for image in images:
        for keyword in MAY_BE_EMPTY:
            if keyword not in image:
                setattr(image, keyword, None)
        image.FrameOfReferenceUID = frame_of_reference
    return images


def _header(path: Path, name: str) -> Dataset:
    header = read_header(path, name, whole=True)
    if header is None:
        raise EngineError("dicom-source-unfit", f"{name} changed while it was read. Try again.")
    return header


def _frame_order(slices: Sequence[StoredSlice]) -> list[int]:
    """In which order slices are frames: that of the source images, so that each frame lies where its image says."""
    several = len({item.path for item in slices}) > 1
    return list(range(len(slices))) if several else [int(k) for k in np.argsort([item.frame for item in slices])]


def _pictures(
    values: npt.NDArray[np.float32],
    slices: Sequence[StoredSlice],
    affine: npt.NDArray[np.float64],
    made: Made,
    name: str,
) -> dict[str, Dataset]:
    top = float(values.max())
    grey = _windowed(read_pixels(slices, name)[0], slices[0].header).transpose(2, 1, 0)
    axes = nib.aff2axcodes(affine, labels=(("L", "R"), ("P", "A"), ("F", "H")))
    uid = str(generate_uid())
    pictures: dict[str, Dataset] = {}
    for k in (k for k, frame in enumerate(values) if frame.max() >= LOWER_FRACTION * top):
        number = len(pictures) + 1
        make = partial(fused_picture, grey[k], values[k], top, slices[k].header, axes[:2], uid, number, made)
        pictures[PICTURES.format(number)] = _made_by_highdicom(make, name)
    return pictures


def _windowed(values: npt.NDArray[np.float32], header: Dataset) -> npt.NDArray[np.float32]:
    """0 to 1 over the window of the series' own header, or over all but the extreme hundredths where it has none."""
    centers, widths = (np.atleast_1d(header.get(keyword) or 0) for keyword in ("WindowCenter", "WindowWidth"))
    low, high = float(centers[0]) - float(widths[0]) / 2, float(centers[0]) + float(widths[0]) / 2
    if high <= low:
        low, high = np.percentile(values, (1, 99))
    return np.asarray((values - low) / max(high - low, 1e-6), np.float32)


def _region(label: Label | None) -> Code | None:
    known = label.terminology if label else None
    if known is None:
        return None
    return known.region or (known.type if known.category == ANATOMY else None)


def _made_by_highdicom(make: Callable[[], T], name: str) -> T:
    try:
        with quiet():
            return make()
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as problem:
        lacking = re.search(r"Dataset' object has no attribute '(\w+)'", str(problem))
        what = f"lack {lacking[1]}" if lacking else "do not conform to DICOM"
        raise EngineError("dicom-source-unfit", _unfit(name, what)) from problem


def _unfit(name: str, what: str) -> str:
    return f"The headers of {name} {what}, so nothing can be written into its study. Write NRRD instead."


def _write_all(objects: Mapping[str, Dataset], folder: Path) -> None:
    """All beside their places first, then renamed."""
    beside = {file: folder / f".{uuid4().hex}.dcm" for file in objects}
    try:
        for file, dataset in objects.items():
            dataset.save_as(beside[file], enforce_file_format=True)
        for file, path in beside.items():
            path.replace(folder / file)
    except OSError as problem:
        message = f"{folder} cannot be written to ({problem.strerror}). Check that there is space on the disk."
        raise EngineError("file-not-written", message) from problem
    finally:
        for path in beside.values():
            path.unlink(missing_ok=True)
