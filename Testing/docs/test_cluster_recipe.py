"""The recipe of docs/cohort.md for a GPU server is followed line by line: certificates by openssl, a scheduler, a worker, and the command."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor
from sshd import server_program
from study.remote_cluster import ENVIRONMENT, wait_until
from tiny_bundle import noise, write_tiny_bundle
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.engine.images.volume import write_volume

PAGE = Path(__file__).parents[2] / "docs/cohort.md"
HEADING = "## A GPU server, or a cluster that runs already"


def blocks() -> list[str]:
    """Of the recipe, in their order: certificates, their list, what runs on the server, the command."""
    text = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    return re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With certificates as the page has them made."""
    server_program("openssl", "openssl")
    certificates, listed, *_ = blocks()
    subprocess.run(["bash", "-e", "-c", certificates], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "tls.yaml").write_text(listed, encoding="utf-8")
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[int, Path]]:
    """Scheduler and worker, and their log; only the name of the computer and the port are others."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    script = (
        blocks()[2]
        .replace("--port 8786", f"--host 127.0.0.1 --port {port}")
        .replace("gpu-server:8786", f"127.0.0.1:{port}")
    )
    assert str(port) in script.splitlines()[-1]
    log = folder / "server.log"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-c", f"{script}\nwait"],
            cwd=folder,
            env=ENVIRONMENT | {"PATH": path},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield port, log
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_recipe_computes_a_study_and_shows_nothing_to_whoever_has_no_certificate(
    server: tuple[int, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, log = server
    write_tiny_bundle(folder / "my-bundle")
    image = MetaTensor(torch.from_numpy(noise())[None], affine=torch.eye(4).double())
    for name in ("case_00000", "case_00001"):
        (folder / f"kits23/dataset/{name}").mkdir(parents=True)
        write_volume(image, folder / f"kits23/dataset/{name}/imaging.nii.gz")
    command = blocks()[3].replace("gpu-server:8786", f"127.0.0.1:{port}")
    arguments = [*shlex.split(command)[1:], "--no-scene", "--no-pages", "--json"]
    monkeypatch.chdir(folder)
    wait_until(lambda: "Registered to" in log.read_text(encoding="utf-8", errors="replace"), "the worker")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["done"] == ["case_00000", "case_00001"]
    web = [int(one) for one in re.findall(r"dashboard at:\D+[\d.]+:(\d+)", log.read_text(encoding="utf-8"))]
    assert web, log.read_text(encoding="utf-8")
    for page in ("info/main/workers.html", "health", "metrics", "json/counts.json"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{web[0]}/{page}", timeout=20)
    with urllib.request.urlopen(f"http://127.0.0.1:{web[0]}/sitemap.json", timeout=20) as answer:
        listed = json.loads(answer.read())
    assert listed == {"paths": ["/sitemap.json"]}, "the list of pages has others than itself"


def test_only_its_owner_can_read_the_keys_that_the_page_has_made(folder: Path) -> None:
    keys = sorted(folder.glob("*.key"))
    assert [one.name for one in keys] == ["ca.key", "me.key", "server.key"]
    assert all(one.stat().st_mode & 0o077 == 0 for one in keys)
    assert time.time() - keys[0].stat().st_mtime < 3600
