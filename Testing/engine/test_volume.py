"""Files in, files out: every voxel keeps its value and its place in the patient, or a message says why not."""

from __future__ import annotations

import gzip
import json
import shutil
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from engine.geometry import AFFINES, SHAPE, VOXELS, any_affine, point_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.utils import SpaceKeys

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.volume import WRITERS, read_volume, volume_from_array, write_volume

EXTENSIONS = tuple(WRITERS)
FLOAT32 = 2.0**-24
"""Relative rounding of float32, in which NIfTI keeps its affine."""

every_affine = pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
every_extension = pytest.mark.parametrize("extension", EXTENSIONS)
pytestmark = pytest.mark.filterwarnings("ignore:Sheared NIfTI", "ignore:The orientation of")


def precision(extension: str, affine: np.ndarray) -> float:
    return FLOAT32 * np.abs(affine).max() if "nii" in extension else 1e-9


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None, **header: object) -> Path:
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def refusal(path: Path, code: str, **options: str) -> str:
    """The message that refuses `path`; it names the path."""
    with pytest.raises(EngineError) as caught:
        read_volume(path, **options)
    assert caught.value.code == code
    assert str(path) in caught.value.message
    assert caught.value.message.endswith((".", "?"))
    return caught.value.message


# ---- round trips


@every_affine
@every_extension
def test_what_is_written_is_read_back(tmp_path, extension, affine):
    path = tmp_path / f"volume{extension}"
    write_volume(volume_from_array(VOXELS, affine), path)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.numpy(), VOXELS[None])
    np.testing.assert_allclose(volume.affine, affine, rtol=0, atol=1e-6 if "nii" not in extension else 4e-6)
    assert volume.affine.dtype == torch.float64
    assert volume.meta["space"] == SpaceKeys.RAS


@every_affine
@pytest.mark.parametrize("extension", [".nrrd", ".mha"])
def test_simpleitk_finds_a_written_voxel_at_its_patient_point(tmp_path, extension, affine):
    path = tmp_path / f"volume{extension}"
    write_volume(volume_from_array(VOXELS, affine), path)
    image = sitk.ReadImage(str(path))
    assert image[4, 2, 1] == VOXELS[4, 2, 1]
    right, anterior, superior = point_of(affine, (4, 2, 1))
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((4, 2, 1)), (-right, -anterior, superior), atol=1e-9)


@every_affine
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_nibabel_finds_a_written_voxel_at_its_patient_point(tmp_path, extension, affine):
    path = tmp_path / f"volume{extension}"
    write_volume(volume_from_array(VOXELS, affine), path)
    image = nib.load(path)
    assert image.dataobj[4, 2, 1] == VOXELS[4, 2, 1]
    np.testing.assert_allclose(point_of(image.affine, (4, 2, 1)), point_of(affine, (4, 2, 1)), atol=1e-5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(affine=any_affine(), extension=st.sampled_from(EXTENSIONS))
def test_any_affine_survives_a_file(tmp_path, affine, extension):
    path = tmp_path / f"volume{extension}"
    write_volume(volume_from_array(VOXELS, affine), path)
    np.testing.assert_allclose(read_volume(path).affine, affine, rtol=0, atol=precision(extension, affine))


@every_extension
def test_channels_come_back_in_their_order(tmp_path, extension):
    path = tmp_path / f"volume{extension}"
    channels = np.stack([VOXELS, -VOXELS, VOXELS**2])
    write_volume(volume_from_array(channels, AFFINES["oblique"]), path)
    np.testing.assert_array_equal(read_volume(path).numpy(), channels)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        (torch.uint8, sitk.sitkUInt8),
        (torch.int16, sitk.sitkInt16),
        (torch.int64, sitk.sitkInt32),
        (torch.bool, sitk.sitkUInt8),
        (torch.float64, sitk.sitkFloat32),
        (torch.float16, sitk.sitkFloat32),
    ],
)
@every_extension
def test_a_label_map_stays_an_integer_image(tmp_path, extension, dtype, stored):
    labels = torch.zeros((1, *SHAPE), dtype=dtype)
    labels[0, 1, 2, 1] = 1
    write_volume(MetaTensor(labels, affine=torch.eye(4)), path := tmp_path / f"labels{extension}")
    image = sitk.ReadImage(str(path))
    assert image.GetPixelID() == stored
    assert image[1, 2, 1] == 1


@pytest.mark.parametrize("extension", [".nrrd", ".mha"])
def test_provenance_stands_in_the_header(tmp_path, extension):
    header = {"SegHiResCAM.method": "Seg-HiRes-Grad CAM", "SegHiResCAM.segment": "Nière = 腎臓,\nlinks"}
    write_volume(volume_from_array(VOXELS, np.eye(4)), path := tmp_path / f"volume{extension}", header)
    image = sitk.ReadImage(str(path))
    assert image.GetMetaData("SegHiResCAM.method") == "Seg-HiRes-Grad CAM"
    assert image.GetMetaData("SegHiResCAM.segment") == "Nière = 腎臓, links"


def test_provenance_stands_in_a_nifti_comment(tmp_path):
    header = {"method": "Seg-HiRes-Grad CAM", "segment": "腎臓"}
    write_volume(volume_from_array(VOXELS, np.eye(4)), path := tmp_path / "volume.nii.gz", header)
    (extension,) = nib.load(path).header.extensions
    assert json.loads(extension.get_content()) == header


def test_a_sheared_nifti_carries_no_qform_and_warns(tmp_path):
    with pytest.warns(UserWarning, match="Use NRRD"):
        write_volume(volume_from_array(VOXELS, AFFINES["sheared"]), path := tmp_path / "sheared.nii")
    header = nib.load(path).header
    assert (header["sform_code"], header["qform_code"]) == (1, 0)


def test_an_oblique_nifti_carries_the_same_sform_and_qform(tmp_path):
    write_volume(volume_from_array(VOXELS, AFFINES["left-handed"]), path := tmp_path / "oblique.nii")
    header = nib.load(path).header
    np.testing.assert_allclose(header.get_qform(), AFFINES["left-handed"], atol=1e-5)
    assert header["qform_code"] == 1


# ---- writing that fails


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "volume.nii"
    path.write_bytes(b"old")
    too_long_for_nifti = volume_from_array(np.zeros((2, 40_000, 1)), np.eye(4))
    with pytest.raises(EngineError) as caught:
        write_volume(too_long_for_nifti, path)
    assert caught.value.code == "file-not-written"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "code"),
    [("volume.txt", "format-unknown"), ("volume", "format-unknown"), ("nowhere/volume.nrrd", "folder-missing")],
)
def test_where_nothing_can_be_written_a_message_says_so(tmp_path, name, code):
    with pytest.raises(EngineError, match=name) as caught:
        write_volume(volume_from_array(VOXELS, np.eye(4)), tmp_path / name)
    assert caught.value.code == code
    assert not list(tmp_path.iterdir())


def test_an_extension_in_capitals_is_understood(tmp_path):
    write_volume(volume_from_array(VOXELS, np.eye(4)), path := tmp_path / "VOLUME.NII.GZ")
    assert nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes())).shape == SHAPE


# ---- NIfTI as it comes


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_every_number_type_is_read(tmp_path, dtype):
    path = save_nifti(tmp_path / "typed.nii", VOXELS.astype(dtype))
    np.testing.assert_array_equal(read_volume(path).numpy()[0], VOXELS)


def test_slope_and_intercept_are_applied(tmp_path):
    image = nib.Nifti1Image(VOXELS.astype(np.int16), np.eye(4))
    image.header.set_slope_inter(2, -1024)
    image.to_filename(tmp_path / "scaled.nii")
    stored = np.asarray(nib.load(tmp_path / "scaled.nii").dataobj)
    np.testing.assert_allclose(read_volume(tmp_path / "scaled.nii").numpy()[0], stored, atol=1e-3)


def test_a_nifti_in_metres_is_read_in_millimetres(tmp_path):
    path = save_nifti(tmp_path / "metres.nii", VOXELS, np.diag([1e-3, 2e-3, 3e-3, 1]), xyzt_units=1)
    np.testing.assert_allclose(read_volume(path).affine, np.diag([1, 2, 3, 1]), atol=1e-6)


def test_the_sform_goes_before_the_qform(tmp_path):
    image = nib.Nifti1Image(VOXELS, None)
    image.set_qform(AFFINES["lps"], code=1)
    image.set_sform(AFFINES["sheared"], code=2)
    nib.save(image, path := tmp_path / "both.nii")
    np.testing.assert_allclose(read_volume(path).affine, AFFINES["sheared"], atol=1e-6)


def test_nifti_2_and_pairs_are_read(tmp_path):
    nib.save(nib.Nifti2Image(VOXELS, AFFINES["oblique"]), tmp_path / "two.nii")
    nib.save(nib.Nifti1Pair(VOXELS, AFFINES["oblique"]), tmp_path / "pair.hdr")
    for name in ("two.nii", "pair.hdr"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).numpy()[0], VOXELS)


def test_a_vector_nifti_gives_channels_and_a_plane_one_slice(tmp_path):
    vectors = save_nifti(tmp_path / "vectors.nii", np.stack([VOXELS, -VOXELS], axis=-1)[:, :, :, None])
    np.testing.assert_array_equal(read_volume(vectors).numpy(), [VOXELS, -VOXELS])
    plane = save_nifti(tmp_path / "plane.nii", VOXELS[:, :, 0])
    np.testing.assert_array_equal(read_volume(plane).numpy(), VOXELS[None, :, :, :1])


def test_time_points_are_refused_with_their_number(tmp_path):
    path = save_nifti(tmp_path / "perfusion.nii.gz", np.zeros((4, 4, 3, 7), np.float32))
    assert "7 volumes" in refusal(path, "volume-has-time-points")


def test_complex_numbers_are_refused(tmp_path):
    refusal(save_nifti(tmp_path / "k-space.nii", np.zeros(SHAPE, np.complex64)), "volume-complex")


def test_nan_becomes_the_smallest_value_and_is_counted(tmp_path):
    padded = VOXELS - 7
    padded[0, 0, :] = np.nan
    padded[1, 1, 1] = np.inf
    path = save_nifti(tmp_path / "padded.nii", padded)
    with pytest.warns(UserWarning, match="4 voxels that are NaN or infinite"):
        volume = read_volume(path)
    expected = np.where(np.isfinite(padded), padded, padded[np.isfinite(padded)].min())
    np.testing.assert_array_equal(volume.numpy()[0], expected)


def test_a_volume_of_nothing_but_nan_is_refused(tmp_path):
    refusal(save_nifti(tmp_path / "empty.nii", np.full(SHAPE, np.nan, np.float32)), "volume-not-finite")


@pytest.mark.parametrize("column", [(0, 0, 0), (1, 1, 0)], ids=["zero", "parallel"])
def test_a_singular_sform_is_refused(tmp_path, column):
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = (1, 1, 0), column
    image = nib.Nifti1Image(VOXELS, None)
    image.header["sform_code"] = 1
    image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = matrix[:3]
    (tmp_path / "flat.nii").write_bytes(image.header.binaryblock + bytes(4) + VOXELS.tobytes(order="F"))
    refusal(tmp_path / "flat.nii", "volume-affine-singular")


def test_a_voxel_size_of_zero_is_refused(tmp_path):
    header = nib.Nifti1Image(VOXELS, None).header
    header["magic"], header["vox_offset"], header["pixdim"][2] = b"n+1", 352, 0
    (tmp_path / "flat.nii").write_bytes(header.binaryblock + bytes(4) + VOXELS.tobytes(order="F"))
    refusal(tmp_path / "flat.nii", "volume-affine-singular")


# ---- NRRD and MetaImage as they come


def nrrd(path: Path, *fields: str, sizes: str = "5 4 3") -> Path:
    head = ["NRRD0004", "type: float", "dimension: 3", f"sizes: {sizes}", "encoding: raw", "endian: little", *fields]
    path.write_bytes("\n".join(head).encode() + b"\n\n" + VOXELS.tobytes(order="F"))
    return path


@pytest.mark.parametrize(
    ("space", "flips"),
    [
        ("right-anterior-superior", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("left-posterior-superior", (-1, -1, 1)),
    ],
)
def test_an_nrrd_space_is_turned_to_ras(tmp_path, space, flips):
    directions = "space directions: (0.9,0.1,0) (0,1.1,0.2) (0,0.3,2.5)"
    path = nrrd(tmp_path / "spaced.nrrd", f"space: {space}", directions, "space origin: (1,2,3)")
    expected = np.diag([*flips, 1]) @ [[0.9, 0, 0, 1], [0.1, 1.1, 0.3, 2], [0, 0.2, 2.5, 3], [0, 0, 0, 1]]
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, expected, atol=1e-12)
    np.testing.assert_array_equal(volume.numpy()[0], VOXELS)


@pytest.mark.parametrize("third", ["(0,0,0)", "(0,1.1,0)"], ids=["zero", "parallel"])
def test_singular_space_directions_are_refused(tmp_path, third):
    directions = f"space directions: (1,0,0) (0,1.1,0) {third}"
    path = nrrd(tmp_path / "flat.nrrd", "space: left-posterior-superior", directions, "space origin: (1,2,3)")
    refusal(path, "volume-affine-singular")


def test_a_detached_header_finds_its_data(tmp_path):
    for name in ("volume.mhd", "volume.nhdr"):
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS.T), str(tmp_path / name))
        np.testing.assert_array_equal(read_volume(tmp_path / name).numpy()[0], VOXELS)


def test_a_detached_header_without_its_data_is_refused(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS.T), str(tmp_path / "volume.mhd"))
    (tmp_path / "volume.raw").unlink()
    refusal(tmp_path / "volume.mhd", "file-damaged")


def size_bomb(folder: Path, extension: str) -> Path:
    """A few bytes that claim 60 000 or, in NIfTI, 30 000 voxels a side."""
    if extension == ".nrrd":
        return nrrd(folder / "bomb.nrrd", sizes="60000 60000 60000")
    path = folder / f"bomb{extension}"
    if extension == ".mha":
        path.write_bytes(
            b"ObjectType = Image\nNDims = 3\nDimSize = 60000 60000 60000\nElementType = MET_FLOAT\nElementDataFile = LOCAL\n"
        )
        return path
    header = nib.Nifti1Header()
    header.set_data_shape((30_000, 30_000, 30_000))
    header["magic"], header["vox_offset"] = b"n+1", 352
    path.write_bytes((gzip.compress if extension == ".nii.gz" else bytes)(header.binaryblock + bytes(100)))
    return path


@every_extension
def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path, extension):
    assert "values" in refusal(size_bomb(tmp_path, extension), "volume-too-large")


# ---- pictures


@pytest.mark.parametrize("extension", [".png", ".bmp", ".tif", ".jpg"])
def test_a_picture_stands_upright_as_an_axial_slice(tmp_path, extension):
    picture = np.zeros((32, 48), np.uint8)  # rows, columns
    picture[:8, 32:] = 255  # top right
    sitk.WriteImage(sitk.GetImageFromArray(picture), str(path := tmp_path / f"panoramic{extension}"))
    volume = read_volume(path)
    assert volume.shape[1:] == (48, 32, 1)
    np.testing.assert_allclose(volume[0, :, :, 0].T, picture, atol=8)  # JPEG is lossy
    # Radiological display: the patient's left is on the right, anterior is up.
    left, posterior, _ = point_of(np.asarray(volume.affine), (40, 4, 0)) * (-1, -1, 1)
    assert (left, posterior) == (40, 4)


def test_print_resolution_does_not_change_the_pixel_size(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((6, 9), np.uint8))
    image.SetSpacing((0.1, 0.1))
    sitk.WriteImage(image, str(path := tmp_path / "dots.tif"))
    np.testing.assert_array_equal(read_volume(path).affine, np.diag([-1, -1, 1, 1]))


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_gives_red_green_and_blue_without_alpha(tmp_path, channels):
    colours = np.arange(6 * 9 * channels, dtype=np.uint8).reshape(6, 9, channels)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(path := tmp_path / "colour.png"))
    np.testing.assert_array_equal(read_volume(path)[..., 0].numpy(), colours[..., :3].transpose(2, 1, 0))


def test_sixteen_bits_of_a_png_are_kept(tmp_path):
    grey = np.arange(54, dtype=np.uint16).reshape(6, 9) * 1000
    sitk.WriteImage(sitk.GetImageFromArray(grey), str(path := tmp_path / "deep.png"))
    np.testing.assert_array_equal(read_volume(path)[0, :, :, 0].numpy(), grey.T)


# ---- names, and what is no image


@pytest.mark.parametrize("name", ["ohne_Endung", "Ärzte_腎臓 étude (1).dcm", "volume.nii", "volume.png"])
@every_extension
def test_content_tells_the_kind_whatever_the_name(tmp_path, extension, name):
    write_volume(volume_from_array(VOXELS, AFFINES["oblique"]), tmp_path / f"volume{extension}")
    path = (tmp_path / f"volume{extension}").rename(tmp_path / name)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.numpy()[0], VOXELS)
    assert volume.meta["filename_or_obj"] == str(path)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file-empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "file-is-lfs-pointer"),
        (b"PK\x03\x04" + bytes(40), "file-is-archive"),
        (b"Sehr geehrte Damen und Herren", "file-kind-unknown"),
        (gzip.compress(b"Sehr geehrte Damen und Herren", mtime=0), "file-kind-unknown"),
        (gzip.compress(bytes(5000), mtime=0)[:12], "file-damaged"),
        (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", "dicom-no-images"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, content, code):
    path = tmp_path / "image.nii.gz"
    path.write_bytes(content)
    refusal(path, code)


def test_a_missing_file_is_refused(tmp_path):
    refusal(tmp_path / "missing.nii.gz", "file-missing")


def test_a_series_is_chosen_in_a_folder_only(tmp_path):
    refusal(save_nifti(tmp_path / "volume.nii", VOXELS), "series-needs-folder", series="1.2.3")


@pytest.mark.parametrize("array", [np.zeros((0, 4, 3)), np.zeros((1, 5, 0, 3))])
def test_a_volume_needs_voxels(array):
    with pytest.raises(EngineError) as caught:
        volume_from_array(array, np.eye(4))
    assert caught.value.code == "volume-empty"


STABLE_CODES = (
    "read",
    "reference-refused",
    "dicom-no-images",
    "file-damaged",
    "file-is-archive",
    "file-is-lfs-pointer",
    "file-kind-unknown",
    "volume-affine-singular",
    "volume-complex",
    "volume-empty",
    "volume-has-time-points",
    "volume-not-finite",
    "volume-too-large",
)


def outcome(path: Path) -> tuple[str, MetaTensor | None]:
    """What becomes of a file: "read" and the volume, or the code of a message that names the file."""
    try:
        return "read", read_volume(path)
    except EngineError as error:
        return error.code if str(path) in error.message else f"{error.code} without its file", None


def only_read_or_refused(path: Path) -> None:
    """Whatever else is raised fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code, volume = outcome(path)
    assert code in STABLE_CODES
    if volume is not None:
        assert volume.ndim == 4
        assert torch.isfinite(volume.as_tensor()).all()
        assert np.isfinite(volume.affine).all()


@every_extension
def test_a_file_that_breaks_off_is_refused(tmp_path, extension):
    write_volume(
        volume_from_array(np.random.default_rng(0).random((16, 15, 14)), np.eye(4)), whole := tmp_path / f"w{extension}"
    )
    content = whole.read_bytes()
    for length in (len(content) // 3, len(content) // 2, len(content) - 40):
        broken = tmp_path / f"broken{extension}"
        broken.write_bytes(content[:length])
        refusal(broken, "file-damaged")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    extension=st.sampled_from(EXTENSIONS),
    hits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_corrupted_file_is_read_or_refused_and_nothing_else(tmp_path, extension, hits):
    path = tmp_path / f"sound{extension}"
    if not path.exists():
        write_volume(volume_from_array(VOXELS, AFFINES["oblique"]), path)
    corrupt(path, hits)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    extension=st.sampled_from([".png", ".bmp", ".tif", ".jpg"]),
    hits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_corrupted_picture_is_read_or_refused_and_nothing_else(tmp_path, extension, hits):
    path = tmp_path / f"sound{extension}"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS[:, :, 0].astype(np.uint8)), str(path))
    corrupt(path, hits)


def corrupt(path: Path, hits: list[tuple[int, int]]) -> None:
    content = bytearray(path.read_bytes())
    for place, value in hits:
        content[place % len(content)] = value
    corrupted = path.with_name("corrupted")
    corrupted.write_bytes(content)
    only_read_or_refused(corrupted)


# ---- real files

AWKWARD = {
    "broken/DERIVED_empty.nii.gz": "file-empty",
    "broken/DERIVED_truncated_example_ct_sm.nii.gz": "file-damaged",
    "broken/git_lfs_pointer_spleen_unet_model.pt": "file-is-lfs-pointer",
    "broken/pydicom_MR_truncated.dcm": "dicom-not-decodable",
    "broken/pydicom_meta_missing_tsyntax.dcm": "dicom-no-images",
    "broken/pydicom_no_meta.dcm": "file-kind-unknown",
    "nifti/complex.nii.gz": "volume-complex",
    "nifti/nibabel_example4d.nii.gz": "volume-has-time-points",
    "dicom/dicom2nifti_sliceincrement_001": "dicom-slices-uneven",
    "dicom/dicom2nifti_sliceorientation_001": "dicom-mixed-orientations",
    "dicom": "series-ambiguous",
    "broken": "series-ambiguous",
    "nifti": "dicom-no-images",
    "nifti/nifti_space": "dicom-no-images",
}
"""What of the awkward files is refused, and with which code. All else is read."""


@pytest.mark.real_data
def test_every_awkward_file_and_folder_is_read_or_refused_with_its_code(test_data):
    root = test_data / "awkward"
    outcomes = {}
    for path in sorted(root.rglob("*")):
        code, _ = outcome(path)
        if code != "read":
            outcomes[str(path.relative_to(root))] = code
    expected = {name: code for name, code in AWKWARD.items() if (root / name).exists()}
    assert outcomes == expected


@pytest.mark.real_data
def test_awkward_nifti_files_agree_with_nibabel(test_data):
    awkward = test_data / "awkward"
    compared = 0
    for path in [*awkward.rglob("*.nii.gz"), awkward / "DERIVED_name_without_extension"]:
        _, volume = outcome(path)
        if volume is None:
            continue
        image = nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
        if image.header["sform_code"] > 0 or image.header["qform_code"] > 0:
            np.testing.assert_array_equal(volume.affine, image.affine)
        else:  # placed as ITK and 3D Slicer place it
            peer = sitk.ReadImage(str(path), imageIO="NiftiImageIO")
            np.testing.assert_allclose(volume.affine, np.diag([-1, -1, 1, 1]) @ np.diag([*peer.GetSpacing(), 1]))
            assert peer.GetOrigin() == (0, 0, 0)
            assert peer.GetDirection() == tuple(np.eye(3).ravel())
        if image.get_data_dtype().names:
            colours = np.asarray(image.dataobj)
            np.testing.assert_array_equal(volume.numpy(), [colours[channel] for channel in "RGB"])
        else:
            np.testing.assert_allclose(volume.numpy()[0], image.get_fdata(), rtol=1e-6, atol=1e-4)
        compared += 1
    assert compared >= 14


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["FLAIR.nrrd", "mha.mha", "ts2d_2D_2channel_float64_rotated.nrrd"])
def test_awkward_nrrd_and_mha_files_agree_with_simpleitk(test_data, name):
    volume, image = read_volume(test_data / "awkward" / name), sitk.ReadImage(str(test_data / "awkward" / name))
    index = tuple(size // 3 for size in image.GetSize())
    values = volume[(slice(None), *index, 0)[: volume.ndim]]
    np.testing.assert_allclose(values, np.float32(image[index]))
    point = np.array([*image.TransformIndexToPhysicalPoint(index), 0.0])[:3] * (-1, -1, 1)
    np.testing.assert_allclose(point_of(np.asarray(volume.affine), (*index, 0)[:3]), point, atol=1e-9)


@pytest.mark.real_data
def test_eight_axis_orders_hold_the_same_intensity_at_the_same_patient_point(test_data):
    volumes = {path.name: read_volume(path) for path in (test_data / "awkward/nifti/nifti_space").glob("*.nii.gz")}
    assert len(volumes) == 8
    reference = volumes.pop("RAS.nii.gz")
    indices = np.indices(reference.shape[1:]).reshape(3, -1)
    points = np.asarray(reference.affine) @ np.vstack([indices, np.ones(indices.shape[1])])
    for name, volume in volumes.items():
        found = (np.linalg.inv(np.asarray(volume.affine)) @ points)[:3]
        np.testing.assert_allclose(found, found.round(), atol=1e-2, err_msg=name)
        i, j, k = found.round().astype(int)
        np.testing.assert_array_equal(volume.numpy()[0, i, j, k], reference.numpy().reshape(-1), err_msg=name)


@pytest.mark.real_data
def test_a_name_with_umlauts_and_kanji_is_read_from_a_folder_of_such_a_name(test_data, tmp_path):
    (source,) = (test_data / "awkward").glob("DERIVED_*.nii.gz")
    folder = tmp_path / "Größe 腎臓"
    folder.mkdir()
    shutil.copy(source, folder)
    assert read_volume(folder / source.name).shape == (1, 122, 101, 30)
