"""What every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock
from real_data import unpack_kidney_ct


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real volumes and networks. Unset: skip and say so. Set but absent: fail, so that CI cannot skip by mistake."""
    folder = os.environ.get("SEGHIRESCAM_TEST_DATA")
    if not folder:
        pytest.skip("SEGHIRESCAM_TEST_DATA is not set: it names the folder of real volumes and networks")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"SEGHIRESCAM_TEST_DATA is {folder}, which is no folder")
    return path


@pytest.fixture(scope="session")
def kidney_case(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kidney CT and its expert masks, PATIENT_DICOM and MASKS_DICOM, unpacked once for all processes of a run: not to be changed."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "kidney-case"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unpack_kidney_ct(test_data, folder.with_name("unpacking")).rename(folder)
    return folder
