"""DICOM in: every voxel keeps its Hounsfield unit and its place in the patient, or a message says why not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from engine.geometry import ROTATION, point_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.volume import read_volume

AXIAL = np.array([[1.0, 0, 0], [0, 1, 0]])
OBLIQUE = ROTATION.T[:2]
ROWS, COLUMNS, SLICES = 4, 5, 6
SPACING = (0.5, 0.75)  # between rows, between columns
ORIGIN = np.array([-20.0, 30, -700])
SERIES = generate_uid()
STORED = np.arange(SLICES * ROWS * COLUMNS, dtype=np.int16).reshape(SLICES, ROWS, COLUMNS) * 7


def ct_slice(
    k: int = 0, *, axes: np.ndarray = AXIAL, step: np.ndarray | None = None, **attributes: object
) -> FileDataset:
    """Slice k of a synthetic CT: `axes` are the direction cosines of rows and columns, `step` leads to the next one."""
    step = 2.5 * np.cross(*axes) if step is None else step
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = SERIES, generate_uid()
    dataset.FrameOfReferenceUID = "1.2.3"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Geheim^Gerda", "GG-4711", "19370421"
    dataset.Modality, dataset.SeriesDescription, dataset.InstanceNumber = "CT", "Abdomen", k + 1
    dataset.ImagePositionPatient = [f"{value:.10g}" for value in ORIGIN + k * step]
    dataset.ImageOrientationPatient = [f"{value:.13f}" for value in axes.ravel()]
    dataset.PixelSpacing, dataset.SliceThickness = list(SPACING), 2.5
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = STORED[k % SLICES].tobytes()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def write_slices(folder: Path, slices: list[FileDataset]) -> Path:
    """Files without extension, in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(slices):
        dataset.save_as(folder / f"IM{number:04}", enforce_file_format=True)
    return folder


def refusal(path: Path, code: str, **options: str) -> str:
    """The message that refuses `path`: it names the path, and nothing of the patient."""
    with pytest.raises(EngineError) as caught:
        read_volume(path, **options)
    assert caught.value.code == code
    message = caught.value.message
    assert str(path) in message
    assert not any(secret in message for secret in ("Gerda", "Geheim", "4711", "1937"))
    return message


def lps_of(volume: torch.Tensor, index: tuple[int, int, int]) -> np.ndarray:
    return point_of(np.asarray(volume.affine), index) * (-1, -1, 1)


def by_hand(axes: np.ndarray, step: np.ndarray, index: tuple[int, int, int]) -> np.ndarray:
    """DICOM PS3.3 C.7.6.2.1.1: where a pixel (column, row) of slice k lies, in LPS."""
    column, row, k = index
    return ORIGIN + k * step + axes[0] * SPACING[1] * column + axes[1] * SPACING[0] * row


# ---- geometry of a series

TILT = np.array([[1.0, 0, 0], [0, np.cos(0.35), -np.sin(0.35)]])
STACKS = {
    "axial": (AXIAL, np.array([0, 0, 2.5])),
    "oblique": (OBLIQUE, 2.5 * np.cross(*OBLIQUE)),
    "gantry tilt": (TILT, np.array([0, 0, 2.5])),
    "oblique and shifted in the plane": (OBLIQUE, 2.5 * np.cross(*OBLIQUE) + 0.8 * OBLIQUE[0]),
}


@pytest.mark.parametrize(("axes", "step"), STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (3, 0, 5, 1, 4, 2)])
def test_every_voxel_lies_where_its_slice_says(tmp_path, axes, step, order):
    volume = read_volume(write_slices(tmp_path, [ct_slice(k, axes=axes, step=step) for k in order]))
    np.testing.assert_array_equal(volume.numpy()[0], STORED.transpose(2, 1, 0) - 1024.0)
    for index in ((0, 0, 0), (4, 3, 5), (2, 1, 3)):
        np.testing.assert_allclose(lps_of(volume, index), by_hand(axes, step, index), atol=1e-6)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    step_mm=st.floats(0.3, 10),
    shift_mm=st.floats(-0.2, 0.2),
    order=st.permutations(range(4)),
)
def test_any_stack_is_placed_as_by_hand(tmp_path_factory, angles, step_mm, shift_mm, order):
    axes = sitk.Euler3DTransform((0, 0, 0), *np.radians(angles).tolist()).GetMatrix()
    axes = np.reshape(axes, (3, 3)).T[:2]
    step = step_mm * np.cross(*axes) + shift_mm * axes[1]
    folder = tmp_path_factory.mktemp("stack")
    volume = read_volume(write_slices(folder, [ct_slice(k, axes=axes, step=step) for k in order]))
    np.testing.assert_array_equal(volume.numpy()[0], STORED[:4].transpose(2, 1, 0) - 1024.0)
    np.testing.assert_allclose(lps_of(volume, (4, 3, 3)), by_hand(axes, step, (4, 3, 3)), atol=1e-5)


def test_highdicom_places_an_oblique_series_alike(tmp_path):
    slices = [ct_slice(k, axes=OBLIQUE) for k in range(SLICES)]
    volume = read_volume(write_slices(tmp_path, slices[::-1]))
    peer = highdicom.get_volume_from_series(slices)
    for k, row, column in ((0, 0, 0), (5, 3, 4), (3, 1, 2)):
        point = (peer.affine @ [k, row, column, 1])[:3]
        i, j, found_k = np.linalg.solve(np.asarray(volume.affine), [*(point * (-1, -1, 1)), 1])[:3].round().astype(int)
        np.testing.assert_allclose(lps_of(volume, (i, j, found_k)), point, atol=1e-6)
        assert volume[0, i, j, found_k] == peer.array[k, row, column]


def test_one_file_of_a_series_is_one_slice_as_thick_as_it_says(tmp_path):
    folder = write_slices(tmp_path, [ct_slice(k, axes=OBLIQUE) for k in range(3)])
    volume = read_volume(folder / "IM0001")
    np.testing.assert_array_equal(volume.numpy()[0, :, :, 0], STORED[1].T - 1024.0)
    np.testing.assert_allclose(
        lps_of(volume, (0, 0, 1)), by_hand(OBLIQUE, 2.5 * np.cross(*OBLIQUE), (0, 0, 2)), atol=1e-6
    )


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (
            (0, 1, 2, 4, 5),
            "from slice 3 to 4 of 5 (at -695.0 and -690.0 mm along the scan) it is 5.00 mm, elsewhere 2.50 mm",
        ),
        ((0, 1, 2, 3, 5), "from slice 4 to 5 of 5"),
        ((0, 2, 3, 4, 5), "from slice 1 to 2 of 5"),
    ],
)
def test_a_missing_slice_is_refused_and_the_gap_named(tmp_path, kept, words):
    assert words in refusal(write_slices(tmp_path, [ct_slice(k) for k in kept]), "dicom-slices-uneven")


@pytest.mark.parametrize(("offset", "code"), [(0.09, None), (0.3, "dicom-slices-uneven")])
@pytest.mark.parametrize("direction", [0, 2], ids=["in the plane", "along the scan"])
def test_a_tenth_of_a_millimetre_is_rounding_and_more_is_not(tmp_path, offset, code, direction):
    slices = [ct_slice(k) for k in range(SLICES)]
    slices[2].ImagePositionPatient[direction] += offset
    folder = write_slices(tmp_path, slices)
    if code:
        refusal(folder, code)
    else:
        assert read_volume(folder).shape[3] == SLICES


def test_a_localiser_of_three_orientations_is_refused(tmp_path):
    planes = [AXIAL, np.array([[1.0, 0, 0], [0, 0, -1]]), np.array([[0, 1.0, 0], [0, 0, -1]])]
    message = refusal(write_slices(tmp_path, [ct_slice(axes=axes) for axes in planes]), "dicom-mixed-orientations")
    assert "3 orientations" in message


def test_two_echoes_in_one_series_are_refused_and_told_apart(tmp_path):
    slices = [ct_slice(k, EchoTime=echo) for echo in (2.5, 80) for k in range(SLICES)]
    message = refusal(write_slices(tmp_path, slices), "dicom-positions-repeat")
    assert "12 slices at 6 positions" in message
    assert "echo time (2.5, 80.0)" in message


def test_a_copy_of_a_file_is_no_second_slice(tmp_path):
    slices = [ct_slice(k) for k in range(SLICES)]
    write_slices(tmp_path, slices)
    write_slices(tmp_path / "copies", slices[:2])
    assert read_volume(tmp_path).shape[3] == SLICES


@pytest.mark.parametrize(
    "attributes", [{"Rows": 2, "PixelData": bytes(20)}, {"PixelSpacing": [0.5, 0.8]}], ids=["size", "spacing"]
)
def test_slices_of_different_size_are_refused(tmp_path, attributes):
    refusal(write_slices(tmp_path, [ct_slice(0), ct_slice(1, **attributes), ct_slice(2)]), "dicom-slices-differ")


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "dicom-mosaic"),
        ({"PixelSpacing": [0, 0.5]}, "dicom-no-spacing"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "volume-affine-singular"),
        ({"NumberOfFrames": 6, "PixelData": STORED.tobytes()}, "dicom-no-positions"),
        ({"NumberOfFrames": 2_000_000_000}, "dicom-no-positions"),
        ({"Modality": "SEG"}, "dicom-no-images"),
        ({"PixelData": STORED[0].tobytes()[:-2]}, "dicom-not-decodable"),
    ],
)
def test_what_makes_no_volume_is_refused(tmp_path, attributes, code):
    refusal(write_slices(tmp_path, [ct_slice(**attributes)]) / "IM0000", code)


# ---- which series


def two_series(folder: Path, second: int) -> Path:
    write_slices(folder / "a", [ct_slice(k) for k in range(SLICES)])
    late = [
        ct_slice(k, SeriesInstanceUID="1.2.840.99", SeriesDescription="late", RescaleIntercept=0) for k in range(second)
    ]
    write_slices(folder / "b", late)
    return folder


def test_several_series_are_listed_and_one_is_chosen_by_its_uid(tmp_path):
    folder = two_series(tmp_path, 4)
    message = refusal(folder, "series-ambiguous")
    assert f"{SERIES} (CT, 6 slices, Abdomen); 1.2.840.99 (CT, 4 slices, late)" in message  # the largest first
    assert "--series" in message
    np.testing.assert_array_equal(read_volume(folder, series="1.2.840.99").numpy()[0], STORED[:4].transpose(2, 1, 0))


def test_an_unknown_series_is_refused_with_those_that_are_there(tmp_path):
    assert SERIES in refusal(two_series(tmp_path, 4), "series-unknown", series="9.9.9")


def test_a_scout_of_two_slices_is_passed_over(tmp_path):
    folder = two_series(tmp_path, 2)
    assert read_volume(folder).shape[3] == SLICES
    assert read_volume(folder, series="1.2.840.99").shape[3] == 2


def test_other_files_in_the_folder_are_passed_over(tmp_path):
    write_slices(tmp_path / "sub" / "folder", [ct_slice(k) for k in range(SLICES)])
    write_slices(tmp_path / "masks", [ct_slice(0, Modality="SEG", SeriesInstanceUID="1.2.9")])
    (tmp_path / "readme.txt").write_text("Geheim^Gerda")
    (tmp_path / "empty").touch()
    directory = FileMetaDataset()
    directory.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.MediaStorageSOPClassUID, directory.MediaStorageSOPInstanceUID = "1.2.840.10008.1.3.10", generate_uid()
    entry = FileDataset(None, {}, file_meta=directory, preamble=bytes(128))
    entry.FileSetID = "DISC"
    entry.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    assert read_volume(tmp_path).shape[3] == SLICES


@pytest.mark.parametrize("content", [None, b"text"])
def test_a_folder_without_images_is_refused(tmp_path, content):
    if content:
        (tmp_path / "notes.txt").write_bytes(content)
    refusal(tmp_path, "dicom-no-images")


def test_a_damaged_slice_is_refused_by_its_name_in_the_folder(tmp_path):
    folder = write_slices(tmp_path, [ct_slice(k) for k in range(SLICES)])
    whole = (folder / "IM0002").read_bytes()
    (folder / "IM0002").write_bytes(whole[:-9])
    refusal(folder, "dicom-not-decodable")


# ---- values


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path):
    slices = [ct_slice(k, RescaleSlope=k + 1, RescaleIntercept=-10 * k) for k in range(SLICES)]
    volume = read_volume(write_slices(tmp_path, slices))
    expected = STORED * np.arange(1, 7)[:, None, None] - 10.0 * np.arange(6)[:, None, None]
    np.testing.assert_array_equal(volume.numpy()[0], expected.transpose(2, 1, 0))


def test_a_file_without_preamble_is_read(tmp_path):
    for k in range(3):
        bare = ct_slice(k)
        pydicom.dcmwrite(tmp_path / f"{k}", Dataset(bare), implicit_vr=True, little_endian=True)
        assert (tmp_path / f"{k}").read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_volume(tmp_path).numpy()[0], STORED[:3].transpose(2, 1, 0) - 1024.0)


def test_big_endian_is_read(tmp_path):
    dataset = ct_slice(PixelData=STORED[0].astype(">i2").tobytes())
    dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(tmp_path / "big.dcm", dataset, little_endian=False, implicit_vr=False)
    np.testing.assert_array_equal(read_volume(tmp_path / "big.dcm").numpy()[0, :, :, 0], STORED[0].T - 1024.0)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=lambda syntax: syntax.name)
def test_lossless_compression_does_not_change_a_value(tmp_path, syntax):
    slices = [ct_slice(k) for k in range(3)]
    for dataset in slices:
        dataset.compress(syntax)
    volume = read_volume(write_slices(tmp_path, slices))
    np.testing.assert_array_equal(volume.numpy()[0], STORED[:3].transpose(2, 1, 0) - 1024.0)


def jpeg_lossless(values: np.ndarray, folder: Path) -> bytes:
    """GDCM's own lossless JPEG of one slice."""
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(folder / "jpeg.dcm"))
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.Execute(sitk.GetImageFromArray(values[None]))
    coded = pydicom.dcmread(folder / "jpeg.dcm")
    assert coded.file_meta.TransferSyntaxUID == JPEGLosslessSV1
    return next(generate_frames(coded.PixelData, number_of_frames=1))


def test_lossless_jpeg_gives_the_values_and_the_place_of_the_uncompressed_series(tmp_path):
    slices = []
    for k in range(3):
        dataset = ct_slice(k, axes=OBLIQUE, RescaleSlope=2, PixelData=encapsulate([jpeg_lossless(STORED[k], tmp_path)]))
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        slices.append(dataset)
    (tmp_path / "jpeg.dcm").unlink()
    volume = read_volume(write_slices(tmp_path / "coded", slices))
    np.testing.assert_array_equal(volume.numpy()[0], 2.0 * STORED[:3].transpose(2, 1, 0) - 1024.0)
    np.testing.assert_allclose(
        lps_of(volume, (4, 3, 2)), by_hand(OBLIQUE, 2.5 * np.cross(*OBLIQUE), (4, 3, 2)), atol=1e-6
    )


def test_an_unknown_compression_is_refused(tmp_path):
    dataset = ct_slice(PixelData=encapsulate([bytes(64)]))
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    assert "MPEG-4" in refusal(write_slices(tmp_path, [dataset]) / "IM0000", "dicom-not-decodable")


# ---- projection images


def panoramic(**attributes: object) -> FileDataset:
    dataset = ct_slice(Modality="PX", BitsStored=12, HighBit=11, PixelRepresentation=0, RescaleIntercept=0)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("attributes", "between_columns", "between_rows"),
    [
        ({"PixelSpacing": [0.1, 0.2], "ImagerPixelSpacing": [0.3, 0.3]}, 0.2, 0.1),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, 0.2, 0.1),
        ({}, 1, 1),
    ],
)
def test_a_panoramic_image_is_one_upright_slice(tmp_path, attributes, between_columns, between_rows):
    volume = read_volume(write_slices(tmp_path, [panoramic(**attributes)]) / "IM0000")
    np.testing.assert_array_equal(volume.numpy()[0, :, :, 0], STORED[0].T)
    np.testing.assert_allclose(volume.affine, np.diag([-between_columns, -between_rows, 1, 1]), atol=1e-12)


def test_bone_is_bright_in_a_panoramic_image_stored_inverted(tmp_path):
    folder = write_slices(tmp_path, [panoramic(PhotometricInterpretation="MONOCHROME1")])
    np.testing.assert_array_equal(read_volume(folder).numpy()[0, :, :, 0], 4095.0 - STORED[0].T)


def test_two_panoramic_images_of_one_series_are_no_volume(tmp_path):
    refusal(write_slices(tmp_path, [panoramic(), panoramic()]), "dicom-no-positions")


# ---- enhanced multi-frame


def enhanced_ct(step: np.ndarray, order: tuple[int, ...] = (2, 0, 1)) -> FileDataset:
    """An enhanced CT whose frames stand in `order`, each with its own intercept -100 k."""
    dataset = ct_slice(SOPClassUID=EnhancedCTImageStorage, NumberOfFrames=len(order))
    dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    dataset.PixelData = STORED[list(order)].tobytes()
    shared, plane, measures = Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = dataset.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = list(SPACING), 2.5
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(dataset, keyword)
    frames = []
    for k in order:
        position, rescale, groups = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [f"{value:.10g}" for value in ORIGIN + k * step]
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -100 * k, "HU"
        groups.PlanePositionSequence, groups.PixelValueTransformationSequence = [position], [rescale]
        frames.append(groups)
    dataset.PerFrameFunctionalGroupsSequence = frames
    return dataset


@pytest.mark.parametrize("step", [(0, 0, 2.5), (0, 0.9, 2.5)], ids=["straight", "tilted"])
def test_the_frames_of_an_enhanced_ct_make_a_volume(tmp_path, step):
    folder = write_slices(tmp_path, [enhanced_ct(np.array(step))])
    for path in (folder, folder / "IM0000"):
        volume = read_volume(path)
        expected = STORED[:3] - 100.0 * np.arange(3)[:, None, None]
        np.testing.assert_array_equal(volume.numpy()[0], expected.transpose(2, 1, 0))
        np.testing.assert_allclose(lps_of(volume, (4, 3, 2)), by_hand(AXIAL, np.array(step), (4, 3, 2)), atol=1e-6)


def test_an_enhanced_ct_that_lacks_a_frame_is_refused(tmp_path):
    folder = write_slices(tmp_path, [enhanced_ct(np.array([0, 0, 2.5]), (0, 1, 2, 4))])
    assert "from slice 3 to 4 of 4" in refusal(folder / "IM0000", "dicom-slices-uneven")


# ---- damage


@pytest.mark.parametrize(
    "make", [ct_slice, panoramic, lambda: enhanced_ct(np.array([0, 0, 2.5]))], ids=["ct", "px", "mf"]
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hits=st.lists(st.tuples(st.integers(128, 3000), st.integers(0, 255)), max_size=8), kept=st.floats(0.05, 1))
def test_a_corrupted_file_is_read_or_refused_and_nothing_else(
    tmp_path, make: Callable[[], FileDataset], hits: list[tuple[int, int]], kept: float
):
    path = tmp_path / "sound"
    if not path.exists():
        make().save_as(path, enforce_file_format=True)
    content = bytearray(path.read_bytes())
    content = content[: int(len(content) * kept)]
    for place, value in hits:
        content[place % len(content)] = value
    corrupted = tmp_path / "series" / "corrupted"
    corrupted.parent.mkdir(exist_ok=True)
    corrupted.write_bytes(content)
    for given_path in (corrupted, corrupted.parent):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # voxels that are not finite
            assert outcome(given_path) in ("read", "refused")


def outcome(path: Path) -> str:
    """Read, or refused with a message that names the path and nothing of the patient."""
    try:
        volume = read_volume(path)
    except EngineError as error:
        silent = not any(secret in error.message for secret in ("Gerda", "4711", "1937"))
        return "refused" if str(path) in error.message and silent else error.message
    return "read" if torch.isfinite(volume.as_tensor()).all() else "not finite"


# ---- real series


@pytest.mark.real_data
def test_the_kidney_ct_is_read_as_pydicom_reads_it_by_hand(kidney_case):
    folder = kidney_case / "PATIENT_DICOM"
    volume = read_volume(folder)
    assert volume.shape == (1, 512, 512, 129)
    np.testing.assert_allclose(volume.pixdim, [0.57, 0.57, 1.6], atol=5e-3)
    slices = sorted(
        (pydicom.dcmread(path) for path in folder.iterdir()), key=lambda dataset: dataset.ImagePositionPatient[2]
    )
    for k in (0, 1, 64, 128):
        hounsfield = slices[k].pixel_array * float(slices[k].RescaleSlope) + float(slices[k].RescaleIntercept)
        np.testing.assert_array_equal(volume.numpy()[0, :, :, k], hounsfield.T)
        np.testing.assert_allclose(lps_of(volume, (0, 0, k)), slices[k].ImagePositionPatient, atol=1e-3)
    assert volume.min() < -900  # air
    assert volume.max() > 500  # bone


@pytest.mark.real_data
def test_a_jpeg_2000_series_is_read_as_pydicom_reads_it_by_hand(test_data):
    folder = test_data / "abdomen-ct" / "example_ct_dicom"
    slices = sorted(
        (pydicom.dcmread(path) for path in folder.iterdir()), key=lambda dataset: dataset.ImagePositionPatient[2]
    )
    volume = read_volume(folder)
    assert volume.shape[3] == len(slices) == 20
    for k, dataset in enumerate(slices):
        hounsfield = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(volume.numpy()[0, :, :, k], hounsfield.T)
        np.testing.assert_allclose(lps_of(volume, (0, 0, k)), dataset.ImagePositionPatient, atol=1e-6)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["dicom2nifti_gantrytilting_001", "dicom2nifti_rgb"])
def test_awkward_series_keep_every_slice_at_its_position(test_data, name):
    folder = test_data / "awkward" / "dicom" / name
    volume = read_volume(folder)
    slices = sorted(
        (pydicom.dcmread(path) for path in folder.iterdir()), key=lambda dataset: dataset.ImagePositionPatient[2]
    )
    for k, dataset in enumerate(slices):
        # These positions are rounded: in the colour series they stray by up to 2e-5 mm from a line.
        np.testing.assert_allclose(lps_of(volume, (0, 0, k)), dataset.ImagePositionPatient, atol=1e-4)
        row, column = 20, 30
        along_row, along_column = np.reshape(dataset.ImageOrientationPatient, (2, 3))
        spacing = dataset.PixelSpacing
        point = (
            np.array(dataset.ImagePositionPatient) + along_row * spacing[1] * column + along_column * spacing[0] * row
        )
        np.testing.assert_allclose(lps_of(volume, (column, row, k)), point, atol=1e-4)
        values = dataset.pixel_array.astype(float) * dataset.get("RescaleSlope", 1) + dataset.get("RescaleIntercept", 0)
        channels = values.reshape(dataset.Rows, dataset.Columns, -1).transpose(2, 1, 0)
        np.testing.assert_array_equal(volume.numpy()[..., k], channels)


@pytest.mark.real_data
def test_a_real_enhanced_ct_agrees_with_highdicom(test_data):
    path = test_data / "awkward" / "dicom" / "eCT_Supplemental.dcm"
    volume, peer = read_volume(path), highdicom.imread(path).get_volume()
    assert volume.shape == (1, 512, 512, 2)
    for k, row, column in ((0, 0, 0), (1, 200, 301), (0, 511, 511)):
        point = (peer.affine @ [k, row, column, 1])[:3] * (-1, -1, 1)
        i, j, found_k = np.linalg.solve(np.asarray(volume.affine), [*point, 1])[:3].round().astype(int)
        np.testing.assert_allclose(point_of(np.asarray(volume.affine), (i, j, found_k)), point, atol=1e-6)
        assert volume[0, i, j, found_k] == peer.array[k, row, column]


@pytest.mark.real_data
def test_the_missing_slices_of_a_real_series_are_named(test_data):
    message = refusal(test_data / "awkward/dicom/dicom2nifti_sliceincrement_001", "dicom-slices-uneven")
    assert "from slice 3 to 4 of 4" in message
    assert "10.00 mm, elsewhere 5.00 mm" in message
