"""A reader study by clicks: cases of a real study, one after the other, and answers that nothing can lose."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from harness.desktop import Desktop
from tiny_bundle import noise

from panel.steps import choose, idle
from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.review.answer_file import answers_of
from SegHiResCAMLib.review.form import DEFAULT, FORM
from SegHiResCAMLib.review.reviewed_study import in_order, open_study
from SegHiResCAMLib.scene.comparison import composite_of
from SegHiResCAMLib.scene.volumes import add_volume

pytestmark = pytest.mark.engine
AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])
CASES = ("anna", "bert", "cleo")


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory, a_model: Path) -> Path:
    """What `seghirescam cohort` leaves of three cases, and of one that is not there."""
    folder = tmp_path_factory.mktemp("study")
    for number, name in enumerate(CASES):
        write_nrrd(folder / f"{name}.nrrd", noise() * (1 + number), AFFINE, {})
    rows = [f"{name},{name}.nrrd,{'AB'[number % 2]}" for number, name in enumerate((*CASES, "lost"))]
    (folder / "cases.csv").write_text("\n".join(["case,image,hospital", *rows]), encoding="utf-8")
    command = [
        "cohort",
        str(folder / "cases.csv"),
        "--model",
        str(a_model),
        "--segment",
        "tumour",
        "--workers",
        "1",
        "--no-pages",
    ]
    subprocess.run([sys.executable, "-m", "SegHiResCAMLib", *command, "-o", str(folder / "out")], check=True)
    return folder / "out"


@pytest.fixture
def study(computed: Path, tmp_path: Path) -> Path:
    """A copy, whose scenes are links, to be written to."""
    for path in computed.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "cases").symlink_to(computed / "cases")
    return tmp_path


def start(desktop: Desktop, study: Path, reader: str = "Reader 1", *, seed: int = 0, hidden: bool = False) -> Any:
    ui = desktop.widget.panel.review.ui
    ui.reviewSection.collapsed = False
    ui.studyFolderButton.directory = str(study)
    ui.readerEdit.text = reader
    ui.orderSpinBox.value = seed
    ui.hiddenFirstCheckBox.checked = hidden
    ui.startReviewButton.click()
    idle(desktop)
    return ui


def rate(desktop: Desktop, agreement: str = "4", comment: str = "") -> None:
    section = desktop.widget.panel.review
    combos = [widget for _, widget in section._form._widgets]
    choose(combos[0], agreement)
    choose(combos[1], "2")
    combos[2].text = comment
    section.ui.saveRatingButton.click()
    idle(desktop)


def answers(study: Path, reader: str = "Reader-1") -> list[dict[str, str]]:
    (path,) = (study / "reviews").glob(f"{reader}*.csv")
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def image() -> str:
    return str(slicer.mrmlScene.GetNodeByID(composite_of(slicer.mrmlScene, "Red").GetBackgroundVolumeID()).GetName())


def test_a_reader_goes_from_case_to_case_and_every_rating_is_kept(desktop: Desktop, study: Path) -> None:
    ui = start(desktop, study)
    assert (image(), ui.reviewTable.rowCount) == ("anna", 3)
    assert composite_of(slicer.mrmlScene, "Red").GetForegroundVolumeID() is not None
    assert not ui.saveRatingButton.enabled
    rate(desktop, comment="=HYPERLINK(1)\nsecond line")
    assert image() == "bert"
    ui.previousCaseButton.click()
    idle(desktop)
    assert image() == "anna"
    assert desktop.widget.panel.review._form.answers["agreement"] == "4", "what was said before is shown"
    ui.nextCaseButton.click()
    rate(desktop, "1")
    rate(desktop, "3")
    assert "All cases are rated" in ui.reviewStatusLabel.text
    kept = answers(study)
    assert [(one["case"], one["agreement"], one["position"], one["map"]) for one in kept] == [
        ("anna", "4", "1", "shown"),
        ("bert", "1 not at all", "2", "shown"),
        ("cleo", "3", "3", "shown"),
    ]
    assert kept[0]["comment"] == "'=HYPERLINK(1) / second line"
    assert all(float(one["seconds"]) >= 0 == float(one["seconds_hidden"]) for one in kept)
    assert {one["options"] for one in kept} == {json.loads((study / "run.json").read_text())["options"]}


def test_a_review_goes_on_where_it_was_left_and_each_reader_has_a_file(desktop: Desktop, study: Path) -> None:
    start(desktop, study)
    rate(desktop)
    slicer.mrmlScene.Clear(0)
    start(desktop, study)
    assert image() == "bert"
    marks = [desktop.widget.panel.review.ui.reviewTable.item(row, 0).text() for row in range(3)]
    assert marks == ["✓", "", ""]
    start(desktop, study, "Reader 2")
    assert image() == "anna"


def test_the_map_is_hidden_until_the_reader_asks_for_it_and_the_time_is_kept(desktop: Desktop, study: Path) -> None:
    red = composite_of(slicer.mrmlScene, "Red")
    ui = start(desktop, study, hidden=True)
    assert (image(), red.GetForegroundVolumeID()) == ("anna", None)
    rate(desktop)
    assert (image(), red.GetForegroundVolumeID()) == ("bert", None)
    ui.showMapButton.click()
    assert red.GetForegroundVolumeID() == desktop.widget.panel.state.parameters.heatmap.GetID()
    assert not ui.showMapButton.enabled
    rate(desktop)
    assert red.GetForegroundVolumeID() is None
    desktop.ui.overlayCheckBox.click()
    rate(desktop)
    assert [(one["map"], one["seconds_hidden"] != "") for one in answers(study)] == [
        ("hidden", False),
        ("hidden", True),
        ("hidden", True),
    ]


def test_a_seed_gives_the_same_order_again_and_another_one_another(computed: Path) -> None:
    cases = open_study(computed).cases
    orders = {tuple(one.name for one in in_order(cases, seed)) for seed in range(1, 30)}
    assert len(orders) == 6, "of three cases"
    assert in_order(cases, 7) == in_order(reversed(cases), 7)
    assert [one.name for one in in_order(cases, 0)] == list(CASES)


def test_volumes_of_the_users_own_are_closed_at_the_second_press_only(desktop: Desktop, study: Path) -> None:
    mine = add_volume(slicer.mrmlScene, noise(), AFFINE, "mine")
    ui = start(desktop, study)
    assert mine.GetScene() is slicer.mrmlScene
    assert "Save it if you need it" in ui.reviewStatusLabel.text
    also = add_volume(slicer.mrmlScene, noise(), AFFINE, "also mine")
    ui.startReviewButton.click()
    assert also.GetScene() is slicer.mrmlScene, "of this one nobody was told"
    ui.startReviewButton.click()
    idle(desktop)
    assert image() == "anna"
    late = add_volume(slicer.mrmlScene, noise(), AFFINE, "loaded during the review")
    ui.nextCaseButton.click()
    assert late.GetScene() is slicer.mrmlScene
    ui.nextCaseButton.click()
    idle(desktop)
    assert image() == "bert"


def test_questions_of_ones_own_are_asked(desktop: Desktop, study: Path) -> None:
    form = {"questions": [{"name": "quality", "text": "<b>Quality</b>", "choices": ["good", "bad"]}]}
    (study / FORM).write_text(json.dumps(form), encoding="utf-8")
    start(desktop, study)
    ((_, combo),) = desktop.widget.panel.review._form._widgets
    choose(combo, "bad")
    desktop.widget.panel.review.ui.saveRatingButton.click()
    idle(desktop)
    assert answers(study)[0]["quality"] == "bad"


def test_a_scene_closed_in_between_leaves_nothing_to_save(desktop: Desktop, study: Path) -> None:
    ui = start(desktop, study)
    slicer.mrmlScene.Clear(0)
    idle(desktop)
    assert not ui.saveRatingButton.enabled
    assert not (study / "reviews").exists()


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("run.json", None, "holds no study"),
        ("run.json", "{", "cannot be read"),
        ("cases.csv", None, "cannot be read"),
        ("cases.csv", "case,status\nlost,failed\n", "No case"),
        (FORM, "[]", "cannot be used as a form"),
        (FORM, '{"questions": [{"name": "case", "text": "?"}]}', "a name of its own"),
        ("reviews/Reader-1-%s.csv", "other,columns\n", "answers to other questions"),
    ],
)
def test_what_cannot_be_reviewed_is_a_message(
    desktop: Desktop, study: Path, file: str, content: str | None, words: str
) -> None:
    path = answers_of(study, "Reader 1", DEFAULT).path if "%s" in file else study / file
    path.parent.mkdir(exist_ok=True)
    if content is None:
        path.unlink()
    else:
        path.write_text(content, encoding="utf-8")
    ui = start(desktop, study)
    assert words in ui.reviewStatusLabel.text
    assert str(study) in ui.reviewStatusLabel.text


def test_a_row_that_a_crash_has_torn_is_no_answer_and_the_next_one_is_whole(desktop: Desktop, study: Path) -> None:
    start(desktop, study)
    rate(desktop)
    (path,) = (study / "reviews").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[whole.index(b"\n") + 1 : -9].replace(b"anna", b"bert"))
    slicer.mrmlScene.Clear(0)
    start(desktop, study)
    assert image() == "bert"
    rate(desktop, "5")
    assert [(one["case"], one["agreement"]) for one in answers(study)] == [("anna", "4"), ("bert", "5 completely")]


def test_a_file_that_is_not_ours_is_left_as_it_is_even_without_a_whole_line(desktop: Desktop, study: Path) -> None:
    path = answers_of(study, "Reader 1", DEFAULT).path
    path.parent.mkdir()
    path.write_text("a secret without an end of line", encoding="utf-8")
    ui = start(desktop, study)
    assert "answers to other questions" in ui.reviewStatusLabel.text
    assert path.read_text(encoding="utf-8") == "a secret without an end of line"


def test_what_a_study_says_is_never_markup(desktop: Desktop, study: Path) -> None:
    """Qt takes a text with a tag for markup, and a tag may name an image on somebody's server."""
    table = study / "cases.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",A,", ",<img src='//server/x'>,"), encoding="utf-8")
    question = {"name": "q", "text": "<b>Right</b>?", "choices": ["yes"]}
    (study / FORM).write_text(json.dumps({"questions": [question]}), encoding="utf-8")
    ui = start(desktop, study)
    cells = [ui.reviewTable.item(row, column) for row in range(3) for column in range(ui.reviewTable.columnCount)]
    tips = [one.toolTip() for one in cells if one is not None]
    assert any("&lt;img src=" in tip for tip in tips)
    assert not any("<img" in tip for tip in tips)
    ((_, combo),) = desktop.widget.panel.review._form._widgets
    assert combo.toolTip == "<qt>&lt;b&gt;Right&lt;/b&gt;?</qt>"
    import qt  # of the harness

    assert ui.reviewStatusLabel.textFormat == qt.Qt.PlainText


def test_a_scene_that_refers_to_other_files_is_not_opened_and_the_scene_stays(
    desktop: Desktop, study: Path, computed: Path
) -> None:
    (study / "cases").unlink()
    shutil.copytree(computed / "cases", study / "cases")
    ui = start(desktop, study)
    assert image() == "anna"
    with zipfile.ZipFile(study / "cases/bert/scene.mrb", "w") as archive:
        archive.writestr("scene/scene.mrml", '<MRML><VolumeArchetypeStorage fileName="/etc/passwd"/></MRML>')
    ui.nextCaseButton.click()
    idle(desktop)
    assert "refers to '/etc/passwd', so it is not opened" in ui.reviewStatusLabel.text
    assert image() == "anna"
