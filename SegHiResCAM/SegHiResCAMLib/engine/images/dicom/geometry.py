"""Where the slices of a DICOM series lie in the patient, and whether they make a volume.

Rows, columns and normal are those of DICOM PS3.3 C.7.6.2.1.1; highdicom computes the matrix and the order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from highdicom.spatial import create_affine_matrix_from_attributes, get_normal_vector, get_plane_sort_index
from monai.data.utils import orientation_ras_lps
from pydicom import Dataset

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.dicom.pixels import Slice

FloatArray = npt.NDArray[np.float64]

AXES = "RD"
"""highdicom's name for i to the right along a row, j down a column; k is then right-handed."""

SAME_DIRECTION = 1e-4
"""Direction cosines that differ by less are rounding: 0.05 mm at the far edge of a 500 mm slice."""

SAME_PLACE_MM = 1e-3

LARGEST_OFFSET_MM = 0.1
"""How far a slice may lie from its place on the regular grid; and never further than a tenth of the slice distance."""

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


def stack(slices: Sequence[Slice], name: str) -> tuple[list[Slice], FloatArray]:
    """Sort slices along their normal, and say where they lie.

    The k axis is the step from slice to slice as it is, so a tilted gantry gives a sheared affine and every voxel
    keeps its true place. Every slice must lie within 0.1 mm, and a tenth of the step, of the regular grid.

    Returns:
        The slices in the order of k, and the RAS affine of (column i, row j, slice k) in millimetres.

    Raises:
        EngineError: `dicom-mosaic`, `dicom-slices-differ`, `dicom-no-positions`, `dicom-mixed-orientations`,
            `dicom-no-spacing`, `dicom-positions-repeat`, `dicom-slices-uneven`.
    """
    headers = [item.header for item in slices]
    if any("MOSAIC" in header.get("ImageType", ()) for header in headers):
        sentence = f"{name} holds mosaic images (many slices tiled into one). Convert them to NIfTI with dcm2niix."
        raise EngineError("dicom-mosaic", sentence)
    if any(int(header.get("NumberOfFrames") or 1) > 1 for header in headers):
        sentence = (
            f"{name} holds frames without positions in the patient (a cine loop), which make no volume. Save one alone."
        )
        raise EngineError("dicom-no-positions", sentence)
    if not all(header.get("ImagePositionPatient") and header.get("ImageOrientationPatient") for header in headers):
        return list(slices), _projection_affine(headers, name)
    orientation = _orientation(headers, name)
    _check_alike(headers, name)
    positions = [header.ImagePositionPatient for header in headers]
    order = get_plane_sort_index(positions, orientation, index_convention=AXES)
    slices = [slices[index] for index in order]
    headers = [item.header for item in slices]
    affine = _slice_affine(headers[0], orientation)
    if len(slices) > 1:
        affine[:3, 2] = _step(headers, orientation, name)
    return slices, orientation_ras_lps(affine)


def _check_alike(headers: Sequence[Dataset], name: str) -> None:
    sizes = {(header.Columns, header.Rows, header.get("SamplesPerPixel", 1)) for header in headers}
    spacings = np.array([_pixel_spacing(header) for header in headers])
    if not (spacings > 0).all():
        raise EngineError("dicom-no-spacing", f"{name} gives its pixels no size (pixel spacing is 0). Export it again.")
    if len(sizes) > 1 or not np.allclose(spacings, spacings[0], rtol=1e-3):
        sentence = f"{name} mixes slices of different size, pixel spacing or colour. Keep one kind in the folder."
        raise EngineError("dicom-slices-differ", sentence)


def _projection_affine(headers: Sequence[Dataset], name: str) -> FloatArray:
    """A picture without a place in the patient lies like any picture: one axial slice, upright, 1 mm thick."""
    if len(headers) > 1:
        sentence = f"{name} holds images without positions in the patient, which make no volume. Open one of its files."
        raise EngineError("dicom-no-positions", sentence)
    between_rows, between_columns = _pixel_spacing(headers[0])
    return orientation_ras_lps(np.diag([between_columns, between_rows, 1.0, 1.0]))


def _orientation(headers: Sequence[Dataset], name: str) -> list[float]:
    orientations = np.array([header.ImageOrientationPatient for header in headers], dtype=float)
    if (np.abs(orientations - orientations[0]) > SAME_DIRECTION).any():
        count = len(np.unique(orientations.round(3), axis=0))
        sentence = (
            f"{name} mixes slices of {count} orientations, as a localiser does. Keep one orientation in the folder."
        )
        raise EngineError("dicom-mixed-orientations", sentence)
    return [float(cosine) for cosine in orientations[0]]


def _slice_affine(header: Dataset, orientation: Sequence[float]) -> FloatArray:
    """LPS affine of one slice, as thick as its spacing or itself, or 1 mm where it does not say."""
    thickness = abs(float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 1.0))
    return create_affine_matrix_from_attributes(
        image_position=header.ImagePositionPatient,
        image_orientation=orientation,
        pixel_spacing=_pixel_spacing(header),
        spacing_between_slices=thickness,
        index_convention=AXES,
    )


def _step(headers: Sequence[Dataset], orientation: Sequence[float], name: str) -> FloatArray:
    """The LPS vector from slice to slice, where all lie on one regular line."""
    positions = np.array([header.ImagePositionPatient for header in headers], dtype=float)
    _check_distinct(headers, positions, name)
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    regular = positions[0] + np.arange(len(positions))[:, None] * step
    offsets = np.linalg.norm(positions - regular, axis=1)
    along = positions @ get_normal_vector(orientation, index_convention=AXES)
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    if offsets.max() <= min(LARGEST_OFFSET_MM, 0.1 * usual):
        return step
    worst = int(np.abs(gaps - usual).argmax())
    if abs(gaps[worst] - usual) <= 0.01 * usual:
        sentence = f"{name} holds slices that do not lie on a straight line. Resample it to a regular grid."
        raise EngineError("dicom-slices-uneven", sentence)
    sentence = (
        f"{name} lacks slices, or they are unevenly spaced: from slice {worst + 1} to {worst + 2} of {len(headers)} "
        f"(at {along[worst]:.1f} and {along[worst + 1]:.1f} mm along the scan) it is {gaps[worst]:.2f} mm, elsewhere "
        f"{usual:.2f} mm. Export the whole series, or resample it to a regular grid."
    )
    raise EngineError("dicom-slices-uneven", sentence)


def _check_distinct(headers: Sequence[Dataset], positions: FloatArray, name: str) -> None:
    places = len(np.unique((positions / SAME_PLACE_MM).round(), axis=0))
    if places == len(headers):
        return
    differing = [
        f"{words} ({', '.join(values[:4])})"
        for keyword, words in TELLS_APART.items()
        if len(values := sorted({str(header.get(keyword, "none")) for header in headers})) > 1
    ]
    what = f"They differ in {' and '.join(differing[:3])}." if differing else "Their headers do not tell them apart."
    sentence = f"{name} holds {len(headers)} slices at {places} positions. {what} Keep one of each in the folder."
    raise EngineError("dicom-positions-repeat", sentence)


def _pixel_spacing(header: Dataset) -> tuple[float, float]:
    """Distance in mm between rows and between columns, 1 mm where nothing says."""
    for keyword in SPACINGS:
        if header.get(keyword):
            between_rows, between_columns = header[keyword].value
            return float(between_rows), float(between_columns)
    return 1.0, 1.0
