"""A study that somebody else has sent: what it can have opened, written and shown."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import pytest

from SegHiResCAMLib.records.explain_job import ExplainJob
from SegHiResCAMLib.records.explanation import ModelReference
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.study import StudyRun
from SegHiResCAMLib.review import reviewed_study
from SegHiResCAMLib.review.answer_file import answers_of
from SegHiResCAMLib.review.errors import ReviewError
from SegHiResCAMLib.review.form import DEFAULT
from SegHiResCAMLib.review.reviewed_study import open_study
from SegHiResCAMLib.review.scene_archive import check_scene

MRML = '<MRML version="5.12"><VolumeArchetypeStorage id="s" fileName="{}" uri=""></VolumeArchetypeStorage></MRML>'


def a_scene(path: Path, reference: str = "Data/ct%20of%20anna.nrrd", *, text: str = MRML, **members: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scene/scene.mrml", text.replace("{}", reference))
        archive.writestr("scene/Data/ct of anna.nrrd", b"voxels")
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def a_study(folder: Path, rows: list[list[str]]) -> Path:
    job = ExplainJob(volumes=(), model="m", segments=("tumour",), question=Question(segment="tumour"))
    run = StudyRun(input="t.csv", layout="table", model=ModelReference("m", "0"), job=job, options="o", cases=())
    (folder / "run.json").write_text(json.dumps(to_json(run)), encoding="utf-8")
    with (folder / "cases.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def test_a_scene_that_holds_all_that_it_shows_is_opened(tmp_path: Path) -> None:
    check_scene(a_scene(tmp_path / "scene.mrb"))


@pytest.mark.parametrize(
    "reference",
    [
        "/etc/passwd",
        "../../../.ssh/id_ed25519",
        "..%2F..%2Fsecret",
        "&#46;&#46;/secret",
        "C:\\Users\\me\\secret.nrrd",
        "\\\\server\\share\\x.nrrd",
        "https://example.invalid/tracked.nrrd",
        "file:///etc/passwd",
    ],
)
def test_a_scene_that_refers_to_something_else_is_refused(tmp_path: Path, reference: str) -> None:
    with pytest.raises(ReviewError, match=r"refers to '.*so it is not opened") as raised:
        check_scene(a_scene(tmp_path / "scene.mrb", reference))
    assert raised.value.code == "scene-reaches-out"


@pytest.mark.parametrize(
    "text",
    [
        '<MRML><X uri="https://example.invalid"/></MRML>',
        "<MRML><X fileName = '/etc/passwd'/></MRML>",
        '<MRML><X fileListMember12="/etc/passwd"/></MRML>',
        '<MRML><X uriListMember0="x"/></MRML>',
    ],
)
def test_references_are_found_however_they_are_written(tmp_path: Path, text: str) -> None:
    with pytest.raises(ReviewError, match="refers to"):
        check_scene(a_scene(tmp_path / "scene.mrb", text=text))


@pytest.mark.parametrize(
    "text",
    [
        MRML.replace("{}", "/etc/passwd").encode("utf-16"),
        b'<?xml version="1.0"?><!DOCTYPE MRML [<!ENTITY outside "/etc/passwd">]><MRML><X fileName="&outside;"/></MRML>',
        b'<!DOCTYPE MRML SYSTEM "file:///etc/passwd"><MRML/>',
    ],
    ids=["UTF-16", "entity", "document type"],
)
def test_encodings_and_entities_hide_no_reference(tmp_path: Path, text: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "scene.mrb", "w") as archive:
        archive.writestr("scene/scene.mrml", text)
    with pytest.raises(ReviewError) as refusal:
        check_scene(tmp_path / "scene.mrb")
    assert refusal.value.code == "scene-reaches-out"


@pytest.mark.parametrize("name", ["../outside.py", "/outside", "scene\\..\\..\\outside", "D:outside"])
def test_an_archive_whose_members_would_lie_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReviewError, match="would lie elsewhere"):
        check_scene(a_scene(tmp_path / "scene.mrb", **{name: "x"}))


def test_an_archive_with_a_link_or_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_scene(tmp_path / "scene.mrb")
    link = zipfile.ZipInfo("scene/Data/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ReviewError, match="would lie elsewhere"):
        check_scene(path)
    monkeypatch.setattr("SegHiResCAMLib.review.scene_archive.LARGEST_SCENE", 10)
    with pytest.raises(ReviewError, match="has a text of more than"):
        check_scene(a_scene(tmp_path / "other.mrb"))
    monkeypatch.setattr("SegHiResCAMLib.review.scene_archive.LARGEST", 10)
    with pytest.raises(ReviewError, match="GiB"):
        check_scene(a_scene(tmp_path / "third.mrb"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", b"<MRML/>"])
def test_what_is_no_scene_is_a_message(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scene.mrb").write_bytes(content)
    with pytest.raises(ReviewError, match="cannot be opened"):
        check_scene(tmp_path / "scene.mrb")
    with pytest.raises(ReviewError, match="cannot be opened"):
        check_scene(tmp_path / "lost.mrb")


@pytest.mark.parametrize("what", ["folder", "file"])
def test_answers_are_written_through_no_link_that_leads_out_of_the_study(tmp_path: Path, what: str) -> None:
    study, outside = tmp_path / "study", tmp_path / "outside"
    outside.mkdir()
    (outside / "bashrc").write_text("", encoding="utf-8")
    study.mkdir()
    if what == "folder":
        (study / "reviews").symlink_to(outside, target_is_directory=True)
    else:
        (study / "reviews").mkdir()
        (study / "reviews/Ann.csv").symlink_to(outside / "bashrc")
    with pytest.raises(ReviewError, match="a link that leads out of the study's folder"):
        answers_of(study, "Ann", DEFAULT)
    assert (outside / "bashrc").read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", "C:\\outside", "a/b"])
def test_a_case_is_looked_for_inside_the_study_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    a_scene(tmp_path / "outside/scene.mrb")
    (tmp_path / "in/study/cases").mkdir(parents=True)
    with pytest.raises(ReviewError, match="has a scene to look at"):
        open_study(a_study(tmp_path / "in/study", [["case"], [name]]))


def test_a_table_of_more_cells_than_a_panel_can_show_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_scene(tmp_path / "cases/a/scene.mrb")
    study = a_study(tmp_path, [["case", "x"], ["a", "1"], ["b", "2"]])
    assert [one.name for one in open_study(study).cases] == ["a"]
    monkeypatch.setattr(reviewed_study, "MOST_CELLS", 3)
    with pytest.raises(ReviewError, match="has 2 rows and 2 columns, more than a panel can show"):
        open_study(study)


def test_rows_that_are_longer_or_shorter_than_the_titles_are_read(tmp_path: Path) -> None:
    for name in "ab":
        a_scene(tmp_path / f"cases/{name}/scene.mrb")
    study = open_study(a_study(tmp_path, [["case", "x"], ["a", "1", "more", "and more"], ["b"]]))
    assert study.columns == ("case", "x")
    assert [one.cells for one in study.cases] == [("a", "1"), ("b", "")]
