"""Models of a catalogue that are not on this machine: what is told before, the question, and the download by the real worker."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import slicer
from harness.desktop import Desktop

from panel.steps import choose, idle, offered, segment
from SegHiResCAMLib.worker.client import Client


class Server:
    """A local server of one file.

    Attributes:
        content: The file.
        released: What it waits for after the first half.
        drips: Whether it sends a byte now and then while it waits.
    """

    def __init__(self) -> None:
        self.content = b""
        self.released = threading.Event()
        self.drips = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                sent = len(outer.content) // 2
                with suppress(ConnectionError):  # somebody has given up
                    self.wfile.write(outer.content[:sent])
                    while not outer.released.wait(0.02):
                        if outer.drips:
                            self.wfile.write(outer.content[sent : sent + 1])
                            sent += 1
                    self.wfile.write(outer.content[sent:])

            def log_message(self, *_: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.httpd.server_port}/tiny.zip"

    def close(self) -> None:
        self.released.set()
        self.httpd.shutdown()
        self.httpd.server_close()


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of the user's catalogue and cache, which the worker is told of when it starts."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGHIRESCAM_CATALOGUE", str(folder / "catalogue.json"))
        patch.setenv("SEGHIRESCAM_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def workers(folder: Path) -> Iterator[list[Client]]:
    """One that is told of the folder."""
    kept: list[Client] = []
    yield kept
    for one in kept:
        one.close()


@pytest.fixture
def server(a_model: Path, tmp_path: Path) -> Iterator[Server]:
    server = Server()
    server.content = Path(shutil.make_archive(str(tmp_path / "tiny"), "zip", a_model)).read_bytes()
    server.released.set()
    yield server
    server.close()


@pytest.fixture
def a_catalogue(desktop: Desktop, folder: Path, server: Server) -> Iterator[Callable[..., None]]:
    """Writes the user's catalogue of one model; the panel has seen it then, and nothing of it is on this machine."""

    def write(url: str = "", checksum: str = "", **more: Any) -> None:
        file = {"url": url or server.url, "sha256": checksum or hashlib.sha256(server.content).hexdigest()}
        model = {
            "name": "tiny",
            "title": "Tiny kidneys",
            "licence": "MIT",
            "source": "A colleague",
            "labels": [{"name": "kidney"}, {"name": "tumour"}],
            "files": [{**file, "size": len(server.content)}],
        }
        (folder / "catalogue.json").write_text(json.dumps({"models": [model | more]}))
        choose(desktop.ui.modelSelector, "Choose a model")
        desktop.widget.enter()

    yield write
    choose(desktop.ui.modelSelector, "Choose a model")
    (folder / "catalogue.json").unlink()
    shutil.rmtree(folder / "cache", ignore_errors=True)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What somebody answers to questions, and the questions."""
    answers: dict[str, Any] = {"yes": True, "asked": []}

    def ask(text: str, **_options: Any) -> bool:
        answers["asked"].append(text)
        return bool(answers["yes"])

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", ask)
    return answers


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file() and file.name != "catalogue.json")


def test_a_model_that_is_not_here_is_offered_last_with_its_size(
    desktop: Desktop, a_catalogue: Callable[..., None], server: Server
) -> None:
    a_catalogue()
    assert offered(desktop)[-1] == f"Tiny kidneys – download {round(len(server.content) / 1e3)} kB"


def test_it_is_described_and_asked_about_before_it_comes_and_then_it_opens(
    desktop: Desktop, a_volume: Any, a_catalogue: Callable[..., None], answers: dict[str, Any], folder: Path
) -> None:
    a_catalogue()
    ui = desktop.ui
    choose(ui.modelSelector, "Tiny kidneys")
    assert answers["asked"] == []
    answers["yes"] = False
    ui.downloadButton.click()
    (question,) = answers["asked"]
    for told in ("Tiny kidneys", "kidney, tumour", "MIT", " kB", "127.0.0.1", "A colleague", str(folder / "cache")):
        assert told in question
    assert ui.modelFacts.text.startswith("Tiny kidneys segments kidney, tumour. Licence: MIT. Not on this computer yet")
    assert ui.reasonLabel.text == "The model is not on this computer yet. Press Download."
    assert not ui.segmentButton.enabled
    assert files(folder) == []
    answers["yes"] = True
    ui.downloadButton.click()
    assert ui.downloadButton.text == "Cancel"
    idle(desktop)
    assert len(answers["asked"]) == 2
    assert ui.modelFacts.text == "Tiny network segments kidney, tumour. Licence: Apache-2.0."
    assert ui.downloadButton.isHidden()
    assert "Tiny kidneys" in offered(desktop)
    assert files(folder) == ["download.json", "tiny.zip"]
    assert segment(desktop).IsA("vtkMRMLSegmentationNode")


def test_nothing_is_asked_when_a_scene_with_such_a_model_is_opened(
    desktop: Desktop, a_catalogue: Callable[..., None], answers: dict[str, Any], folder: Path
) -> None:
    a_catalogue()
    desktop.widget.panel.state.parameters.modelPath = folder / "cache/tiny/tiny.zip"
    idle(desktop)
    assert answers["asked"] == []
    assert not desktop.ui.downloadButton.isHidden()


@pytest.mark.parametrize("drips", [True, False], ids=["slow", "stalled"])
def test_a_cancelled_download_leaves_nothing(
    desktop: Desktop,
    a_catalogue: Callable[..., None],
    answers: dict[str, Any],
    server: Server,
    folder: Path,
    drips: bool,
) -> None:
    a_catalogue()
    server.released.clear()
    server.drips = drips
    choose(desktop.ui.modelSelector, "Tiny kidneys")
    desktop.ui.downloadButton.click()
    desktop.wait(lambda: "Downloading" in desktop.ui.statusLabel.text)
    worker = desktop.widget.logic.explainer.client.worker_pid
    desktop.ui.downloadButton.click()
    assert (desktop.ui.downloadButton.text, desktop.ui.statusLabel.text) == ("Download…", "Cancelled.")
    desktop.wait(lambda: files(folder) == [])
    assert desktop.widget.logic.explainer.client.worker_pid == worker  # it listens while it waits for the network
    server.released.set()
    desktop.ui.downloadButton.click()
    idle(desktop)
    assert "Tiny network" in desktop.ui.modelFacts.text


def test_without_network_a_message_says_so(
    desktop: Desktop, a_catalogue: Callable[..., None], answers: dict[str, Any], server: Server, folder: Path
) -> None:
    a_catalogue()
    server.close()
    choose(desktop.ui.modelSelector, "Tiny kidneys")
    desktop.ui.downloadButton.click()
    idle(desktop)
    assert desktop.ui.statusLabel.text.startswith("127.0.0.1")
    assert "cannot be reached" in desktop.ui.statusLabel.text
    assert "Check the network" in desktop.ui.statusLabel.text
    assert "tiny.zip" not in files(folder)
    assert not desktop.ui.downloadButton.isHidden()


def test_another_file_than_the_catalogue_describes_is_thrown_away(
    desktop: Desktop, a_catalogue: Callable[..., None], answers: dict[str, Any], folder: Path
) -> None:
    a_catalogue(checksum="0" * 64)
    choose(desktop.ui.modelSelector, "Tiny kidneys")
    desktop.ui.downloadButton.click()
    idle(desktop)
    assert "is not the file that the catalogue describes" in desktop.ui.statusLabel.text
    assert files(folder) == ["download.json"]


def test_a_catalogue_that_is_wrong_offers_what_is_right_in_it(
    desktop: Desktop, a_catalogue: Callable[..., None]
) -> None:
    for wrong in ({"name": "../elsewhere"}, {"files": [{}]}, {"files": 3}, {"name": 7}, {"labels": [7]}):
        a_catalogue(**wrong)
        assert "Kidney phantom, 3D U-Net" in offered(desktop)
        assert not any("Tiny kidneys" in line for line in offered(desktop))


def test_catalogue_and_models_lie_where_the_platform_has_such_files(monkeypatch: pytest.MonkeyPatch) -> None:
    from SegHiResCAMLib.model_folders import cache_folder, user_catalogue

    monkeypatch.delenv("SEGHIRESCAM_CATALOGUE")
    monkeypatch.delenv("SEGHIRESCAM_CACHE")
    platform = {"appname": "SegHiResCAM", "appauthor": False}
    assert user_catalogue() == platformdirs.user_config_path(**platform) / "catalogue.json"
    assert cache_folder() == platformdirs.user_cache_path(**platform) / "models"
