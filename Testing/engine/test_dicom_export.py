"""Heat maps as DICOM: every number where its image lies, in the patient's study, and the patient nowhere else."""

from __future__ import annotations

import shutil
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from a_record import a_record
from engine.geometry import point_of
from engine.test_dicom import AXIAL, OBLIQUE, STACKS, ct_slice, enhanced_ct, write_slices
from monai.data import MetaTensor
from pydicom import Dataset
from pydicom.uid import generate_uid

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.dicom.write import write_dicom
from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.records.explanation import MapLayer, ModelReference
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.terminology import terminology_of

STUDY = generate_uid()
MODEL = "KiTS19 \\ two-dimensional U-Net with a name that is much longer than the 64 characters of DICOM"
RECORD = a_record(
    "Seg-HiRes-Grad CAM",
    "tumour",
    model=ModelReference(MODEL, "ab" * 32),
    layer=MapLayer("up.1", "Conv3d", 8, (8, 8, 8), (), ""),
    versions={"seghirescam": "0.1.0", "torch": "2.13.0"},
)


def label(name: str, value: int) -> Label:
    terminology, color = terminology_of(name)
    return Label(name, value, value - 1, color, terminology)


SEGMENTS = (label("kidney", 1), label("kidney tumour", 7))


def a_series(folder: Path, axes: np.ndarray = AXIAL, step: np.ndarray | None = None, **attributes: object) -> Path:
    order = (4, 1, 5, 0, 2, 3)
    slices = [ct_slice(k, axes=axes, step=step, **{"StudyInstanceUID": STUDY, **attributes}) for k in order]
    return write_slices(folder, slices)


def a_map_of(volume: MetaTensor) -> MetaTensor:
    """Every voxel has its own value."""
    heatmap = volume.clone()
    heatmap[:] = torch.arange(volume.numel()).reshape(volume.shape) * 0.37
    return heatmap


def labels_of(volume: MetaTensor) -> MetaTensor:
    labels = torch.zeros_like(volume)
    labels[0, 1:3, 0, 1:4] = 1
    labels[0, 4, 2:, 4] = 7
    return labels


def written(folder: Path, source: Path, heatmap: MetaTensor, **options: object) -> dict[str, Dataset]:
    folder.mkdir()
    files = write_dicom(heatmap, RECORD, source, folder, **options)
    assert sorted(files) == sorted(folder.iterdir())
    return {file.name: pydicom.dcmread(file) for file in files}


def frames_of(dataset: Dataset) -> list[Dataset]:
    """The headers of the frames, flat: position, orientation and spacing."""
    flat = []
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        one = Dataset()
        for groups in (dataset.SharedFunctionalGroupsSequence[0], frame):
            for macro in (
                "PlanePositionSequence",
                "PlaneOrientationSequence",
                "PixelMeasuresSequence",
                "SegmentIdentificationSequence",
            ):
                if macro in groups:
                    one.update({element.tag: element for element in groups[macro].value[0]})
        flat.append(one)
    return flat


def ras_of(frame: Dataset, row: int, column: int) -> np.ndarray:
    """DICOM PS3.3 C.7.6.2.1.1."""
    axes = np.array(frame.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, frame.PixelSpacing)
    lps = (
        np.array(frame.ImagePositionPatient, float) + axes[0] * between_columns * column + axes[1] * between_rows * row
    )
    return lps * (-1, -1, 1)


def check_every_value_lies_in_its_place(dataset: Dataset, heatmap: MetaTensor) -> None:
    """For each pixel of each frame: its place in the patient is that of the voxel that holds its value."""
    values = heatmap.numpy()[0]
    shape = (int(dataset.NumberOfFrames), dataset.Rows, dataset.Columns)
    stored = np.frombuffer(dataset.FloatPixelData, np.float32).reshape(shape)
    assert stored.size == values.size
    inverse = np.linalg.inv(heatmap.affine.numpy())
    for number, frame in enumerate(frames_of(dataset)):
        for row in range(dataset.Rows):
            for column in range(dataset.Columns):
                index = point_of(inverse, ras_of(frame, row, column))
                np.testing.assert_allclose(index, index.round(), atol=1e-6)
                assert stored[number, row, column] == values[tuple(index.round().astype(int))]


@pytest.mark.parametrize(("axes", "step"), STACKS.values(), ids=STACKS)
def test_every_number_lies_where_its_voxel_lay(tmp_path: Path, axes: np.ndarray, step: np.ndarray) -> None:
    source = a_series(tmp_path / "ct", axes, step)
    heatmap = a_map_of(read_volume(source))
    check_every_value_lies_in_its_place(written(tmp_path / "out", source, heatmap)["heatmap.dcm"], heatmap)


@pytest.mark.parametrize("axes", [AXIAL, OBLIQUE], ids=["axial", "oblique"])
def test_highdicom_reads_the_same_affine_and_values_back(tmp_path: Path, axes: np.ndarray) -> None:
    source = a_series(tmp_path / "ct", axes)
    heatmap = a_map_of(read_volume(source))
    written(tmp_path / "out", source, heatmap)
    volume = hd.imread(tmp_path / "out/heatmap.dcm").get_volume(apply_real_world_transform=False)
    back = nib.Nifti1Image(volume.array, np.diag([-1, -1, 1, 1]) @ volume.affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(back.affine), nib.io_orientation(heatmap.affine.numpy()))
    back = back.as_reoriented(turn)
    np.testing.assert_allclose(back.affine, heatmap.affine.numpy(), atol=1e-6)
    np.testing.assert_array_equal(back.get_fdata(dtype=np.float32), heatmap.numpy()[0])


def test_frames_ascend_along_the_normal_because_3d_slicer_reads_them_so(tmp_path: Path) -> None:
    source = a_series(tmp_path / "ct", OBLIQUE)
    dataset = written(tmp_path / "out", source, a_map_of(read_volume(source)))["heatmap.dcm"]
    normal = np.cross(*OBLIQUE)
    along = [np.dot(normal, frame.ImagePositionPatient) for frame in frames_of(dataset)]
    assert along == sorted(along)


@pytest.mark.parametrize("step", [(0, 0, 2.5), (0, 0.9, 2.5)], ids=["straight", "tilted"])
def test_the_frames_of_an_enhanced_ct_keep_their_places(tmp_path: Path, step: tuple[float, ...]) -> None:
    source = write_slices(tmp_path / "ct", [enhanced_ct(np.array(step))])
    heatmap = a_map_of(read_volume(source))
    objects = written(tmp_path / "out", source, heatmap, pictures=False)
    check_every_value_lies_in_its_place(objects["heatmap.dcm"], heatmap)


def test_a_map_of_the_series_in_another_axis_order_gives_the_same_file(tmp_path: Path) -> None:
    source = a_series(tmp_path / "ct", OBLIQUE)
    heatmap = a_map_of(read_volume(source))
    turned = nib.as_closest_canonical(
        nib.Nifti1Image(heatmap.numpy()[0].transpose(2, 0, 1), heatmap.affine.numpy()[:, [2, 0, 1, 3]])
    )
    other = MetaTensor(
        torch.tensor(turned.get_fdata(dtype=np.float32).copy())[None], affine=torch.tensor(turned.affine)
    )
    assert other.shape != heatmap.shape
    check_every_value_lies_in_its_place(written(tmp_path / "out", source, other)["heatmap.dcm"], heatmap)


def test_patient_and_study_are_those_of_the_source_and_the_rest_is_ours(tmp_path: Path) -> None:
    source = a_series(tmp_path / "ct", PatientSex="F", AccessionNumber="A1")
    volume = read_volume(source)
    objects = written(tmp_path / "out", source, a_map_of(volume), labels=labels_of(volume), segments=SEGMENTS)
    assert {"heatmap.dcm", "segmentation.dcm", "picture-0001.dcm"} <= set(objects)
    for dataset in objects.values():
        assert (dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate) == (
            "Geheim^Gerda",
            "GG-4711",
            "19370421",
        )
        assert (dataset.StudyInstanceUID, dataset.FrameOfReferenceUID) == (STUDY, "1.2.3")
        assert dataset.Manufacturer == "SegHiResCAM"
        assert dataset.SeriesDescription.endswith(
            "research use, not for diagnosis"[: 64 - len("Seg-HiRes-Grad CAM, tumour, ")]
        ) or (dataset.Modality == "SEG")
    series = {name.split("-")[0]: dataset.SeriesInstanceUID for name, dataset in objects.items()}
    assert len(set(series.values())) == 3
    assert pydicom.dcmread(next(source.iterdir())).SeriesInstanceUID not in series.values()
    heatmap = objects["heatmap.dcm"]
    assert heatmap.ContentQualification == "RESEARCH"
    assert heatmap.DeviceSerialNumber == "ab" * 32
    assert "layer: up.1" in heatmap.ImageComments


def test_an_anonymised_series_without_patient_and_frame_of_reference_is_enough(tmp_path: Path) -> None:
    slices = [ct_slice(k, StudyInstanceUID=STUDY) for k in range(6)]
    for one in slices:
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "FrameOfReferenceUID"):
            delattr(one, keyword)
    source = write_slices(tmp_path / "ct", slices)
    volume = read_volume(source)
    objects = written(tmp_path / "out", source, a_map_of(volume), labels=labels_of(volume), segments=SEGMENTS)
    assert {str(dataset.PatientName) for dataset in objects.values()} == {""}
    assert len({dataset.FrameOfReferenceUID for dataset in objects.values()}) == 1


@pytest.mark.parametrize("axes", [AXIAL, OBLIQUE], ids=["axial", "oblique"])
def test_outlines_keep_their_voxels_names_codes_and_colours(tmp_path: Path, axes: np.ndarray) -> None:
    source = a_series(tmp_path / "ct", axes)
    volume = read_volume(source)
    labels = labels_of(volume)
    dataset = written(tmp_path / "out", source, a_map_of(volume), labels=labels, segments=SEGMENTS)["segmentation.dcm"]
    kidney, tumour = dataset.SegmentSequence
    assert [kidney.SegmentLabel, tumour.SegmentLabel] == ["kidney", "kidney tumour"]
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
    assert tumour.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert tumour.AnatomicRegionSequence[0].CodeValue == "64033007"
    color = hd.color.CIELabColor.from_dicom_value(kidney.RecommendedDisplayCIELabValue)
    np.testing.assert_allclose(color.to_rgb(), np.array(SEGMENTS[0].color) * 255, atol=2)
    inverse = np.linalg.inv(volume.affine.numpy())
    found = {1: set(), 2: set()}
    for frame, pixels in zip(frames_of(dataset), np.atleast_3d(dataset.pixel_array), strict=True):
        for row, column in np.argwhere(pixels):
            index = point_of(inverse, ras_of(frame, row, column)).round().astype(int)
            found[frame.ReferencedSegmentNumber].add(tuple(int(one) for one in index))
    for number, value in ((1, 1), (2, 7)):
        assert found[number] == {tuple(int(one) for one in index) for index in np.argwhere(labels.numpy()[0] == value)}


def test_pictures_show_the_image_in_grey_and_the_map_in_colour_in_their_place(tmp_path: Path) -> None:
    source = a_series(tmp_path / "ct", OBLIQUE, WindowCenter=-1024 + 420, WindowWidth=840)
    volume = read_volume(source)
    heatmap = torch.zeros_like(volume)
    heatmap[0, 3, 1, 2] = 8.0
    heatmap[0, 2, 2, 4] = 4.0
    heatmap[0, 1, 1, 5] = 1.0  # under 15 % of the maximum: does not show
    objects = written(tmp_path / "out", source, heatmap)
    pictures = [dataset for name, dataset in objects.items() if name.startswith("picture")]
    assert [dataset.InstanceNumber for dataset in pictures] == [1, 2]
    inverse = np.linalg.inv(volume.affine.numpy())
    for dataset, (i, j, k) in zip(pictures, [(3, 1, 2), (2, 2, 4)], strict=True):
        np.testing.assert_allclose(point_of(inverse, ras_of(dataset, j, i)), (i, j, k), atol=1e-6)
        pixels = dataset.pixel_array.astype(int)
        grey = np.array([[grey_of(volume, column, row, k) for column in range(5)] for row in range(4)])
        changed = np.abs(pixels - grey[..., None]).max(axis=-1) > 1
        assert [(int(row), int(column)) for row, column in np.argwhere(changed)] == [(j, i)]
    bright = pictures[0].pixel_array[1, 3]
    hot_iron_at_its_end = np.array([255, 255, 255])
    np.testing.assert_allclose(bright, (grey_of(volume, 3, 1, 2) + hot_iron_at_its_end) / 2, atol=1)


def grey_of(volume: MetaTensor, i: int, j: int, k: int) -> float:
    return float(volume[0, i, j, k] + 1024) / 840 * 255


def test_a_blank_map_is_written_without_pictures(tmp_path: Path) -> None:
    source = a_series(tmp_path / "ct")
    objects = written(tmp_path / "out", source, torch.zeros_like(read_volume(source)))
    assert list(objects) == ["heatmap.dcm"]
    assert not np.frombuffer(objects["heatmap.dcm"].FloatPixelData, np.float32).any()


def refusal(code: str, folder: Path, source: Path, heatmap: MetaTensor) -> str:
    """The message; nothing is left in the folder and nothing of the patient in the message."""
    before = sorted(folder.iterdir()) if folder.is_dir() else []
    with pytest.raises(EngineError) as problem:
        write_dicom(heatmap, RECORD, source, folder)
    assert problem.value.code == code
    assert not any(secret in problem.value.message for secret in ("Gerda", "Geheim", "4711", "1937"))
    assert (sorted(folder.iterdir()) if folder.is_dir() else []) == before
    return problem.value.message


@pytest.mark.parametrize("change", ["moved", "cropped", "tilted"])
def test_a_map_on_another_grid_is_refused(tmp_path: Path, change: str) -> None:
    source = a_series(tmp_path / "ct")
    heatmap = a_map_of(read_volume(source))
    affine = heatmap.affine.clone()
    if change == "moved":
        affine[0, 3] += 0.2
    elif change == "tilted":
        affine[1, 2] += 0.1
    values = heatmap.as_tensor()[:, :-1] if change == "cropped" else heatmap.as_tensor()
    other = MetaTensor(values, affine=affine)
    message = refusal("dicom-grid-differs", tmp_path, source, other)
    assert f"does not lie on the grid of {source}" in message


def test_a_source_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    source = a_series(tmp_path / "ct")
    heatmap = read_volume(source)
    refusal("dicom-source-unfit", tmp_path, next(source.iterdir()), heatmap)


def test_slices_of_several_studies_are_refused_without_naming_anybody(tmp_path: Path) -> None:
    source = write_slices(tmp_path / "ct", [ct_slice(k) for k in range(6)])
    refusal("dicom-source-unfit", tmp_path, source, a_map_of(read_volume(source)))


def test_a_missing_folder_and_a_file_that_cannot_be_replaced_leave_nothing_behind(tmp_path: Path) -> None:
    source = a_series(tmp_path / "ct")
    heatmap = a_map_of(read_volume(source))
    refusal("folder-missing", tmp_path / "nowhere", source, heatmap)
    (tmp_path / "out/heatmap.dcm").mkdir(parents=True)
    refusal("file-not-written", tmp_path / "out", source, heatmap)


@pytest.mark.real_data
def test_a_slab_of_the_kidney_ct_gets_its_map_and_outlines_beside_it(kidney_case: Path, tmp_path: Path) -> None:
    source = tmp_path / "slab"
    source.mkdir()
    for number in range(60, 72):
        shutil.copy(kidney_case / f"PATIENT_DICOM/image_{number}", source)
    volume = read_volume(source)
    assert volume.shape == (1, 512, 512, 12)
    heatmap = torch.clamp(volume, 0)
    labels = (volume > 200).to(torch.int16)
    objects = written(tmp_path / "out", source, heatmap, labels=labels, segments=SEGMENTS[:1])
    back = hd.imread(tmp_path / "out/heatmap.dcm").get_volume(apply_real_world_transform=False)
    affine = np.diag([-1, -1, 1, 1]) @ back.affine
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.io_orientation(volume.affine.numpy()))
    np.testing.assert_array_equal(nib.apply_orientation(back.array, turn), heatmap.numpy()[0])
    affine = affine @ nib.orientations.inv_ornt_aff(turn, back.array.shape)
    np.testing.assert_allclose(affine, volume.affine.numpy(), atol=1e-5)
    assert int(objects["segmentation.dcm"].pixel_array.sum()) == int(labels.sum())
    assert len(objects) == 2 + 12


@pytest.mark.real_data
def test_a_series_whose_identifiers_were_removed_is_refused_and_they_are_named(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "abdomen-ct/example_ct_dicom"
    message = refusal("dicom-source-unfit", tmp_path, source, read_volume(source))
    assert "lack SOPClassUID, SOPInstanceUID, StudyInstanceUID, SeriesInstanceUID" in message
