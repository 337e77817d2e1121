"""DICOM as scanners and consoles write it: rounded headers, screens beside slices, a series UID per slice, links, gaps."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from engine.test_dicom import (
    AXIAL,
    OBLIQUE,
    ORIGIN,
    SLICES,
    SPACING,
    STORED,
    TILT,
    by_hand,
    ct_slice,
    lps_of,
    refusal,
    write_slices,
)
from pydicom.dataset import FileDataset
from pydicom.uid import SecondaryCaptureImageStorage

from SegHiResCAMLib.engine.errors import Cancelled
from SegHiResCAMLib.engine.images.volume import read_volume

ROUNDING_MM = 0.1


def turned(axes: np.ndarray, radians: float) -> np.ndarray:
    """Rows and columns, turned about the normal."""
    return np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]]) @ axes


def corner_by_header(header: FileDataset, column: int, row: int) -> np.ndarray:
    rows, columns = np.reshape(np.array(header.ImageOrientationPatient, float), (2, 3))
    between_rows, between_columns = map(float, header.PixelSpacing)
    return np.array(header.ImagePositionPatient, float) + rows * between_columns * column + columns * between_rows * row


# ---- headers round


def jittered(millimetres: float, what: str) -> list[FileDataset]:
    """Six slices of 512 x 512 pixels, of which the fourth says something that displaces its far edge by so many millimetres."""
    slices = [ct_slice(k, axes=OBLIQUE, Rows=512, Columns=512, PixelSpacing=[0.7, 0.7]) for k in range(SLICES)]
    for dataset in slices:
        dataset.PixelData = bytes(2 * 512 * 512)
    odd, extent = slices[3], 511 * 0.7
    if what == "direction":
        odd.ImageOrientationPatient = [f"{value:.13f}" for value in turned(OBLIQUE, millimetres / extent).ravel()]
    elif what == "spacing":
        odd.PixelSpacing = [0.7, f"{0.7 + millimetres / 511:.10f}"]
    else:
        direction = OBLIQUE[0] if what == "position in the plane" else np.cross(*OBLIQUE)
        odd.ImagePositionPatient = [
            f"{value:.8f}" for value in np.array(odd.ImagePositionPatient, float) + millimetres * direction
        ]
    return slices


KINDS = {
    "direction": "dicom-mixed-orientations",
    "spacing": "dicom-slices-differ",
    "position in the plane": "dicom-slices-uneven",
    "position along the scan": "dicom-slices-uneven",
}


@pytest.mark.parametrize("what", KINDS)
def test_what_moves_a_corner_by_less_than_a_tenth_of_a_millimetre_is_rounding(tmp_path: Path, what: str) -> None:
    slices = jittered(0.06, what)
    volume = read_volume(write_slices(tmp_path, slices))
    for k, header in enumerate(slices):
        for column, row in ((0, 0), (511, 0), (0, 511), (511, 511)):
            there = lps_of(volume, (column, row, k))
            assert np.linalg.norm(there - corner_by_header(header, column, row)) < ROUNDING_MM


@pytest.mark.parametrize(("what", "code"), KINDS.items())
def test_what_moves_a_corner_by_more_is_refused_with_the_distance(tmp_path: Path, what: str, code: str) -> None:
    assert " mm" in refusal(write_slices(tmp_path, jittered(0.5, what)), code)


@pytest.mark.parametrize("digits", [2, 3, 4, 6])
def test_cosines_and_positions_of_few_digits_are_placed_as_the_scanner_meant(tmp_path: Path, digits: int) -> None:
    step = 2.5 * np.cross(*OBLIQUE)
    slices = []
    for k in range(SLICES):
        dataset = ct_slice(k)
        dataset.ImageOrientationPatient = [f"{value:.{digits}f}" for value in OBLIQUE.ravel()]
        dataset.ImagePositionPatient = [f"{value:.{digits}f}" for value in ORIGIN + k * step]
        slices.append(dataset)
    volume = read_volume(write_slices(tmp_path, slices))
    # Each of the numbers is wrong by half of its last digit at most, and the image is 3 mm wide; length and right angle are restored.
    limit = 2 * 10**-digits * (1 + np.linalg.norm([SPACING[1] * 4, SPACING[0] * 3]))
    for index in ((0, 0, 0), (4, 3, 5), (4, 0, 2)):
        np.testing.assert_allclose(lps_of(volume, index), by_hand(OBLIQUE, step, index), atol=limit)
    np.testing.assert_allclose(volume.pixdim[:2], [SPACING[1], SPACING[0]], atol=1e-9)


def test_the_grid_is_the_nearest_one_to_all_positions(tmp_path: Path) -> None:
    """Positions in whole tenths of a millimetre: the straight line through them that numpy fits."""
    z = np.round(np.arange(SLICES) * 1.25, 1)
    slices = [ct_slice(k, ImagePositionPatient=[0, 0, place]) for k, place in enumerate(z)]
    volume = read_volume(write_slices(tmp_path, slices))
    slope, offset = np.polyfit(np.arange(SLICES), z, 1)
    assert float(volume.affine[2, 2]) == pytest.approx(slope)
    assert float(volume.affine[2, 3]) == pytest.approx(offset)


@pytest.mark.parametrize(
    "axes", [AXIAL, np.diag([-1.0, -1, 1])[:2], np.diag([1.0, -1, 1])[:2], TILT, OBLIQUE, OBLIQUE[::-1]]
)
@pytest.mark.parametrize("sense", [1, -1])
def test_head_or_feet_first_supine_or_prone_every_voxel_keeps_its_place(
    tmp_path: Path, axes: np.ndarray, sense: int
) -> None:
    step = sense * 2.5 * np.cross(*axes)
    volume = read_volume(write_slices(tmp_path, [ct_slice(k, axes=axes, step=step) for k in range(SLICES)]))
    for k in range(SLICES):
        at = k if sense > 0 else SLICES - 1 - k
        np.testing.assert_array_equal(volume.numpy()[0, :, :, at], STORED[k].T - 1024.0)
        np.testing.assert_allclose(lps_of(volume, (4, 3, at)), by_hand(axes, step, (4, 3, k)), atol=1e-6)


# ---- gaps


def at(places: list[float]) -> list[FileDataset]:
    return [ct_slice(k, ImagePositionPatient=[0, 0, place]) for k, place in enumerate(places)]


def test_a_slice_distance_that_changes_is_reported_with_both_distances(tmp_path: Path) -> None:
    places = [4.0 * k for k in range(13)] + [48 + 7.0 * k for k in range(1, 14)]
    message = refusal(write_slices(tmp_path, at(places)), "dicom-slices-uneven")
    assert "slices 1 to 13 are 4.00 mm apart, 13 to 26 7.00 mm" in message
    assert "elsewhere" not in message


def test_missing_slices_are_counted_where_they_are_missing(tmp_path: Path) -> None:
    message = refusal(write_slices(tmp_path, at([0, 2.5, 5, 10, 12.5, 15, 22.5, 25])), "dicom-slices-uneven")
    assert "from slice 3 to 4 of 8 (at 5.0 and 10.0 mm along the scan) it is 5.00 mm" in message
    assert "from slice 6 to 7 of 8 (at 15.0 and 22.5 mm along the scan) it is 7.50 mm" in message
    assert "elsewhere 2.50 mm; 3 slices are missing" in message


def test_distances_that_all_differ_are_reported_as_a_range(tmp_path: Path) -> None:
    places = np.cumsum([0, 2, 3.3, 1.7, 2.9, 4.1, 0.8]).tolist()
    assert "between 0.80 and 4.10 mm" in refusal(write_slices(tmp_path, at(places)), "dicom-slices-uneven")


# ---- what lies beside the slices


def screen(**attributes: object) -> FileDataset:
    dataset = ct_slice(SOPClassUID=SecondaryCaptureImageStorage, Rows=10, Columns=12, PixelData=bytes(240))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"):
        delattr(dataset, keyword)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


CORONAL = np.array([[1.0, 0, 0], [0, 0, -1]])
BESIDE = {
    "a screen save": [screen()],
    "three screen saves": [screen(), screen(), screen()],
    "a cine loop": [screen(NumberOfFrames=2, PixelData=bytes(480))],
    "a secondary capture with a position": [ct_slice(3, SOPClassUID=SecondaryCaptureImageStorage)],
    "a colour picture": [
        screen(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0, BitsAllocated=8)
    ],
    "a snapshot of another size": [ct_slice(2, Rows=10, Columns=12, PixelData=bytes(240))],
    "a localiser": [ct_slice(0, axes=CORONAL)],
    "localisers that say so": [ct_slice(k, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]) for k in range(3)],
    "a projection": [ct_slice(3, ImageType=["DERIVED", "SECONDARY", "MIP"])],
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
@pytest.mark.parametrize("own_series", [False, True], ids=["same series", "own series"])
def test_what_is_no_slice_of_the_volume_is_left_out_and_named(
    tmp_path: Path, beside: list[FileDataset], own_series: bool
) -> None:
    write_slices(tmp_path / "ct", [ct_slice(k) for k in range(SLICES)])
    for number, dataset in enumerate(beside):
        dataset.SeriesInstanceUID = f"1.2.{number + 7}" if own_series else ct_slice().SeriesInstanceUID
    write_slices(tmp_path / "zz", beside)
    with pytest.warns(UserWarning, match="left out") as warned:
        volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.numpy()[0], STORED.transpose(2, 1, 0) - 1024.0)
    said = str(warned[0].message)
    assert str(tmp_path) in said
    assert str(len(beside)) in said
    assert ("1.2.7" if own_series else str(Path("zz") / "IM0000")) in said
    assert "Gerda" not in said


def test_a_gap_that_an_image_left_out_leaves_is_reported_with_that_image(tmp_path: Path) -> None:
    slices = [ct_slice(k) if k != 3 else ct_slice(3, Rows=10, Columns=12, PixelData=bytes(240)) for k in range(SLICES)]
    message = refusal(write_slices(tmp_path, slices), "dicom-slices-uneven")
    assert "Ignored: IM0003 (of other size or orientation)" in message


def test_a_series_of_screen_saves_alone_is_no_second_volume(tmp_path: Path) -> None:
    write_slices(tmp_path / "ct", [ct_slice(k) for k in range(SLICES)])
    write_slices(tmp_path / "screens", [screen(SeriesInstanceUID="1.2.7") for _ in range(5)])
    with pytest.warns(UserWarning, match="5 images"):
        assert read_volume(tmp_path).shape[3] == SLICES


@pytest.mark.parametrize("case", ["dicom-orientation-jitter", "dicom-screen-save"])
def test_reading_a_clean_series_warns_of_nothing(tmp_path: Path, case: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_volume(write_slices(tmp_path, [ct_slice(k, SeriesDescription=case) for k in range(SLICES)]))


# ---- a series UID per slice


def a_uid_per_slice(**attributes: object) -> list[FileDataset]:
    return [ct_slice(k, SeriesInstanceUID=f"1.2.{k + 1}", **attributes) for k in range(SLICES)]


def test_slices_of_a_series_uid_each_are_one_volume(tmp_path: Path) -> None:
    volume = read_volume(write_slices(tmp_path, a_uid_per_slice()))
    np.testing.assert_array_equal(volume.numpy()[0], STORED.transpose(2, 1, 0) - 1024.0)
    assert read_volume(tmp_path, series="1.2.4").shape[3] == SLICES


@pytest.mark.parametrize(
    "keyword", ["FrameOfReferenceUID", "PatientID", "SeriesDescription", "ConvolutionKernel", "EchoTime"]
)
def test_series_that_differ_are_not_put_together(tmp_path: Path, keyword: str) -> None:
    slices = a_uid_per_slice()
    for k, dataset in enumerate(slices):
        setattr(dataset, keyword, f"{k + 1}.5")
    refusal(write_slices(tmp_path, slices), "series-ambiguous")


def test_single_slices_that_form_no_stack_are_not_put_together(tmp_path: Path) -> None:
    refusal(
        write_slices(tmp_path, [one for k, one in enumerate(a_uid_per_slice()) if k in (0, 1, 5)]), "series-ambiguous"
    )


# ---- folders


def test_links_to_slices_and_folders_are_followed_once(tmp_path: Path) -> None:
    scanner = write_slices(tmp_path / "scanner", [ct_slice(k) for k in range(SLICES)])
    given = tmp_path / "given"
    given.mkdir()
    (given / "ct").symlink_to(scanner)
    (given / "again").symlink_to(scanner)
    (given / "round").symlink_to(given)
    (given / "dead").symlink_to(tmp_path / "nowhere")
    assert read_volume(given).shape[3] == SLICES
    files = tmp_path / "files"
    files.mkdir()
    for file in scanner.iterdir():
        (files / file.name).symlink_to(file)
    assert read_volume(files).shape[3] == SLICES


def test_reading_stops_when_its_progress_says_so(tmp_path: Path) -> None:
    folder = write_slices(tmp_path, [ct_slice(k) for k in range(40)])
    fractions: list[float] = []

    def stop_at(limit: float) -> None:
        def report(fraction: float, _text: str) -> None:
            fractions.append(fraction)
            if fraction > limit:
                raise Cancelled

        read_volume(folder, progress=report)

    stop_at(1)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert len(fractions) > 40
    for limit in (-1, 0.5):
        with pytest.raises(Cancelled):
            stop_at(limit)
