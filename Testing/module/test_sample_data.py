"""What the extension registers in Slicer's Sample Data is there, whole, and the patient that the demonstration shows."""

from __future__ import annotations

import hashlib
import sys
import types
from pathlib import Path
from typing import Any
from urllib.request import urlretrieve

import numpy as np
import pytest
from PIL import Image

from SegHiResCAMLib.sample_data import register_sample_data

SOURCES: list[dict[str, Any]] = []


class _SampleDataLogic:
    """Remembers what is registered; of 3D Slicer 5.10, which has no categories of one's own."""

    @staticmethod
    def registerCustomSampleDataSource(**source: Any) -> None:
        SOURCES.append(source)


@pytest.fixture
def a_source(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    SOURCES.clear()
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=_SampleDataLogic))
    register_sample_data()
    (source,) = SOURCES
    return source


def test_the_patient_needs_no_network_and_is_what_its_checksum_says(a_source: dict[str, Any], tmp_path: Path) -> None:
    assert a_source["uris"].startswith("file://")
    urlretrieve(a_source["uris"], tmp_path / a_source["fileNames"])  # as Sample Data does
    content = (tmp_path / a_source["fileNames"]).read_bytes()
    assert a_source["checksums"] == f"SHA256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.engine
def test_it_is_the_patient_that_its_generator_makes(a_source: dict[str, Any], tmp_path: Path) -> None:
    from phantom import sample_patient

    from SegHiResCAMLib.engine.images.volume import read_volume

    urlretrieve(a_source["uris"], tmp_path / "patient.nrrd")
    volume, patient = read_volume(tmp_path / "patient.nrrd"), sample_patient().volume
    np.testing.assert_allclose(volume.affine, patient.affine, atol=1e-9)
    # Single precision is rounded to whole HU: on another processor, a voxel within a few spacings of a tie falls to its other side.
    differences = np.abs(volume.numpy() - patient.numpy())
    assert differences.max() <= 1
    assert differences.mean() < 16 * np.spacing(np.float32(1024))


def test_its_thumbnail_has_the_size_that_sample_data_shows(a_source: dict[str, Any]) -> None:
    assert Image.open(a_source["thumbnailFileName"]).size == (260, 280)
