"""What every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
