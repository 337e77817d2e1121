"""Where the slices of a DICOM series lie in the patient, and whether they make a volume.

Rows, columns and normal are those of DICOM PS3.3 C.7.6.2.1.1. Headers round, each slice for itself, so cosines, spacings and positions are never
compared as numbers: what counts is how many millimetres the corners of a slice lie beside one regular grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
from monai.data.utils import orientation_ras_lps
from pydicom import Dataset

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.dicom import gaps
from SegHiResCAMLib.engine.images.dicom.pixels import StoredSlice
from SegHiResCAMLib.engine.images.volume_files import check_affine

FloatArray = npt.NDArray[np.float64]

AXES = "RD"
"""highdicom's name for i to the right along a row, j down a column; k is then right-handed."""

ROUNDING_MM = 0.1
"""How far a slice may lie beside the regular grid; never further than half a pixel, nor along the scan than a tenth of the slice distance."""

ROUNDED_COSINES = 0.02
"""How far rows and columns may be from unit vectors at a right angle when cosines are rounded to two digits."""

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""In this order. Those of projection images are measured at the detector, and taken as they are."""

TELLS_APART = {
    "EchoTime": "echo time",
    "EchoNumbers": "echo",
    "TemporalPositionIdentifier": "time point",
    "TemporalPositionIndex": "time point",
    "TriggerTime": "trigger time",
    "NominalCardiacTriggerDelayTime": "trigger delay",
    "InversionTime": "inversion time",
    "DiffusionBValue": "b-value",
    "ConvolutionKernel": "kernel",
    "AcquisitionNumber": "acquisition",
    "ImageType": "image type",
    "FrameType": "frame type",
}


def stack(slices: Sequence[StoredSlice], name: str) -> tuple[list[StoredSlice], FloatArray]:
    """Sort slices along their normal, and say where they lie.

    The affine is the regular grid nearest to all slices (least squares). The k axis is the step from slice to slice as it is, so a tilted gantry
    gives a sheared affine and every voxel keeps its true place.

    Returns:
        The slices in the order of k, and the RAS affine of (column i, row j, slice k) in millimetres. Every corner of every slice lies within
        `ROUNDING_MM` of where its own header says.

    Raises:
        EngineError: `dicom-mosaic`, `dicom-slices-differ`, `dicom-no-positions`, `dicom-mixed-orientations`,
            `dicom-no-spacing`, `dicom-positions-repeat`, `dicom-slices-uneven`, `volume-affine-singular`.
    """
    headers = [item.header for item in slices]
    if any("MOSAIC" in (header.get("ImageType") or ()) for header in headers):
        message = f"{name} holds mosaic images (many slices tiled into one). Convert them to NIfTI with dcm2niix."
        raise EngineError("dicom-mosaic", message)
    if any(int(header.get("NumberOfFrames") or 1) > 1 for header in headers):
        message = f"{name} holds frames without positions in the patient (a cine loop), which do not form a volume. Save one frame as its own file."
        raise EngineError("dicom-no-positions", message)
    if not all(map(has_position, headers)):
        return list(slices), _projection_affine(headers, name)
    if not all(spacing > 0 for header in headers for spacing in _pixel_spacing(header)):
        raise EngineError("dicom-no-spacing", f"{name} has a pixel spacing of 0. Export it again.")
    if len({size(header) for header in headers}) > 1:
        raise _differ(name, "different size or colour")
    planes = np.array([plane(header) for header in headers])
    for one in planes:
        check_affine(one, name)
    order = np.argsort(planes[:, :3, 3] @ planes[:, :3, 2].mean(axis=0), kind="stable")
    slices, planes = [slices[index] for index in order], planes[order]
    return slices, orientation_ras_lps(
        planes[0] if len(slices) == 1 else _grid(planes, [one.header for one in slices], name)
    )


def has_position(header: Dataset) -> bool:
    """Whether the header says where in the patient the slice lies."""
    return bool(header.get("ImagePositionPatient") and header.get("ImageOrientationPatient"))


def size(header: Dataset) -> tuple[int, int, int]:
    """Columns, rows, samples of a pixel."""
    return int(header.Columns), int(header.Rows), int(header.get("SamplesPerPixel") or 1)


def plane(header: Dataset) -> FloatArray:
    """LPS affine (4, 4) of one slice, as thick as its spacing or itself, or 1 mm where it does not say."""
    thickness = abs(float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 1.0))
    from highdicom.spatial import (
        create_affine_matrix_from_attributes,
    )  # which takes a second, and most volumes are no DICOM series

    affine: npt.NDArray[np.float64] = create_affine_matrix_from_attributes(
        image_position=header.ImagePositionPatient,
        image_orientation=_right_angled(np.array(header.ImageOrientationPatient, dtype=float)),
        pixel_spacing=_pixel_spacing(header),
        spacing_between_slices=thickness or 1.0,
        index_convention=AXES,
    )
    return affine


def corners_apart(planes: FloatArray, other: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """How far the corners of slices lie from those of others at most, in mm.

    Args:
        planes: LPS affines (n, 4, 4).
        other: One, or one for each.
        shape: Columns and rows.
    """
    corners = np.array([(*corner, 0, 1) for corner in product(*((0, length - 1) for length in shape))], float)
    apart = (planes - other)[:, :3] @ corners.T
    return np.asarray(np.linalg.norm(apart, axis=1).max(axis=1))


def _right_angled(orientation: FloatArray) -> list[float]:
    """Cosines of rows and columns as unit vectors at a right angle, each turned alike, where they are so but for rounding."""
    rows, columns = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(orientation.reshape(2, 3), axis=1)
    if abs(rows @ columns) <= ROUNDED_COSINES and np.abs(lengths - 1).max() <= ROUNDED_COSINES:
        rows, columns = rows / lengths[0], columns / lengths[1]
        half, other = (both / np.linalg.norm(both) / np.sqrt(2) for both in (rows + columns, rows - columns))
        rows, columns = half + other, half - other
    return [float(cosine) for cosine in (*rows, *columns)]


def _grid(planes: FloatArray, headers: Sequence[Dataset], name: str) -> FloatArray:
    """The LPS affine of the regular grid that slices in the order of k lie on."""
    count, shape = len(planes), size(headers[0])[:2]
    fitted = planes.mean(axis=0)
    centre = [(shape[0] - 1) / 2, (shape[1] - 1) / 2, 0, 1]
    k = np.arange(count) - (count - 1) / 2
    step = k @ (planes @ centre)[:, :3] / (k @ k)
    affine: FloatArray = fitted.copy()
    affine[:3, 2] = step
    affine[:3, 3] -= step * (count - 1) / 2
    where = np.repeat(fitted[None], count, axis=0)
    where[:, :3, 3] += k[:, None] * step
    normal = np.cross(fitted[:3, 0], fitted[:3, 1])
    normal /= np.linalg.norm(normal)
    along = planes[:, :3, 3] @ normal
    beside = corners_apart(planes, where, shape).max(), np.abs((planes - where)[:, :3] @ centre @ normal).max()
    limits = _limits(fitted, (along[-1] - along[0]) / (count - 1))
    if limits[1] > 0 and beside[0] <= limits[0] and beside[1] <= limits[1]:
        return affine
    _check_directions(planes, fitted, shape, limits[0], name)
    _check_distinct(headers, along, limits[1], name)
    if uneven := gaps.described(along, limits[1]):
        what = f"lacks slices, or they are unevenly spaced: {uneven}"
    else:
        off, limit = next((off, limit) for off, limit in zip(beside, limits, strict=True) if off > limit)
        what = f"holds slices that lie up to {off:.3g} mm off a regular grid, where up to {limit:.3g} mm is rounding"
    raise EngineError(
        "dicom-slices-uneven", f"{name} {what}. Export the whole series, or resample it to a regular grid."
    )


def _limits(fitted: FloatArray, slice_distance: float) -> tuple[float, float]:
    """What is rounding, in mm: of a corner, and of a slice along the scan."""
    corner = min(ROUNDING_MM, float(np.linalg.norm(fitted[:3, :2], axis=0).min()) / 2)
    return corner, min(corner, 0.1 * slice_distance)


def _check_directions(planes: FloatArray, fitted: FloatArray, shape: tuple[int, int], limit: float, name: str) -> None:
    """Refuse slices whose directions or pixel sizes displace their corners from the others'."""
    lengths = np.linalg.norm(planes[:, :3, :2], axis=1)
    usual = lengths.mean(axis=0)
    turned, scaled = np.zeros_like(planes), np.zeros_like(planes)
    turned[:, :3, :2] = planes[:, :3, :2] / lengths[:, None] * usual
    scaled[:, :3, :2] = (fitted[:3, :2] / np.linalg.norm(fitted[:3, :2], axis=0))[None] * lengths[:, None]
    apart = corners_apart(turned, turned.mean(axis=0), shape).max()
    if apart > limit:
        kinds = _kinds(turned, shape, limit)
        raise EngineError(
            "dicom-mixed-orientations",
            f"{name} mixes slices of {kinds if kinds > 1 else 'several'} orientations, as a localiser does: their corners lie up to {apart:.3g} mm "
            f"from a common grid, where up to {limit:.3g} mm is rounding. Keep one orientation in the folder.",
        )
    apart = corners_apart(scaled, scaled.mean(axis=0), shape).max()
    if apart > limit:
        raise _differ(
            name,
            f"different pixel spacing: their corners lie up to {apart:.3g} mm apart, where up to {limit:.3g} mm is rounding",
        )


def _kinds(planes: FloatArray, shape: tuple[int, int], limit: float) -> int:
    """How many kinds of slices there are, where those of one kind lie within the limit of one of them."""
    kinds, left = 0, planes
    while len(left):
        left = left[corners_apart(left, left[0], shape) > limit]
        kinds += 1
    return kinds


def _differ(name: str, how: str) -> EngineError:
    return EngineError("dicom-slices-differ", f"{name} mixes slices of {how}. Keep one kind in the folder.")


def _projection_affine(headers: Sequence[Dataset], name: str) -> FloatArray:
    """A picture without a place in the patient lies like any picture: one axial slice, upright, 1 mm thick."""
    if len(headers) > 1:
        message = (
            f"{name} holds images without positions in the patient, which do not form a volume. Open one of its files."
        )
        raise EngineError("dicom-no-positions", message)
    between_rows, between_columns = _pixel_spacing(headers[0])
    ras: npt.NDArray[np.float64] = orientation_ras_lps(np.diag([between_columns, between_rows, 1.0, 1.0]))
    return ras


def _check_distinct(headers: Sequence[Dataset], along: FloatArray, limit: float, name: str) -> None:
    places = 1 + int((np.diff(along) > limit).sum())
    if places == len(along):
        return
    differing = [
        f"{words} ({', '.join(values[:4])})"
        for keyword, words in TELLS_APART.items()
        if len(values := sorted({str(header.get(keyword, "none")) for header in headers})) > 1
    ]
    what = f"They differ in {' and '.join(differing[:3])}." if differing else "Their headers do not distinguish them."
    message = f"{name} holds {len(headers)} slices at {places} positions. {what} Keep one of each in the folder."
    raise EngineError("dicom-positions-repeat", message)


def _pixel_spacing(header: Dataset) -> tuple[float, float]:
    """Distance in mm between rows and between columns, 1 mm where nothing says."""
    for keyword in SPACINGS:
        if header.get(keyword):
            between_rows, between_columns = header[keyword].value
            return float(between_rows), float(between_columns)
    return 1.0, 1.0
