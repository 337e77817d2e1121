"""Folders of cases are recognised for what they are: made here from real volumes and labels, in the layouts of the data sets that people have."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from SegHiResCAMLib.naming import case_folder
from SegHiResCAMLib.study.cases import FoundCases, find_cases, part_of
from SegHiResCAMLib.study.errors import StudyError

REAL = pytest.mark.real_data


@pytest.fixture
def ct(test_data: Path) -> Path:
    return test_data / "abdomen-ct/example_ct_sm.nii.gz"


@pytest.fixture
def labels(test_data: Path) -> Path:
    return next((test_data / "kits23-labels/case_00110").glob("*.nii.gz"))


def put(source: Path, *places: Path) -> None:
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


def seen(found: FoundCases, root: Path) -> list[tuple[str, list[str], str | None]]:
    """Names, images and references, as paths in a folder."""
    return [
        (
            one.name,
            [Path(image).relative_to(root).as_posix() for image in one.images],
            None if one.reference is None else Path(one.reference).relative_to(root).as_posix(),
        )
        for one in found.cases
    ]


@REAL
def test_kits_is_recognised_and_a_case_without_its_image_is_a_problem(ct: Path, labels: Path, tmp_path: Path) -> None:
    put(ct, tmp_path / "case_00110/imaging.nii.gz", tmp_path / "case_00111/imaging.nii.gz")
    put(labels, tmp_path / "case_00110/segmentation.nii.gz", tmp_path / "case_00112/segmentation.nii.gz")
    found = find_cases(str(tmp_path))
    assert found.layout == "KiTS"
    assert seen(found, tmp_path) == [
        ("case_00110", ["case_00110/imaging.nii.gz"], "case_00110/segmentation.nii.gz"),
        ("case_00111", ["case_00111/imaging.nii.gz"], None),
        ("case_00112", ["case_00112/imaging.nii.gz"], "case_00112/segmentation.nii.gz"),
    ]
    assert list(found.problems) == ["case_00112"]
    assert "imaging.nii.gz' does not exist" in found.problems["case_00112"]


@REAL
def test_raw_nnunet_data_has_its_channels_in_order(ct: Path, labels: Path, tmp_path: Path) -> None:
    put(ct, *(tmp_path / f"imagesTr/brain_{number}_000{channel}.nii.gz" for number in "21" for channel in "10"))
    put(ct, tmp_path / "imagesTs/brain_9_0000.nii.gz", tmp_path / "imagesTr/._brain_1_0000.nii.gz")
    put(labels, tmp_path / "labelsTr/brain_1.nii.gz")
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "kidney": 1}, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    found = find_cases(str(tmp_path))
    assert found.layout == "nnU-Net raw data set"
    assert seen(found, tmp_path) == [
        ("brain_1", ["imagesTr/brain_1_0000.nii.gz", "imagesTr/brain_1_0001.nii.gz"], "labelsTr/brain_1.nii.gz"),
        ("brain_2", ["imagesTr/brain_2_0000.nii.gz", "imagesTr/brain_2_0001.nii.gz"], None),
        ("brain_9", ["imagesTs/brain_9_0000.nii.gz"], None),
    ]
    assert [one.groups["part"] for one in found.cases] == ["training", "training", "test"]


def decathlon(folder: Path, image: str = "./imagesTr/spleen_2.nii.gz") -> None:
    content = {
        "name": "Spleen",
        "labels": {"0": "background", "1": "spleen"},
        "training": [{"image": image, "label": "./labelsTr/spleen_2.nii.gz"}],
        "test": ["./imagesTs/spleen_1.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


@REAL
def test_a_task_of_the_medical_decathlon_is_what_its_dataset_json_lists(ct: Path, labels: Path, tmp_path: Path) -> None:
    put(ct, tmp_path / "imagesTr/spleen_2.nii.gz", tmp_path / "imagesTs/spleen_1.nii.gz")
    put(labels, tmp_path / "labelsTr/spleen_2.nii.gz")
    decathlon(tmp_path)
    found = find_cases(str(tmp_path))
    assert found.layout == "Medical Segmentation Decathlon"
    assert seen(found, tmp_path) == [
        ("spleen_2", ["imagesTr/spleen_2.nii.gz"], "labelsTr/spleen_2.nii.gz"),
        ("spleen_1", ["imagesTs/spleen_1.nii.gz"], None),
    ]


def test_a_dataset_json_that_names_a_file_outside_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    decathlon(tmp_path / "inside", "../../etc/passwd")
    with pytest.raises(StudyError, match="not a file inside its folder"):
        find_cases(str(tmp_path / "inside"))


@REAL
def test_bids_images_are_cases_and_their_one_segmentation_is_the_reference(
    ct: Path, labels: Path, tmp_path: Path
) -> None:
    put(ct, tmp_path / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", tmp_path / "sub-02/anat/sub-02_T1w.nii.gz")
    put(labels, tmp_path / "derivatives/manual/sub-02/anat/sub-02_T1w_desc-kidney_dseg.nii.gz")
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}', encoding="utf-8")
    found = find_cases(str(tmp_path))
    assert found.layout == "BIDS"
    assert seen(found, tmp_path) == [
        ("sub-01_ses-a_T1w", ["sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"], None),
        (
            "sub-02_T1w",
            ["sub-02/anat/sub-02_T1w.nii.gz"],
            "derivatives/manual/sub-02/anat/sub-02_T1w_desc-kidney_dseg.nii.gz",
        ),
    ]
    assert [one.groups["subject"] for one in found.cases] == ["sub-01", "sub-02"]


@REAL
def test_a_dicom_tree_has_a_case_a_series_whose_name_hides_its_identifiers(test_data: Path, tmp_path: Path) -> None:
    source = test_data / "abdomen-ct/example_ct_dicom"
    shutil.copytree(source, tmp_path / "Müller^Hans/19700101")
    found = find_cases(str(tmp_path))
    assert found.layout == "DICOM tree"
    (case,) = found.cases
    assert case.is_hashed
    assert case.name.startswith("series-")
    assert "Müller" not in case.name
    assert find_cases(str(source)).cases[0].name == case.name
    assert case.groups == {"modality": "CT"}


def test_a_folder_without_a_layout_is_refused_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing", encoding="utf-8")
    with pytest.raises(StudyError, match=r"has none of the layouts.*KiTS.*Decathlon.*BIDS.*DICOM"):
        find_cases(str(tmp_path))


def table(folder: Path, text: str, name: str = "cases.csv") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_says_images_reference_regions_and_groups(tmp_path: Path, delimiter: str) -> None:
    lines = [
        "\ufeffcase,Image,image_2,reference,regions,sex",
        "a,t1.nii,t2.nii,true.nii,,f",
        "b,/x/t1.nii,,,organs.nii,m",
    ]
    found = find_cases(table(tmp_path, "\n".join(lines).replace(",", delimiter)))
    first, second = found.cases
    assert first.images == (str(tmp_path / "t1.nii"), str(tmp_path / "t2.nii"))
    assert (first.reference, first.regions) == (str(tmp_path / "true.nii"), None)
    assert (second.images, second.regions) == (("/x/t1.nii",), str(tmp_path / "organs.nii"))
    assert [one.groups for one in found.cases] == [{"sex": "f"}, {"sex": "m"}]


def test_a_parquet_table_is_read_as_a_csv_is(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {"case": ["a", "b"], "image": ["1.nii", "2.nii"], "age": [60, None]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    csv = find_cases(table(tmp_path, "case,image,age\na,1.nii,60\nb,2.nii,\n"))
    assert find_cases(str(tmp_path / "t.parquet")).cases == csv.cases


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,picture\na,b\n", "must have the columns 'case' and 'image'; it has name, picture"),
        ("case,image\n", "holds no case"),
        ("case,image\nA,1.nii\na,2.nii\n", "'a' and 'A', which some file systems take for one name"),
        ("case,image\na,1.nii\na,2.nii\n", "Two cases are called 'a'"),
        ("case,image\n,1.nii\n", "A case has no name"),
        ('case,image\n"a,1.nii\n', "is not a table"),
    ],
)
def test_a_table_that_is_none_is_refused_with_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(StudyError, match=re.escape(says)):
        find_cases(table(tmp_path, text))


def test_folders_of_cases_differ_wherever_their_names_do(tmp_path: Path) -> None:
    names = ["a/b", "a-b", "a b", "Ä", "con", "..", "x" * 300, "x" * 301]
    folders = [case_folder(name) for name in names]
    assert len({one.casefold() for one in folders}) == len(names)
    assert all("/" not in one and one not in ("..", "con") and len(one) < 100 for one in folders)
    assert case_folder("case_00110") == "case_00110"


def test_parts_are_disjoint_and_whole_and_a_further_case_moves_no_other(tmp_path: Path) -> None:
    rows = [f"case{number},1.nii" for number in range(40)]
    cases = find_cases(table(tmp_path, "\n".join(["case,image", *rows]))).cases
    parts = [part_of(cases, (number, 3)) for number in (1, 2, 3)]
    assert sorted(one.name for part in parts for one in part) == sorted(one.name for one in cases)
    more = find_cases(table(tmp_path, "\n".join(["case,image", "new,1.nii", *rows]))).cases
    assert [one.name for one in part_of(more, (2, 3)) if one.name != "new"] == [one.name for one in parts[1]]
