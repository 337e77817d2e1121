"""A PACS, which is a real Orthanc: what comes from it and goes into it is complete and unchanged, or there is a message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from engine.test_dicom import ct_slice, write_slices
from orthanc import PASSWORD, USER, Orthanc
from pydicom.uid import RLELossless, generate_uid

from SegHiResCAMLib.dicomweb import pacs
from SegHiResCAMLib.dicomweb.fetch import fetch_series, is_uid
from SegHiResCAMLib.dicomweb.pacs import ArchiveConnection, ArchiveError
from SegHiResCAMLib.dicomweb.store import store_files

pytestmark = pytest.mark.engine
AGAIN = "seghirescam store DIR --dicomweb URL"


def silent(_fraction: float, _text: str) -> None: ...


@pytest.fixture
def archive(orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orthanc]:
    """The archive, empty, and an environment that may use it."""
    monkeypatch.setenv(pacs.AUTHORITY, str(orthanc.certificate))
    monkeypatch.setenv(pacs.USER, USER)
    monkeypatch.setenv(pacs.PASSWORD, PASSWORD)
    monkeypatch.setenv("NETRC", "/nowhere")
    orthanc.clear()
    yield orthanc
    orthanc.relay.cut_up = orthanc.relay.cut_down = None


def a_series(folder: Path, count: int = 6, **attributes: Any) -> list[Path]:
    """A series of slices."""
    given = {
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "PatientName": "Müller^Ö",
        **attributes,
    }
    given["SpecificCharacterSet"] = "ISO_IR 192"
    write_slices(folder, [ct_slice(k, **given) for k in range(count)])
    return sorted(folder.iterdir())


def uids(files: list[Path]) -> tuple[str, str]:
    first = pydicom.dcmread(files[0])
    return first.StudyInstanceUID, first.SeriesInstanceUID


def by_uid(datasets: list[pydicom.Dataset]) -> dict[str, pydicom.Dataset]:
    return {one.SOPInstanceUID: one for one in datasets}


def test_a_round_trip_loses_nothing(archive: Orthanc, tmp_path: Path) -> None:
    files = a_series(tmp_path / "series")
    stored = store_files(ArchiveConnection(archive.url), files, AGAIN, silent)
    assert (stored.total, stored.count) == (6, 6)
    here = by_uid([pydicom.dcmread(file) for file in files])
    there = by_uid([pydicom.dcmread(BytesIO(archive.file(one))) for one in archive.instances()])
    study, series = uids(files)
    for uid, wanted in ((study, None), (series, None), (study, series)):
        folder = tmp_path / f"{uid}-{wanted}"
        folder.mkdir()
        fetch_series(ArchiveConnection(archive.url), uid, wanted, folder, silent)
        back = by_uid([pydicom.dcmread(file) for file in folder.iterdir()])
        assert here.keys() == there.keys() == back.keys()
        for name, one in here.items():
            assert one == there[name] == back[name]
            assert one.file_meta.TransferSyntaxUID == back[name].file_meta.TransferSyntaxUID


def test_a_compressed_series_comes_as_it_is(archive: Orthanc, tmp_path: Path) -> None:
    files = a_series(tmp_path / "series", count=3)
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.compress(RLELossless)
        dataset.save_as(file)
        archive.put(file)
    (tmp_path / "back").mkdir()
    fetch_series(ArchiveConnection(archive.url), uids(files)[1], None, tmp_path / "back", silent)
    back = by_uid([pydicom.dcmread(file) for file in (tmp_path / "back").iterdir()])
    for file in files:
        sent = pydicom.dcmread(file)
        assert back[sent.SOPInstanceUID].PixelData == sent.PixelData
        assert back[sent.SOPInstanceUID].file_meta.TransferSyntaxUID == RLELossless
        np.testing.assert_array_equal(back[sent.SOPInstanceUID].pixel_array, sent.pixel_array)


def test_a_study_of_several_series_is_listed_and_other_objects_are_passed_over(
    archive: Orthanc, tmp_path: Path
) -> None:
    study = generate_uid()
    first = a_series(tmp_path / "1", StudyInstanceUID=study)
    second = a_series(tmp_path / "2", StudyInstanceUID=study)
    other = a_series(tmp_path / "3", 1, StudyInstanceUID=study, Modality="SR")
    connection = ArchiveConnection(archive.url)
    store_files(connection, [*first, *second, *other], AGAIN, silent)
    (tmp_path / "back").mkdir()
    with pytest.raises(ArchiveError, match="has 2 series of images") as raised:
        fetch_series(connection, study, None, tmp_path / "back", silent)
    for files in (first, second):
        assert f"{uids(files)[1]} (CT, 6 images)" in raised.value.message
    fetch_series(connection, study, uids(second)[1], tmp_path / "back", silent)
    assert {pydicom.dcmread(file).SeriesInstanceUID for file in (tmp_path / "back").iterdir()} == {uids(second)[1]}


def test_what_is_not_there_is_a_message(archive: Orthanc, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="'localhost' has no study and no series of images"):
        fetch_series(ArchiveConnection(archive.url), "1.2.3.4", None, tmp_path, silent)


@pytest.mark.parametrize("user", ["", "somebody"])
def test_without_the_right_credentials_there_is_a_message(
    user: str, archive: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pacs.USER, user)
    with pytest.raises(ArchiveError, match=r"refused the access \(HTTP 401\). Set SEGHIRESCAM_DICOMWEB_USER"):
        fetch_series(ArchiveConnection(archive.url), "1.2.3.4", None, tmp_path, silent)


def test_credentials_may_be_in_a_file(archive: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(pacs.USER)
    netrc = tmp_path / "netrc"
    netrc.write_text(f'machine localhost login {USER} password "{PASSWORD}"\n')
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    store_files(ArchiveConnection(archive.url), a_series(tmp_path / "series", 1), AGAIN, silent)
    assert len(archive.instances()) == 1


def test_a_certificate_that_nobody_vouches_for_is_a_message_and_nothing_is_sent(
    archive: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(pacs.AUTHORITY)
    with pytest.raises(ArchiveError, match="certificate of 'localhost' is not trusted, so nothing was sent"):
        store_files(ArchiveConnection(archive.url), a_series(tmp_path / "series"), AGAIN, silent)
    assert archive.instances() == []


def test_a_file_of_authorities_that_is_not_there_is_a_message(
    archive: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pacs.AUTHORITY, "/nowhere.pem")
    with pytest.raises(ArchiveError, match=r"There is no file '/nowhere.pem', which SEGHIRESCAM_DICOMWEB_CA names"):
        ArchiveConnection(archive.url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("pacs.hospital.org", "is not the address of a DICOMweb service"),
        ("ftp://pacs.hospital.org", "is not the address of a DICOMweb service"),
        ("http://pacs.hospital.org/dicom-web", "without encryption"),
        ("https://me:secret@pacs.hospital.org/dicom-web", "has a user or a password in it"),
    ],
)
def test_an_address_that_would_tell_others_something_is_refused(url: str, said: str) -> None:
    with pytest.raises(ArchiveError, match=said) as raised:
        ArchiveConnection(url)
    assert "secret" not in raised.value.message


def test_a_server_that_is_not_there_or_is_something_else_is_a_message(archive: Orthanc, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"cannot be reached \(connection refused"):
        fetch_series(ArchiveConnection("https://localhost:1/dicom-web"), "1.2.3.4", None, tmp_path, silent)
    with pytest.raises(ArchiveError, match=r"HTTP 404|not DICOMweb"):
        fetch_series(ArchiveConnection(archive.url.replace("dicom-web", "app")), "1.2.3.4", None, tmp_path, silent)


def test_an_upload_that_is_cut_says_how_far_it_came_and_is_completed_by_the_same_command(
    archive: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = a_series(tmp_path / "series", 12)
    monkeypatch.setattr("SegHiResCAMLib.dicomweb.store.AT_ONCE", 4 * files[0].stat().st_size)
    archive.relay.cut_up = archive.relay.up + 6 * files[0].stat().st_size
    with pytest.raises(ArchiveError) as raised:
        store_files(ArchiveConnection(archive.url), files, AGAIN, silent)
    said = re.search(r"has confirmed (\d+) of 12 objects; a series may be incomplete there", raised.value.message)
    assert said is not None
    assert 0 < int(said[1]) <= len(archive.instances()) < 12
    assert raised.value.message.endswith(AGAIN)
    archive.relay.cut_up = None
    stored = store_files(ArchiveConnection(archive.url), files, AGAIN, silent)
    assert stored.count == 12
    there = by_uid([pydicom.dcmread(BytesIO(archive.file(one))) for one in archive.instances()])
    assert there == by_uid([pydicom.dcmread(file) for file in files])


def test_a_series_that_is_cut_on_its_way_here_is_a_message(archive: Orthanc, tmp_path: Path) -> None:
    files = a_series(tmp_path / "series", 12)
    store_files(ArchiveConnection(archive.url), files, AGAIN, silent)
    (tmp_path / "back").mkdir()
    size = files[0].stat().st_size
    archive.relay.cut_down = archive.relay.down + 8000 + 5 * size
    with pytest.raises(ArchiveError) as raised:
        fetch_series(ArchiveConnection(archive.url), uids(files)[1], None, tmp_path / "back", silent)
    assert raised.value.code in ("dicomweb-unreachable", "dicomweb-incomplete", "dicomweb-answer")


def test_what_is_no_dicom_is_a_message_and_what_is_refused_is_counted(archive: Orthanc, tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(b"nothing of the kind")
    with pytest.raises(ArchiveError, match=r"'.*x.dcm' is not a DICOM file that can be read"):
        store_files(ArchiveConnection(archive.url), [tmp_path / "x.dcm"], AGAIN, silent)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("1.2.840.113619.2", True),
        ("2.25.3", True),
        ("ct.nii.gz", False),
        ("1.2", False),
        ("12", False),
        ("1" * 80, False),
        ("1.2.3/../4", False),
    ],
)
def test_a_uid_is_told_from_a_file(text: str, is_one: bool) -> None:
    assert is_uid(text) == is_one
