"""Models are known by name, and what is downloaded is what the catalogue describes, or nothing."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks import nets
from refusals import refusal

from SegHiResCAMLib.engine.errors import Cancelled
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.models.catalogue import catalogue, download
from SegHiResCAMLib.engine.models.untrusted.checkpoint import sha256
from SegHiResCAMLib.writing.errors import readable

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
UNET: dict[str, Any] = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [2, 4], "strides": [2]}


class Server:
    """A local server whose manners a test chooses.

    Attributes:
        content: What every address has.
        ranges: Whether it understands requests for parts.
        breaks_off_after: Bytes of each answer after which it hangs up, one entry an answer; then it no longer does.
        redirects: Address -> where it sends on.
        requests: The Range header of each request, None where there was none.
    """

    def __init__(self) -> None:
        self.content = CONTENT
        self.ranges = True
        self.breaks_off_after: list[int] = []
        self.redirects: dict[str, str] = {}
        self.requests: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.requests.append(asked)
        if request.path in self.redirects:
            request.send_response(302)
            request.send_header("Location", self.redirects[request.path])
            request.end_headers()
            return
        if request.path == "/absent.pt":
            request.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if asked and self.ranges and start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.end_headers()
            return
        body = self.content[start:]
        request.send_response(206 if asked and self.ranges else 200)
        if asked and self.ranges:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.breaks_off_after.pop(0)] if self.breaks_off_after else body)


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.httpd.shutdown()
    started.httpd.server_close()


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's catalogue and cache, away from the real ones."""
    monkeypatch.setenv(catalogue.CATALOGUE, str(tmp_path / "settings" / "catalogue.json"))
    monkeypatch.setenv(catalogue.CACHE, str(tmp_path / "cache"))


def write_catalogue(*models: dict[str, Any]) -> Path:
    file = catalogue.user_catalogue()
    file.parent.mkdir(exist_ok=True)
    common = {"licence": "MIT", "source": "a colleague", "labels": [{"name": "kidney", "snomed": "64033007"}]}
    file.write_text(json.dumps({"models": [{**common, **model} for model in models]}))
    return file


# What is known


@pytest.mark.parametrize("name", ["kidney-phantom-2d", "kidney-phantom-3d"])
def test_the_models_that_come_with_the_program_are_as_the_catalogue_says(name: str) -> None:
    entry, model = catalogue.entries()[name], open_model(name)
    assert (entry.content["sha256"], entry.content["licence"]) == (model.sha256, model.licence)
    assert entry.content["title"] == model.name
    ours = [(label.name, label.terminology.type.value) for label in model.labels if label.terminology]
    assert [(label["name"], label["snomed"]) for label in entry.content["labels"]] == ours


def test_a_file_or_folder_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kidney-phantom-3d").mkdir()
    assert refusal(lambda: open_model("kidney-phantom-3d")).code == "model-unknown"


def test_a_name_that_nobody_knows_is_refused() -> None:
    assert "'seghirescam models' lists" in refusal(lambda: open_model("liver")).message
    assert "kidney-phantom-2d" in refusal(lambda: catalogue.get("liver")).message


def test_what_is_added_opens_by_its_name_until_it_is_removed(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    facts = {"licence": "MIT", "source": "", "labels": [{"name": "kidney"}], "sha256": sha256(folder / "model.pt")}
    catalogue.add(str(folder / "model.pt"), "mine", facts)
    assert open_model("mine").sha256 == facts["sha256"]
    assert refusal(lambda: catalogue.add(str(folder), "mine", facts)).code == "catalogue-wrong"
    assert refusal(lambda: catalogue.add(str(folder), "kidney-phantom-3d", facts)).code == "catalogue-wrong"
    assert "'models[1].name'" in refusal(lambda: catalogue.add(str(folder), "../x", facts)).message
    torch.save(nets.UNet(**UNET).state_dict(), folder / "model.pt")
    assert refusal(lambda: open_model("mine")).code == "catalogue-checksum"
    (folder / "model.pt").unlink()
    assert "models remove mine" in refusal(lambda: open_model("mine")).message
    catalogue.remove("mine")
    assert list(catalogue.entries()) == ["kidney-phantom-2d", "kidney-phantom-3d"]
    assert refusal(lambda: catalogue.remove("kidney-phantom-3d")).code == "catalogue-wrong"
    assert (folder / "model.json").exists()


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"name": "A B", "path": "x", "sha256": "0" * 64}, "'models[0].name'"),
        ({"name": "a", "path": "x"}, "models[0]"),
        ({"name": "a", "path": "x", "sha256": "0"}, "models[0]"),
        ({"name": "a", "files": [{"url": "ftp://x/y.pt", "sha256": "0" * 64}]}, "'models[0].files[0].url'"),
        ({"name": "a", "files": [{"url": "https://x/y.pt"}]}, "lacks 'sha256'"),
        ({"name": "a", "files": [{"url": "https://x/", "sha256": "0" * 64}]}, "does not end in a file name"),
        ({"name": "a", "files": [{"url": "https://x/%2e%2e", "sha256": "0" * 64}]}, "does not end in a file name"),
        ({"name": "a", "files": [{"url": "https://x/..%2f..%5cy", "sha256": "0" * 64}]}, "does not end in a file name"),
        (
            {"name": "a", "files": [{"url": "https://x/download.json", "sha256": "0" * 64}]},
            "does not end in a file name",
        ),
        ({"name": "a", "files": [{"url": "https://[::1/x.pt", "sha256": "0" * 64}]}, "does not end in a file name"),
        ({"name": "kidney-phantom-3d", "path": "x", "sha256": "0" * 64}, "comes with the program"),
        ({"name": "a", "path": "x", "sha256": "0" * 64, "license": "MIT"}, "did you mean 'licence'?"),
    ],
)
def test_a_catalogue_that_is_wrong_is_refused_with_the_field(model: dict[str, Any], says: str) -> None:
    file = write_catalogue(model)
    message = refusal(catalogue.entries).message
    assert says in message
    assert str(file) in message


# What is downloaded


def test_nothing_is_downloaded_unasked_and_what_is_asked_for_opens_by_name(server: Server, tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    weights, description = folder / "model.pt", folder / "model.json"
    write_catalogue({
        "name": "mine",
        "files": [
            {"url": weights.as_uri(), "sha256": sha256(weights), "size": weights.stat().st_size},
            {"url": description.as_uri(), "sha256": sha256(description)},
        ],
    })  # fmt: skip
    error = refusal(lambda: open_model("mine"))
    assert (error.code, "seghirescam models get mine" in error.message) == ("model-not-downloaded", True)
    assert not catalogue.cache_folder().exists()
    assert catalogue.get("mine") == tmp_path / "cache" / "mine" / "model.pt"
    assert open_model("mine").sha256 == sha256(weights)
    weights.unlink()
    assert catalogue.get("mine").is_file()  # what is there is not fetched again


def test_a_file_arrives_whole_and_progress_is_told(server: Server, tmp_path: Path) -> None:
    told: list[float] = []
    download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256, lambda share, _: told.append(share))
    assert (tmp_path / "model.pt").read_bytes() == CONTENT
    assert told == sorted(told)
    assert told[-1] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


def test_a_broken_connection_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.breaks_off_after = [300_000, 200_000]
    download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=500000-"]


def test_after_three_breaks_what_arrived_is_kept_for_the_next_time(server: Server, tmp_path: Path) -> None:
    server.breaks_off_after = [100_000] * 3
    error = refusal(lambda: download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256))
    assert (error.code, "300000 bytes" in error.message) == ("download-interrupted", True)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt.part"]
    download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=300000-"


def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.breaks_off_after = [300_000]
    download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT


def test_what_had_arrived_whole_is_only_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "model.pt.part").write_bytes(CONTENT)
    download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"another file's beginning", CONTENT + b"more than there is"])
def test_a_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "model.pt.part").write_bytes(left)
    download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT


def test_what_has_another_checksum_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    error = refusal(lambda: download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256))
    assert error.code == "download-checksum"
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_catalogue_allows_for_is_not_fetched(server: Server, tmp_path: Path) -> None:
    error = refusal(lambda: download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256, size=1000))
    assert error.code == "download-size"
    assert not (tmp_path / "model.pt").exists()


def test_a_redirection_to_another_address_is_followed(server: Server, tmp_path: Path) -> None:
    server.redirects = {"/a.pt": f"{server.url}/model.pt"}
    download.download(f"{server.url}/a.pt", tmp_path / "a.pt", SHA256)
    assert (tmp_path / "a.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("elsewhere", ["file:///etc/hostname", "ftp://127.0.0.1/x", "/a.pt"])
def test_no_redirection_leads_to_a_file_of_this_machine_or_round_in_circles(
    server: Server, tmp_path: Path, elsewhere: str
) -> None:
    server.redirects = {"/a.pt": elsewhere}
    error = refusal(lambda: download.download(f"{server.url}/a.pt", tmp_path / "a.pt", SHA256))
    assert error.code == "download-failed"
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_says_no_or_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    error = refusal(lambda: download.download(f"{server.url}/absent.pt", tmp_path / "model.pt", SHA256))
    assert "404" in error.message
    server.httpd.shutdown()
    server.httpd.server_close()
    error = refusal(lambda: download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256))
    assert (error.code, "127.0.0.1" in error.message) == ("download-failed", True)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:port/x.pt", "http://127.0.0.1:9/ü.pt", "http://127.0.0.1:9/a b\n.pt"]
)
def test_an_address_that_is_none_is_refused_with_a_message(tmp_path: Path, address: str) -> None:
    assert refusal(lambda: download.download(address, tmp_path / "model.pt", SHA256)).code == "download-failed"


def test_cancelling_keeps_what_has_arrived(server: Server, tmp_path: Path) -> None:
    def cancel(share: float, _: str) -> None:
        if share > 0.4:
            raise Cancelled

    with pytest.raises(Cancelled):
        download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256, cancel)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt.part"]
    download.download(f"{server.url}/model.pt", tmp_path / "model.pt", SHA256)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT


# The cache


@pytest.mark.parametrize("answers", [False, True], ids=["before it answers", "in the middle"])
def test_a_stalled_download_is_cancelled_within_two_seconds(answers: bool, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()[1]

        def stall() -> None:
            connection, _ = listening.accept()
            if answers:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
            stalled.append(connection)

        stalled: list[socket.socket] = []
        threading.Thread(target=stall, daemon=True).start()
        started = time.monotonic()

        def cancel(_share: float, _text: str) -> None:
            if time.monotonic() - started > 1:
                raise Cancelled

        with pytest.raises(Cancelled):
            download.download(f"http://127.0.0.1:{address}/a", tmp_path / "a", "0" * 64, cancel)
        assert time.monotonic() - started < 3
        assert not (tmp_path / "a").exists()
        for connection in stalled:
            connection.close()


def test_a_local_file_larger_than_the_catalogue_allows_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(1000))
    address = (tmp_path / "source").as_uri()
    assert refusal(lambda: download.download(address, tmp_path / "a", "0" * 64, size=999)).code == "download-size"
    assert not (tmp_path / "a").exists()


def test_the_cache_tells_its_size_and_is_emptied_of_its_own_alone(server: Server) -> None:
    write_catalogue({"name": "mine", "files": [{"url": f"{server.url}/model.zip", "sha256": SHA256}]})
    catalogue.get("mine")
    theirs = catalogue.cache_folder() / "holiday" / "picture.png"
    theirs.parent.mkdir()
    theirs.write_bytes(b"not ours")
    assert len(CONTENT) < catalogue.cache_size() < len(CONTENT) + 2000
    assert catalogue.empty_cache() > len(CONTENT)
    assert catalogue.cache_size() == 0
    assert theirs.read_bytes() == b"not ours"
    assert not catalogue.entries()["mine"].is_present


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (820_551, "820.6 kB"), (3_000_000_000, "3.0 GB")]
)
def test_sizes_are_told_in_the_units_of_disks(size: int, text: str) -> None:
    assert readable(size) == text


def write_model(folder: Path) -> Path:
    """A plain checkpoint in a folder of its own."""
    own = folder / "own"
    own.mkdir()
    torch.save(nets.UNet(**UNET).state_dict(), own / "model.pt")
    content = {"network": {"class": "UNet", "arguments": UNET}, "labels": [{"name": "kidney"}]}
    (own / "model.json").write_text(json.dumps(content))
    return own
