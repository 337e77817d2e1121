"""Volumes in single files: NIfTI through nibabel, everything else through SimpleITK. NRRD and NIfTI are written by `nrrd` and `nifti`.

nibabel reads NIfTI because ITK straightens sheared sforms. Arrays that are read are (C, i, j, k), affines 4x4 from voxel
indices to RAS millimetres.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from monai.data.utils import affine_to_spacing, orientation_ras_lps

from SegHiResCAMLib.engine.errors import EngineError

FloatArray = npt.NDArray[np.float64]
ITK_READERS = {
    "nrrd": "NrrdImageIO",
    "metaimage": "MetaImageIO",
    "png": "PNGImageIO",
    "jpeg": "JPEGImageIO",
    "tiff": "TIFFImageIO",
    "bmp": "BMPImageIO",
}
PICTURES = ("png", "jpeg", "tiff", "bmp")
MAX_VALUES = 2**31
"""More than any scanner makes (8 GiB as float32): a header that claims more is damaged or hostile."""

NIFTI_UNITS_IN_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Metres, millimetres, microns: the low three bits of `xyzt_units`. Anything else is taken for millimetres."""


def check_size(count: int, name: str) -> None:
    """Refuse what would not fit in memory, before memory is asked for. `count`: values over all channels."""
    if count > MAX_VALUES:
        sentence = (
            f"{name} claims {count:.3g} values, more than the {MAX_VALUES:.3g} that are read. Crop or resample it."
        )
        raise EngineError("volume-too-large", sentence)


def check_affine(affine: FloatArray, name: str) -> None:
    """Refuse an affine whose three axes do not span space: their unit vectors must enclose more than a sliver."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if np.isfinite(affine).all() and spacing.all() and abs(np.linalg.det(affine[:3, :3] / spacing)) > 1e-4:
        return
    raise _no_place(name)


def read_nifti(path: Path, name: str, kind: str) -> tuple[npt.NDArray[Any], FloatArray]:
    """A NIfTI-1 or NIfTI-2 file, by sform, else qform, else spacing: the order that nibabel and the standard give.

    Raises:
        EngineError: `volume-affine-singular`, `volume-has-time-points`, `volume-complex`, `volume-too-large`.
    """
    with ExitStack() as stack:
        image = _open_nifti(path, name, kind, stack)
        shape = image.shape
        check_size(int(np.prod(shape, dtype=object)), name)
        if len(shape) > 3 and shape[3] > 1:
            raise _time_points(name, shape[3])
        dtype = image.get_data_dtype()
        if dtype.kind == "c":
            raise _complex(name)
        if dtype.names:  # RGB or RGBA, one byte each
            stored = np.asarray(image.dataobj)
            array = np.stack([stored[channel] for channel in ("R", "G", "B")], axis=-1)
        else:
            array = image.get_fdata(dtype=np.float32, caching="unchanged")
    # (i, j, k, 1, C) is the standard's layout of vectors.
    array = array.reshape(*(*shape, 1, 1)[:3], -1)
    millimetres = NIFTI_UNITS_IN_MM.get(int(image.header["xyzt_units"]) & 7, 1.0)
    return np.moveaxis(array, -1, 0), np.diag([millimetres] * 3 + [1.0]) @ image.affine


def read_itk(path: Path, name: str, kind: str) -> tuple[npt.NDArray[Any], FloatArray]:
    """A file that SimpleITK reads. Pictures get pixels of 1 mm, whatever their print resolution says.

    Raises:
        EngineError: `volume-affine-singular`, `volume-has-time-points`, `volume-complex`, `volume-too-large`.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(ITK_READERS[kind])
    reader.ReadImageInformation()
    size, channels = reader.GetSize(), reader.GetNumberOfComponents()
    check_size(int(np.prod(size, dtype=object)) * channels, name)
    if len(size) > 3 and size[3] > 1:
        raise _time_points(name, size[3])
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelIDValue()):
        raise _complex(name)
    check_affine(_itk_affine(reader), name)
    image = reader.Execute()
    array = sitk.GetArrayViewFromImage(image).reshape(*(*size, 1, 1)[2::-1], channels)
    if kind in PICTURES:
        # Grey with alpha, or colour with alpha: the alpha channel is no measurement.
        array = array[..., : channels - 1] if channels in (2, 4) else array
        # Grey stored as colour is grey.
        array = array if (array != array[..., :1]).any() else array[..., :1]
        return array.T.copy(), orientation_ras_lps(np.eye(4))
    return array.T.copy(), _itk_affine(image)


def write_metaimage(path: Path, array: npt.NDArray[Any], affine: FloatArray, header: Mapping[str, str]) -> None:
    """(i, j, k) or (C, i, j, k), compressed. Line breaks become spaces: MetaImage cannot hold them."""
    image = sitk.GetImageFromArray(array.T, isVector=array.ndim == 4)
    lps = orientation_ras_lps(affine)
    spacing = affine_to_spacing(lps)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    for key, value in header.items():
        image.SetMetaData(key, " ".join(value.split()))
    sitk.WriteImage(image, str(path), useCompression=True)


def _open_nifti(path: Path, name: str, kind: str, stack: ExitStack) -> Any:
    if kind == "nifti-pair":
        return nib.load(path)
    file: Any = stack.enter_context(path.open("rb"))
    if file.peek(2).startswith(b"\x1f\x8b"):
        file = stack.enter_context(gzip.GzipFile(fileobj=file))
    image_class = nib.Nifti2Image if file.read(8)[4:7] == b"n+2" else nib.Nifti1Image
    file.seek(0)
    stored = image_class.header_class.from_fileobj(file, check=False)
    if stored["sform_code"] <= 0 and not stored["pixdim"][1:][: min(stored["dim"][0], 3)].all():
        raise _no_place(name)  # nibabel would take 1 mm for 0
    file.seek(0)
    return image_class.from_stream(file)


def _itk_affine(image: sitk.Image | sitk.ImageFileReader) -> FloatArray:
    """RAS affine of an image of two, three or four dimensions; a plane lies at z = 0 and is 1 mm thick."""
    dimensions = image.GetDimension()
    kept = min(dimensions, 3)
    direction = np.reshape(image.GetDirection(), (dimensions, dimensions))
    lps = np.eye(4)
    lps[:kept, :kept] = (direction * image.GetSpacing())[:kept, :kept]
    lps[:kept, 3] = image.GetOrigin()[:kept]
    return orientation_ras_lps(lps)


def _no_place(name: str) -> EngineError:
    sentence = f"{name} does not say where its voxels lie: its affine is singular. Set voxel size and axes."
    return EngineError("volume-affine-singular", sentence)


def _time_points(name: str, count: int) -> EngineError:
    sentence = (
        f"{name} holds {count} volumes (time points or echoes), and one is needed. Save one of them as its own file."
    )
    return EngineError("volume-has-time-points", sentence)


def _complex(name: str) -> EngineError:
    return EngineError("volume-complex", f"{name} holds complex numbers. Save the magnitude as its own file.")
