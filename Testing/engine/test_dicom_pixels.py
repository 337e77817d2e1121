"""Stored DICOM numbers mean what SimpleITK (GDCM) says they mean, in either byte order and every layout of bits and colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from engine.test_dicom import COLUMNS, ROWS, ct_slice
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from SegHiResCAMLib.engine.images.volume import read_volume

SYNTAXES = {"implicit": ImplicitVRLittleEndian, "little": ExplicitVRLittleEndian, "big": ExplicitVRBigEndian}
CHANCE = np.random.default_rng(0)


def words(values: np.ndarray, order: str) -> bytes:
    """As 16-bit words in the file's order; of bytes, two a word."""
    pairs = values.astype("<u2") if values.dtype != np.uint8 else np.frombuffer(values.tobytes(), "<u2")
    return pairs.astype(">u2" if order == "big" else "<u2").tobytes()


def write(dataset: FileDataset, values: np.ndarray, order: str, path: Path) -> Path:
    dataset.PixelData = words(values, order)
    dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[order]
    pydicom.dcmwrite(path, dataset, little_endian=order != "big", implicit_vr=order == "implicit")
    return path


def by_simpleitk(path: Path) -> np.ndarray:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    return sitk.GetArrayFromImage(reader.Execute()).reshape(ROWS, COLUMNS, -1).astype(float)


def ours(path: Path) -> np.ndarray:
    return read_volume(path).numpy()[..., 0].transpose(2, 1, 0)


def byte_image(**attributes: object) -> FileDataset:
    dataset = ct_slice(BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0, **attributes)
    del dataset.RescaleSlope, dataset.RescaleIntercept
    return dataset


def add_table(dataset: FileDataset, bits: int, order: str, prefix: str = "") -> None:
    for number, colour in enumerate(("Red", "Green", "Blue")):
        entries = (
            np.array([0, 2, 7, 9 + number, 1, 254, 65000 - number]) if prefix else CHANCE.integers(0, 2**bits, 256)
        )
        table = entries.astype(np.uint8 if bits == 8 else np.uint16)
        dataset.add_new(tag_for_keyword(f"{colour}PaletteColorLookupTableDescriptor"), "US", [256, 0, bits])
        dataset.add_new(tag_for_keyword(f"{prefix}{colour}PaletteColorLookupTableData"), "OW", words(table, order))


@pytest.mark.parametrize("order", SYNTAXES)
@pytest.mark.parametrize("bits", [8, 16])
def test_palette_colour_is_as_simpleitk_shows_it(tmp_path: Path, order: str, bits: int) -> None:
    dataset = byte_image(PhotometricInterpretation="PALETTE COLOR")
    add_table(dataset, bits, order)
    path = write(dataset, CHANCE.integers(0, 256, (ROWS, COLUMNS)).astype(np.uint8), order, tmp_path / "palette")
    np.testing.assert_array_equal(ours(path), by_simpleitk(path))


@pytest.mark.parametrize("order", SYNTAXES)
def test_a_palette_in_segments_is_as_pydicom_expands_it(tmp_path: Path, order: str) -> None:
    dataset = byte_image(PhotometricInterpretation="PALETTE COLOR")
    add_table(dataset, 16, order, "Segmented")
    stored = CHANCE.integers(0, 256, (ROWS, COLUMNS)).astype(np.uint8)
    path = write(dataset, stored, order, tmp_path / "palette")
    read = pydicom.dcmread(path)
    expected = pydicom.pixels.apply_color_lut(read.pixel_array, read) >> 8
    np.testing.assert_array_equal(ours(path), expected)


@pytest.mark.parametrize("order", SYNTAXES)
@pytest.mark.parametrize("planes", [0, 1])
@pytest.mark.parametrize("colours", ["RGB", "YBR_FULL"])
def test_colour_is_as_simpleitk_shows_it(tmp_path: Path, order: str, planes: int, colours: str) -> None:
    dataset = byte_image(SamplesPerPixel=3, PhotometricInterpretation=colours, PlanarConfiguration=planes)
    values = CHANCE.integers(0, 256, (3, ROWS, COLUMNS) if planes else (ROWS, COLUMNS, 3)).astype(np.uint8)
    path = write(dataset, values, order, tmp_path / "colour")
    np.testing.assert_array_equal(ours(path), by_simpleitk(path))


LAYOUTS = [(16, 15), (12, 11), (12, 15), (10, 9)]
"""Bits stored, high bit."""


@pytest.mark.parametrize("order", SYNTAXES)
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(("stored", "high"), LAYOUTS)
@pytest.mark.parametrize("rescale", [(2, -100), (1.5, 0.25), (None, None), (0, 5)])
def test_grey_is_as_simpleitk_reads_it_whatever_lies_in_the_other_bits(
    tmp_path: Path, order: str, signed: int, stored: int, high: int, rescale: tuple[float | None, float | None]
) -> None:
    dataset = ct_slice(BitsStored=stored, HighBit=high, PixelRepresentation=signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = rescale
    values = CHANCE.integers(0, 2**stored, (ROWS, COLUMNS)) << (high + 1 - stored)
    values |= CHANCE.integers(0, 2 ** (15 - high), (ROWS, COLUMNS)) << (high + 1)  # an overlay of old
    path = write(dataset, values, order, tmp_path / "grey")
    np.testing.assert_allclose(ours(path), by_simpleitk(path), rtol=1e-6)
