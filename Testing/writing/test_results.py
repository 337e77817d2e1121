"""A result is old or new, whole, whatever happens to the process that writes it, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from SegHiResCAMLib.writing import commit
from SegHiResCAMLib.writing.errors import WritingError, check_name
from SegHiResCAMLib.writing.owners import NEW as NEW_FOLDER
from SegHiResCAMLib.writing.owners import is_left_behind, own_name, start_of, this_process
from SegHiResCAMLib.writing.result import ResultFolder
from SegHiResCAMLib.writing.sweeping import remove_all, sweep, sweep_folder
from SegHiResCAMLib.writing.temporary import make_folder_in, remove, temporary_folder
from SegHiResCAMLib.writing.whole_file import whole_file, write_text

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that ends halfway")

OLD = {"explanation.json": "", "heatmap.nrrd": "old", "comparison.png": "old", "dicom/heatmap.dcm": "old"}
NEW = {"explanation.json": "", "heatmap.nrrd": "new", "scene.mrb": "new", "dicom/picture-0001.dcm": "new"}
SEVERAL = {f"{part}/{name}": text for part in ("kidney", "tumour") for name, text in NEW.items()}
FACTS = json.dumps({"provenance": {}, "segment": "kidney"})


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of its own for each test, so that it can be seen that nothing is left in it."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(os, "fsync", lambda _number: None)  # processes end here, not computers, and disks are slow
    return folder


def write(folder: Path, files: dict[str, str], inputs: tuple[Path, ...] = ()) -> list[Path]:
    with closing(ResultFolder(folder, files, inputs)) as result:
        for name, text in files.items():
            path = result.beside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(FACTS if path.name == "explanation.json" else text)
        return result.put_in_place()


def content(folder: Path) -> dict[str, str]:
    """All files, hidden ones, too; of explanation.json nothing, since it lists the others."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): "" if path.name == "explanation.json" else path.read_text()
        for path in files
    }


def ends_at(step: int, work: Callable[[], object]) -> bool:
    """Do something in a child that ends, as if killed, before its nth change of a file; whether it came so far."""
    child = os.fork()
    if not child:
        left = step

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event.partition(".")[0] in ("os", "open", "shutil") and event != "os.listdir":
                left -= 1
                if left < 0:
                    os._exit(9)

        sys.addaudithook(hook)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@needs_fork
@pytest.mark.parametrize(("new", "stride"), [(NEW, 1), (SEVERAL, 7)])
def test_a_process_that_ends_at_any_step_leaves_the_old_result_or_the_new_one(
    tmp_path: Path, temporary: Path, new: dict[str, str], stride: int
) -> None:
    folder, notes, states = tmp_path / "why", {"notes.txt": "mine", "dicom/mine.txt": "mine"}, set()
    for step in range(0, 1000, stride):
        write(folder, OLD)
        for name, text in notes.items():
            (folder / name).write_text(text)
        came_so_far = ends_at(step, lambda: write(folder, new))
        sweep()
        found = content(folder)
        assert found in (OLD | notes, new | notes), step
        states.add(found == new | notes)
        assert list(temporary.iterdir()) == []
        assert list(tmp_path.iterdir()) == [folder]
        if not came_so_far:
            break
    assert step > 30
    assert states == {True, False}


@needs_fork
def test_a_process_that_ends_at_any_step_leaves_a_new_folder_whole_or_none(tmp_path: Path, temporary: Path) -> None:
    for step in range(1000):
        top = tmp_path / str(step)
        top.mkdir()
        came_so_far = ends_at(step, lambda top=top: write(top / "not" / "there", NEW))
        sweep()
        assert content(top) in ({}, {f"not/there/{name}": text for name, text in NEW.items()}), step
        assert content(top) or not list(top.iterdir()), step
        assert list(temporary.iterdir()) == []
        if not came_so_far:
            break
    assert content(top)


@needs_fork
def test_what_ended_in_the_middle_is_found_by_whoever_writes_there_next(tmp_path: Path, temporary: Path) -> None:
    """Also where the computer's temporary folder was emptied meanwhile, as a restart does."""
    folder = tmp_path / "why"
    write(folder, OLD)

    def ends_between() -> None:
        commit._move = lambda *_: os._exit(9)  # type: ignore[assignment]
        write(folder, NEW)

    assert ends_at(10**6, ends_between)
    for note in temporary.iterdir():
        note.unlink()
    assert content(folder).items() >= OLD.items()
    sweep_folder(folder)
    assert content(folder) == NEW


@needs_fork
def test_a_file_is_old_or_new_at_any_step(tmp_path: Path, temporary: Path) -> None:
    path, found = tmp_path / "model.json", set()
    for step in range(200):
        path.write_text("old")
        came_so_far = ends_at(step, lambda: write_text(path, "new"))
        sweep()
        found.add(path.read_text())
        assert [*tmp_path.iterdir(), *temporary.iterdir()] == [path]
        if not came_so_far:
            break
    assert found == {"old", "new"}


def test_what_an_interruption_meets_after_the_result_is_complete_is_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, move, interrupted = tmp_path / "why", commit._move, []
    write(folder, OLD)

    def interrupt(source: Path, target: Path) -> None:
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        move(source, target)

    monkeypatch.setattr(commit, "_move", interrupt)
    assert {path.name for path in write(folder, NEW)} == {Path(name).name for name in NEW}
    assert interrupted
    assert content(folder) == NEW


def test_a_result_that_fails_leaves_all_as_it_was(tmp_path: Path, temporary: Path) -> None:
    folder = tmp_path / "why"
    write(folder, OLD)
    with closing(ResultFolder(folder, NEW, ())) as result:
        (result.beside / "heatmap.nrrd").write_text("half")
    assert content(folder) == OLD
    with closing(ResultFolder(tmp_path / "not" / "there", NEW, ())):
        pass
    assert [*tmp_path.iterdir(), *temporary.iterdir()] == [folder]


def test_files_of_the_user_stay_whatever_a_list_of_an_old_result_says(tmp_path: Path) -> None:
    folder = tmp_path / "why"
    folder.mkdir()
    mine = {"thesis.docx": "mine", "overlay.png": "not listed", "deep/dicom/heatmap.dcm": "mine"}
    outside = tmp_path / "heatmap.nrrd"
    outside.write_text("mine")
    for name, text in mine.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    listed = ["thesis.docx", "../heatmap.nrrd", str(outside), "deep/dicom/heatmap.dcm", "notes/../overlay.png", 7, None]
    (folder / "explanation.json").write_text(json.dumps({"provenance": {}, "files": listed}))
    write(folder, {"explanation.json": "", "heatmap.nrrd": "new"})
    assert content(folder) == {**mine, "explanation.json": "", "heatmap.nrrd": "new"}
    assert outside.read_text() == "mine"


def test_only_one_run_writes_to_a_folder_at_a_time(tmp_path: Path) -> None:
    with closing(ResultFolder(tmp_path / "why", NEW, ())):
        with pytest.raises(WritingError, match="Another run is writing to") as caught:
            ResultFolder(tmp_path / "why", NEW, ())
        assert caught.value.code == "folder-busy"
        with closing(ResultFolder(tmp_path / "other", NEW, ())):
            pass
    write(tmp_path / "why", NEW)
    assert content(tmp_path / "why") == NEW


def test_a_folder_called_like_a_file_of_the_result_is_refused_and_the_old_result_stays(tmp_path: Path) -> None:
    folder = tmp_path / "why"
    write(folder, OLD)
    (folder / "scene.mrb").mkdir()
    with pytest.raises(WritingError, match="cannot be written"):
        write(folder, NEW)
    assert content(folder) == OLD


def test_a_link_called_like_a_folder_of_the_result_is_refused_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    folder, scan = tmp_path / "why", tmp_path / "scan"
    write(folder, {"explanation.json": ""})
    scan.mkdir()
    (scan / "heatmap.dcm").write_text("of another patient")
    (folder / "dicom").symlink_to(scan)
    with pytest.raises(WritingError, match="a link has the name of a folder"):
        write(folder, {"explanation.json": "", "dicom/heatmap.dcm": "new"})
    assert content(scan) == {"heatmap.dcm": "of another patient"}


def test_a_result_found_complete_does_not_follow_a_link_out_of_its_folder(tmp_path: Path) -> None:
    folder, scan, hidden = tmp_path / "why", tmp_path / "scan", tmp_path / "why" / "hidden"
    (hidden / NEW_FOLDER / "dicom").mkdir(parents=True)
    (hidden / NEW_FOLDER / "dicom" / "heatmap.dcm").write_text("new")
    (hidden / commit.PLAN).write_text(json.dumps({"remove": ["dicom/segmentation.dcm"]}))
    scan.mkdir()
    for name in ("heatmap.dcm", "segmentation.dcm"):
        (scan / name).write_text("of another patient")
    (folder / "dicom").symlink_to(scan)
    with pytest.raises(OSError, match="dicom"):
        commit.finish(hidden)
    (hidden / NEW_FOLDER / "dicom" / "heatmap.dcm").unlink()
    (hidden / NEW_FOLDER / "dicom").rmdir()
    commit.finish(hidden)
    assert content(scan) == dict.fromkeys(("heatmap.dcm", "segmentation.dcm"), "of another patient")


def test_only_what_ended_processes_left_is_swept(tmp_path: Path, temporary: Path) -> None:
    own = this_process()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = f"seghirescam-result-{own.host}-{ended.pid}-12345678-abc"
    reused = f"seghirescam-result-{own.host}-{own.pid}-{'0' * 8}-abc"
    elsewhere = f"seghirescam-result-{'f' * 8}-{ended.pid}-12345678-abc"
    long_ago = f"seghirescam-result-{'e' * 8}-{ended.pid}-12345678-abc"
    alive = own_name("result")
    strangers = ["seghirescam-notes", "seghirescam-result-of-mine", "seghirescam.txt"]
    for place, before in ((tmp_path, "."), (temporary, "")):
        for name in (dead, reused, elsewhere, long_ago, alive, *strangers):
            (place / f"{before}{name}").mkdir()
            (place / f"{before}{name}" / "voxels").touch()
        os.utime(place / f"{before}{long_ago}", (time.time() - 10 * 24 * 3600,) * 2)
    sweep()
    sweep_folder(tmp_path)
    for place, before in ((tmp_path, "."), (temporary, "")):
        assert sorted(path.name for path in place.iterdir()) == sorted(
            f"{before}{name}" for name in (elsewhere, alive, *strangers)
        )


def test_a_process_is_told_from_another_of_its_number() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        first, second = start_of(other.pid), start_of(other.pid)
        assert first == second != ""
        other.communicate(b"\n")
    assert start_of(other.pid) == ""
    assert start_of(os.getpid()) == this_process().start
    assert not is_left_behind(Path(own_name("result")))


def test_whoever_ends_at_once_takes_its_temporary_folders_along(tmp_path: Path, temporary: Path) -> None:
    with temporary_folder("scene") as folder:
        (folder / "voxels").touch()
        make_folder_in(tmp_path, "file")
        remove_all()
        assert [*tmp_path.iterdir(), *temporary.iterdir()] == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full")  # noqa: PTH110
def test_a_full_disk_is_told_with_the_path_and_the_free_bytes_and_the_old_file_stays(
    tmp_path: Path, temporary: Path
) -> None:
    path = tmp_path / "map.nrrd"
    path.write_text("old")

    def fill() -> None:
        with whole_file(path) as beside:
            beside.symlink_to("/dev/full")
            beside.write_text("new")

    with pytest.raises(WritingError, match="are free on its disk") as caught:
        fill()
    assert (caught.value.code, str(path) in caught.value.message) == ("disk-full", True)
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir(), *temporary.iterdir()] == [path]


def test_a_result_without_room_is_refused_before_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(WritingError, match=r"1125899\.9 GB are needed"):
        ResultFolder(tmp_path / "why", NEW, (), needed=2**50)
    assert list(tmp_path.iterdir()) == []


def test_the_private_folder_is_private(tmp_path: Path) -> None:
    folder = make_folder_in(tmp_path, "file")
    assert os.name == "nt" or folder.stat().st_mode & 0o777 == 0o700
    remove(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf_8_is_refused_before_a_writer_sees_it(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/no\xffsuch"))
    with pytest.raises(WritingError) as caught:
        ResultFolder(folder, ["heatmap.nrrd"], [])
    assert caught.value.code == "name-not-utf-8"
    check_name(tmp_path / "Niere 腎.nrrd")
