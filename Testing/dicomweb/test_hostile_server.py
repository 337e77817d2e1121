"""A server that sends without end, or something else than it says: a message, before memory is taken."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pydicom
import pytest
from engine.test_dicom import ct_slice
from pydicom.uid import generate_uid

from SegHiResCAMLib.dicomweb import session
from SegHiResCAMLib.dicomweb.fetch import fetch_series
from SegHiResCAMLib.dicomweb.pacs import ArchiveConnection, ArchiveError
from SegHiResCAMLib.dicomweb.store import store_files

pytestmark = pytest.mark.engine

STUDY, SERIES = generate_uid(), generate_uid()
LISTED = [
    {
        "0020000D": {"vr": "UI", "Value": [STUDY]},
        "0020000E": {"vr": "UI", "Value": [SERIES]},
        "00201209": {"vr": "IS", "Value": [2]},
    }
]

Body = Callable[[], Iterator[bytes]]


def endless(start: bytes = b"", piece: bytes = bytes(2**20)) -> Iterator[bytes]:
    yield start
    while True:
        yield piece


def zeros(start: bytes = b"") -> Body:
    return lambda: endless(start)


def an_object(size: int = 0) -> bytes:
    """With so many bytes more than a slice has."""
    file = BytesIO()
    slices = ct_slice(0, StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, SOPInstanceUID=generate_uid())
    slices.EncapsulatedDocument = bytes(size)
    pydicom.dcmwrite(file, slices, enforce_file_format=True)
    return file.getvalue()


def parts(*contents: bytes) -> bytes:
    return b"".join(b"\r\n--x\r\nContent-Type: application/dicom\r\n\r\n" + one for one in contents)


class Server(ThreadingHTTPServer):
    """Answers a search, a retrieval and a storage as a test has it, in pieces and without a length; `sent` counts bytes."""

    daemon_threads = True
    search: Body
    retrieved: Body
    stored: Body
    headers: dict[str, str]
    sent = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        is_search = "?" in self.path
        kind = "application/dicom+json" if is_search else 'multipart/related; type="application/dicom"; boundary=x'
        self._answer(kind, self.server.search if is_search else self.server.retrieved)

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers["Content-Length"]))
        self._answer("application/dicom+json", self.server.stored)

    def _answer(self, kind: str, body: Body) -> None:
        self.send_response(200)
        for name, value in ({"Content-Type": kind} | self.server.headers).items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for data in body():
                self.wfile.write(data)
                self.server.sent += len(data)
        except OSError:
            pass  # nobody listens any more, which is what is hoped for
        self.close_connection = True

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NETRC", "/nowhere")
    running = Server(("127.0.0.1", 0), Handler)
    running.search = lambda: iter([json.dumps(LISTED).encode()])
    running.retrieved = lambda: iter([parts(an_object(), an_object()), b"\r\n--x--\r\n"])
    running.stored = zeros()
    running.headers = {}
    threading.Thread(target=running.serve_forever, args=[0.02], daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def connection(server: Server) -> ArchiveConnection:
    return ArchiveConnection(f"http://127.0.0.1:{server.server_address[1]}/dicom-web")


def fetch(server: Server, folder: Path) -> list[Path]:
    fetch_series(connection(server), SERIES, None, folder, lambda _fraction, _text: None)
    return sorted(folder.iterdir())


def test_a_server_that_does_as_it_should_is_understood(server: Server, tmp_path: Path) -> None:
    assert len(fetch(server, tmp_path)) == 2


BUFFERED = 2**25
"""Bytes that may be in the buffers of both ends, beside a limit."""


@pytest.mark.parametrize("start", [b"", b'[{"0020000D": {"vr": "UI", "Value": ["'])
def test_an_endless_search_is_stopped_at_its_limit(server: Server, tmp_path: Path, start: bytes) -> None:
    server.search = zeros(start)
    before = psutil.Process().memory_info().rss
    with pytest.raises(ArchiveError, match=r"'127\.0\.0\.1' sends more than 16 MiB in one piece") as raised:
        fetch(server, tmp_path)
    assert raised.value.code == "dicomweb-too-large"
    assert server.sent < session.LARGEST_ANSWER + BUFFERED
    assert psutil.Process().memory_info().rss - before < 8 * session.LARGEST_ANSWER


def test_an_endless_object_is_stopped_and_nothing_of_it_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LARGEST_OBJECT", 2**25)
    server.retrieved = zeros(parts(an_object(), an_object()[:4000]))
    with pytest.raises(ArchiveError, match="sends more than 32 MiB in one piece"):
        fetch(server, tmp_path)
    assert len(list(tmp_path.iterdir())) <= 1
    assert server.sent < 2**25 + BUFFERED


def test_objects_that_are_each_small_enough_count_one_by_one_and_the_series_as_a_whole(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LARGEST_OBJECT", 4 * 2**20)
    server.retrieved = lambda: iter([*(parts(an_object(2**20)) for _ in range(9)), b"\r\n--x--\r\n"])
    (tmp_path / "all").mkdir()
    assert len(fetch(server, tmp_path / "all")) == 9
    monkeypatch.setattr(session, "LARGEST_SERIES", 6 * 2**20)
    (tmp_path / "part").mkdir()
    with pytest.raises(ArchiveError, match="sends more than 6 MiB"):
        fetch(server, tmp_path / "part")


def test_an_object_may_not_have_more_than_a_share_of_the_free_memory(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SHARE_OF_MEMORY", 2**24 / psutil.virtual_memory().available)
    server.retrieved = zeros(parts(an_object()[:4000]))
    with pytest.raises(ArchiveError, match=r"sends more than 1\d MiB|sends more than [89] MiB"):
        fetch(server, tmp_path)


def test_an_endless_answer_to_a_storage_is_stopped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(an_object())
    with pytest.raises(ArchiveError, match="sends more than 16 MiB"):
        store_files(connection(server), [tmp_path / "a.dcm"], "again", lambda _fraction, _text: None)


def test_an_answer_that_is_packed_is_refused_before_it_is_unpacked(server: Server, tmp_path: Path) -> None:
    server.headers = {"Content-Encoding": "gzip"}
    server.search = lambda: iter([gzip.compress(bytes(2**27))])
    with pytest.raises(ArchiveError, match="answered with something that is not DICOMweb"):
        fetch(server, tmp_path)


@pytest.mark.parametrize(
    "answer",
    [
        b"[" * 10**6,
        json.dumps([{**LISTED[0], "00201209": {"Value": [float("inf")]}}]).encode(),
        json.dumps([{**LISTED[0], "0020000E": {"Value": ["../../instances"]}}]).encode(),
        json.dumps([{"0020000E": {"Value": [[]]}}]).encode(),
        b"null",
        b"[1]",
        b"\xff\xfe",
    ],
)
def test_an_answer_of_another_form_is_a_message(server: Server, tmp_path: Path, answer: bytes) -> None:
    server.search = lambda: iter([answer])
    with pytest.raises(ArchiveError, match=r"is not DICOMweb|has no study and no series") as raised:
        fetch(server, tmp_path)
    assert len(raised.value.message) < 500


def test_a_list_of_series_is_cut_to_what_can_be_read(server: Server, tmp_path: Path) -> None:
    one = LISTED[0] | {"00080060": {"Value": ["CT" * 10**6]}}
    server.search = lambda: iter([json.dumps([one, one]).encode()])
    with pytest.raises(ArchiveError, match="has 2 series of images") as raised:
        fetch(server, tmp_path)
    assert len(raised.value.message) < 1000
