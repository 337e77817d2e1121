"""NRRD files, read again by SimpleITK and by NRRD's own rules."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from SegHiResCAMLib import nrrd
from SegHiResCAMLib.nrrd import write_nrrd

ARRAY = np.random.default_rng(0).normal(size=(5, 4, 7)).astype(np.float32)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "int32", "float32", "float64"])
def test_every_type_and_order_of_memory_comes_back(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.asarray(ARRAY * 50, dtype, order)
    write_nrrd(tmp_path / "a.nrrd", array, np.eye(4), {})
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nrrd"))).T
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(read, array)


def test_awkward_values_come_back_as_they_were(tmp_path: Path) -> None:
    header = {"path": 'C:\\new\\"a:=b"', "name": "Nière = 腎臓"}
    write_nrrd(tmp_path / "a.nrrd", ARRAY, np.eye(4), header)
    image = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    assert {key: image.GetMetaData(key) for key in header} == header


def test_how_far_it_is_is_told_and_whoever_hears_it_can_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nrrd, "AT_ONCE", 2 * ARRAY[..., 0].nbytes)
    told: list[float] = []
    write_nrrd(tmp_path / "a.nrrd", ARRAY, np.eye(4), {}, written=told.append)
    assert told == [2 / 7, 4 / 7, 6 / 7, 1]
    packed = (tmp_path / "a.nrrd").read_bytes().partition(b"\n\n")[2]
    assert zlib.decompress(packed, 16 + zlib.MAX_WBITS) == ARRAY.tobytes("F")

    def stop(_fraction: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        write_nrrd(tmp_path / "b.nrrd", ARRAY, np.eye(4), {}, written=stop)
