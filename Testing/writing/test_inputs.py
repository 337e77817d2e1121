"""No output is ever an input, whatever name it goes by."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from SegHiResCAMLib.writing.errors import WritingError
from SegHiResCAMLib.writing.inputs import check_outputs
from SegHiResCAMLib.writing.result import ResultFolder


def refused(outputs: list[Path], inputs: list[Path], folders: list[Path] | None = None) -> None:
    with pytest.raises(WritingError) as caught:
        check_outputs(outputs, inputs, folders or [])
    assert caught.value.code == "output-is-input"
    assert "another" in caught.value.message


def file(path: Path, text: str = "voxels") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_is_recognised_by_any_of_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = file(tmp_path / "ct.nii.gz")
    (tmp_path / "sub").mkdir()
    for name in ("link.nii.gz", "linked-folder"):
        (tmp_path / name).symlink_to(given if name.endswith("gz") else tmp_path)
    os.link(given, tmp_path / "hard.nii.gz")
    monkeypatch.chdir(tmp_path)
    others = ["ct.nii.gz", "./sub/../ct.nii.gz", "link.nii.gz", "linked-folder/ct.nii.gz", "hard.nii.gz"]
    for output in map(Path, others):
        refused([output], [given])
        refused([given], [output])
    check_outputs([Path("out.nii.gz"), Path("sub/ct.nii.gz")], [given, Path("absent.nii.gz")])


def test_a_file_in_a_folder_that_is_read_is_an_input(tmp_path: Path) -> None:
    inside = file(tmp_path / "bundle/configs/inference.json")
    file(tmp_path / "slices/deep/1.dcm")
    (tmp_path / "bundle/linked").symlink_to(tmp_path / "slices")
    (tmp_path / "bundle/circle").symlink_to(tmp_path / "bundle")
    refused([inside], [tmp_path / "bundle"])
    refused([tmp_path / "slices/deep/1.dcm"], [tmp_path / "bundle"])
    check_outputs([tmp_path / "bundle/out.seg.nrrd"], [tmp_path / "bundle"])


def test_nothing_is_written_into_a_folder_that_is_read_as_a_whole(tmp_path: Path) -> None:
    file(tmp_path / "case/dicom/1.dcm")
    refused([], [tmp_path / "case/dicom"], [tmp_path / "case/dicom"])
    refused([], [tmp_path / "case"], [tmp_path / "case/why/dicom"])
    check_outputs([], [tmp_path / "case"], [tmp_path / "case/why"])


@pytest.mark.parametrize(
    ("header", "text", "voxels"),
    [
        ("ct.mhd", "NDims = 3\nElementDataFile = voxels.nrrd\n", "voxels.nrrd"),
        ("ct.mhd", "NDims = 3\nElementDataFile = LIST\na.mha\nb.mha\n", "b.mha"),
        ("ct.mhd", "NDims = 3\nElementDataFile = LIST\na.mha\nb.mha\n", "a.mha"),
        ("ct.nhdr", "NRRD0004\ntype: float\ndata file: my voxels.nrrd\n\n", "my voxels.nrrd"),
        ("ct.nhdr", "NRRD0004\ntype: float\ndatafile: voxels.nrrd\n\n", "voxels.nrrd"),
        ("ct.hdr", "\0binary", "ct.img"),
        ("ct.img", "\0binary", "ct.hdr"),
        ("net.pt", "weights", "net.json"),
        ("net.json", "{}", "net.safetensors"),
    ],
)
def test_what_lies_beside_a_file_and_belongs_to_it_is_an_input(
    tmp_path: Path, header: str, text: str, voxels: str
) -> None:
    file(tmp_path / voxels)
    refused([tmp_path / voxels], [file(tmp_path / header, text)])


def test_a_name_in_the_provenance_of_a_heat_map_is_not_an_input(tmp_path: Path) -> None:
    given = file(tmp_path / "ct.nrrd", "NRRD0004\nSource:=ElementDataFile = out.nrrd\n\ndata file: out.nrrd")
    check_outputs([file(tmp_path / "out.nrrd")], [given])


@pytest.mark.parametrize("name", ["heatmap.nrrd", "comparison.png", "dicom/heatmap.dcm"])
def test_a_file_of_the_old_result_that_is_read_is_neither_replaced_nor_removed(tmp_path: Path, name: str) -> None:
    file(tmp_path / "explanation.json", '{"provenance": {}}')
    given = file(tmp_path / name)
    with pytest.raises(WritingError, match="would overwrite an input"):
        ResultFolder(tmp_path, ["explanation.json"], [given])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["explanation.json", name.split("/", maxsplit=1)[0]]
    )
