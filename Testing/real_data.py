"""Real volumes and networks as the tests and figures use them, from the folder that SEGHIRESCAM_TEST_DATA names."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monai.data import MetaTensor

WEIGHTS = {
    "kits19-unet2d": "basicunet2d_kits19_kidney.pt",
    "spleen-unet3d": "spleen_unet3d_state_dict.pt",
}


def unpack_kidney_ct(test_data: Path, folder: Path) -> Path:
    """The kidney CT and its expert masks, unpacked into `folder`: PATIENT_DICOM and MASKS_DICOM."""
    with tarfile.open(test_data / "kidney-ct-dicom" / "PATIENT_DICOM.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    with zipfile.ZipFile(test_data / "kidney-ct-dicom" / "MASKS_DICOM.zip") as archive:
        archive.extractall(folder)
    return folder


def assemble_bundle(test_data: Path, folder: Path, name: str) -> Path:
    """The description of a real network beside its weights, as a bundle in `folder`."""
    bundle = folder / name
    shutil.copytree(Path(__file__).parent / "data" / name, bundle)
    (bundle / "models").mkdir(exist_ok=True)
    shutil.copy(test_data / name / WEIGHTS[name], bundle / "models" / "model.pt")
    return bundle


def slab(volume: MetaTensor, start: int, stop: int) -> MetaTensor:
    """Some slices (the third axis of the grid), where they were."""
    from monai.data import MetaTensor

    affine = volume.affine.clone()
    affine[:3, 3] += affine[:3, 2] * start
    return MetaTensor(volume.as_tensor()[..., start:stop].clone(), affine=affine)
