"""`--dicomweb` and `--store`: from a PACS and back into it, by the command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from engine.test_dicom import ct_slice
from orthanc import PASSWORD, USER, Orthanc
from pydicom.uid import generate_uid
from tiny_bundle import write_tiny_bundle
from typer.testing import CliRunner

from SegHiResCAMLib.child_process import LIBRARY
from SegHiResCAMLib.cli import app
from SegHiResCAMLib.dicomweb import pacs

pytestmark = pytest.mark.engine


@pytest.fixture
def archive(orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch) -> Orthanc:
    monkeypatch.setenv(pacs.AUTHORITY, str(orthanc.certificate))
    monkeypatch.setenv(pacs.USER, USER)
    monkeypatch.setenv(pacs.PASSWORD, PASSWORD)
    orthanc.clear()
    return orthanc


@pytest.fixture
def a_model(tmp_path: Path) -> str:
    return str(write_tiny_bundle(tmp_path / "tiny"))


@pytest.fixture
def a_series(archive: Orthanc, tmp_path: Path) -> tuple[str, str]:
    """UIDs of a study and its series in the archive."""
    study, series = generate_uid(), generate_uid()
    for k in range(6):
        file = tmp_path / f"slice-{k}.dcm"
        ct_slice(k, StudyInstanceUID=study, SeriesInstanceUID=series).save_as(file, enforce_file_format=True)
        archive.put(file)
    return study, series


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result.output


def test_a_series_is_explained_from_the_archive_and_the_result_is_stored_beside_it(
    archive: Orthanc, a_series: tuple[str, str], a_model: str, tmp_path: Path
) -> None:
    study, series = a_series
    asked = ["explain", study, "--dicomweb", archive.url, "-m", a_model, "-s", "tumour", "-o", tmp_path / "out"]
    run(*asked, "--store")
    written = {
        dataset.SOPInstanceUID: dataset
        for dataset in (pydicom.dcmread(file) for file in (tmp_path / "out").rglob("*.dcm"))
    }
    assert {"heatmap.dcm", "segmentation.dcm", "picture-0001.dcm"} <= {
        one.name for one in (tmp_path / "out").rglob("*")
    }
    datasets = [pydicom.dcmread(BytesIO(archive.file(one))) for one in archive.instances()]
    there = {one.SOPInstanceUID: one for one in datasets if one.SeriesInstanceUID != series}
    assert there == written
    assert {one.StudyInstanceUID for one in datasets} == {study}
    stored = json.loads(run("store", tmp_path / "out", "--dicomweb", archive.url, "--json"))
    assert stored["stored"] == len(written)
    assert len(archive.instances()) == 6 + len(written)
    assert "Geheim" not in (tmp_path / "out" / "explanation.json").read_text()


def test_a_series_is_segmented_from_the_archive(
    archive: Orthanc, a_series: tuple[str, str], a_model: str, tmp_path: Path
) -> None:
    run("segment", a_series[1], "--dicomweb", archive.url, "-m", a_model, "-o", tmp_path / "out.seg.nrrd")
    assert (tmp_path / "out.seg.nrrd").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--store"], "--store needs the address of a PACS"),
        (["--dicomweb", "https://localhost:1/x"], "nothing is fetched or stored"),
        (["--dicomweb", "https://a:b@localhost/x", "--store"], "has a user or a password in it"),
    ],
)
def test_options_that_do_not_fit_are_a_message(options: list[str], said: str, a_model: str, tmp_path: Path) -> None:
    output = run("explain", tmp_path, "-m", a_model, "-s", "tumour", "-o", tmp_path / "out", *options, code=1)
    assert said in " ".join(output.split())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_cancelled_upload_says_that_a_series_may_be_incomplete(archive: Orthanc, tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    for k in range(3):
        large = ct_slice(k, Rows=2000, Columns=2000, PixelData=bytes(2 * 2000 * 2000))
        large.save_as(tmp_path / "result" / f"{k}.dcm", enforce_file_format=True)
    archive.relay.bytes_per_second = 5e5
    command = [sys.executable, "-m", "SegHiResCAMLib", "store", str(tmp_path / "result"), "--dicomweb", archive.url]
    before = archive.relay.up
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=LIBRARY) as storing:
            while archive.relay.up < before + 100_000 and storing.poll() is None:
                time.sleep(0.05)
            asked = time.monotonic()
            storing.send_signal(signal.SIGINT)
            said = " ".join(storing.communicate()[1].split())
        assert time.monotonic() - asked < 3
    finally:
        archive.relay.bytes_per_second = None
    assert storing.returncode == 130
    assert "a series may be incomplete in the PACS. Complete it with: seghirescam store" in said
    assert "Nothing was written" not in said


def test_a_folder_without_dicom_is_not_stored(tmp_path: Path) -> None:
    assert "has no DICOM objects" in run("store", tmp_path, "--dicomweb", "https://localhost:1/x", code=1)
