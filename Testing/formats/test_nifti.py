"""NIfTI files, read again by SimpleITK and nibabel: on every Python, since nibabel asks for what a file is in a way that differs."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from SegHiResCAMLib.nifti import write_nifti

ARRAY = np.random.default_rng(0).normal(size=(5, 4, 7)).astype(np.float32)
AFFINE = np.array([[-1.5, 0, 0, 30], [0, 1.5, 0, -20], [0, 0, 3.0, 500], [0, 0, 0, 1]])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_every_type_comes_back(tmp_path: Path, dtype: str, name: str) -> None:
    array = np.asarray(ARRAY * 20, dtype)
    write_nifti(tmp_path / name, array, AFFINE, {})
    image = sitk.ReadImage(str(tmp_path / name))
    read = sitk.GetArrayFromImage(image).T
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    assert image.GetSpacing() == (1.5, 1.5, 3.0)
    assert image.GetOrigin() == (-30, 20, 500)  # LPS
    assert (tmp_path / name).read_bytes()[:2] == b"\x1f\x8b" or not name.endswith(".gz")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_several_channels_and_provenance_come_back(tmp_path: Path, name: str) -> None:
    array = np.stack([ARRAY, -ARRAY])
    write_nifti(tmp_path / name, array, AFFINE, {"name": "Nière = 腎臓"})
    image = nib.load(tmp_path / name)
    np.testing.assert_array_equal(np.moveaxis(image.get_fdata()[:, :, :, 0], -1, 0), array)
    np.testing.assert_array_equal(image.affine, AFFINE)
    (comment,) = image.header.extensions
    assert comment.json() == {"name": "Nière = 腎臓"}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_how_far_it_is_is_reported_and_whoever_hears_it_can_stop_it(tmp_path: Path, name: str) -> None:
    heard: list[float] = []
    write_nifti(tmp_path / name, ARRAY, AFFINE, {}, written=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == 1
    assert len(heard) >= ARRAY.shape[-1]

    def stop(_fraction: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        write_nifti(tmp_path / f"stopped-{name}", ARRAY, AFFINE, {}, written=stop)


def test_what_is_written_is_what_nibabel_writes_by_itself(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", ARRAY, AFFINE, {})
    image = nib.Nifti1Image(ARRAY, AFFINE)
    image.header.set_xyzt_units("mm")
    image.set_sform(AFFINE, code="scanner")
    image.set_qform(AFFINE, code="scanner")
    assert gzip.decompress((tmp_path / "a.nii.gz").read_bytes()) == image.to_bytes()
