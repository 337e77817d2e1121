"""Whatever happens to the worker: a message, nothing left behind, and the next request works."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_bundle import noise

from SegHiResCAMLib.worker.client import Client
from SegHiResCAMLib.worker.folder import make_private_folder, remove_stale_folders
from SegHiResCAMLib.worker.process import WorkerProcess
from SegHiResCAMLib.worker.protocol import Error, OpenModel, Progress, Result, SegmentVolume, Voxels
from SegHiResCAMLib.worker.transports import Here

MakeClient = Callable[..., Client]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and /proc")


def segmenting(client: Client, model: str, volume: Voxels) -> int:
    """A request that has come so far that windows are being predicted."""
    request = client.submit(SegmentVolume(model, volume))
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        for _, event in client.poll():
            if isinstance(event, Progress) and event.fraction > 0:
                return request
            assert isinstance(event, Progress), event
        time.sleep(0.01)
    raise AssertionError(client.log_tail())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, seconds: float = 5) -> bool:
    give_up = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < give_up:
        time.sleep(0.02)
    return not is_running(pid)


def test_a_worker_is_cancelled_killed_asked_again_and_closed(
    a_client: MakeClient, a_model: str, a_slow_model: str, a_large_volume: Voxels, temporary: Path
) -> None:
    """One long story, since every start of a worker takes seconds."""
    client = a_client()
    assert client.worker_pid is None, "started before anybody asked"

    # Cancelled in the middle: it ends between two windows, within two seconds, and the worker lives on.
    request = segmenting(client, a_slow_model, a_large_volume)
    first_worker, start = client.worker_pid, time.monotonic()
    client.cancel(request)
    assert client.wait(request) == Error("cancelled", "Cancelled.")
    assert time.monotonic() - start < 2.0
    assert client.worker_pid == first_worker

    # Cancelled while waiting in line: the one before it goes on.
    running, waiting = (client.submit(OpenModel(model)) for model in (a_model, a_slow_model))
    client.cancel(waiting)
    assert isinstance(client.wait(running), Result)
    assert client.wait(waiting).code == "cancelled"

    # Killed in the middle: a message, and the next request starts another worker.
    request = segmenting(client, a_slow_model, a_large_volume)
    os.kill(first_worker, signal.SIGKILL)
    error = client.wait(request)
    assert error.code == "worker-died"
    assert "signal 9" in error.message
    assert "memory" in error.message
    assert list(temporary.iterdir()) == []
    assert client.wait(client.submit(OpenModel(a_model))).answer.model.name == "Tiny network"
    second_worker = client.worker_pid
    assert second_worker != first_worker

    # The private folder fails. As on a full disk nothing can be written there; permissions would not stop an administrator.
    shutil.rmtree(client.folder)
    error = client.wait(client.submit(SegmentVolume(a_model, a_large_volume)))
    assert error.code == "disk"
    assert "cannot be used (No such file or directory)" in error.message

    # Closed in the middle: no process, no folder, and whoever still waits is told.
    request = segmenting(client, a_slow_model, a_large_volume)
    last_worker, start = client.worker_pid, time.monotonic()
    client.close()
    assert time.monotonic() - start < 2.0
    assert gone(last_worker)
    assert list(temporary.iterdir()) == []
    assert client.wait(request).code == "closed"
    assert client.wait(client.submit(OpenModel(a_model))).code == "closed"


def test_a_worker_that_does_not_listen_is_killed_with_its_children(a_client: MakeClient, temporary: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "from SegHiResCAMLib.worker.channel import Channel\n"
        "from SegHiResCAMLib.worker.protocol import *\n"
        "channel = Channel(__import__('pathlib').Path(sys.argv[1])); channel.send(0, Ready(VERSION))\n"
        "identifier, _ = next(channel.requests())\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "channel.send(identifier, Progress(0.5, str(child.pid)))\n"
        "time.sleep(600)"
    )
    client = a_client([sys.executable, "-c", code], grace=0.5)
    request = client.submit(OpenModel("any"))
    told: list[str] = []
    while not any(text.isdigit() for text in told):
        told += [event.text for _, event in client.poll()]
    worker, child = client.worker_pid, int(told[-1])
    start = time.monotonic()
    client.cancel(request)
    assert client.wait(request) == Error("cancelled", "Cancelled.")
    assert 0.4 < time.monotonic() - start < 1.5
    assert gone(worker)
    assert gone(child)
    assert list(temporary.iterdir()) == []


def test_a_worker_that_was_killed_is_not_asked_again_while_it_is_going(temporary: Path) -> None:
    worker = WorkerProcess(Here([sys.executable, "-c", "import time; time.sleep(600)"]), deque())
    assert worker.is_alive()
    worker.kill()
    assert not worker.is_alive()
    worker.dispose()


def test_what_libraries_print_never_gets_between_the_messages(a_client: MakeClient, a_model: str) -> None:
    code = (
        "import os, sys\n"
        'os.write(1, b\'before: {"id": 1}\\n\\xff\\xfe\\n{"id": 1, "kind": "no such kind", "body": {}}\\n[]\\n\')\n'
        "from SegHiResCAMLib.worker import jobs, server\n"
        "real = jobs.Reporter\n"
        "def noisy(channel, identifier):\n"
        "    report = real(channel, identifier)\n"
        "    def printing(fraction, text):\n"
        "        print('printed'); os.write(1, b'from C'); os.system('echo from a child')\n"
        "        report(fraction, text)\n"
        "    return printing\n"
        "jobs.Reporter = noisy\n"
        "server.main()"
    )
    client = a_client([sys.executable, "-c", code])
    answer = client.wait(client.submit(SegmentVolume(a_model, Voxels.of(noise(), __import__("numpy").eye(4)))))
    assert isinstance(answer, Result)
    for line in ("before:", "printed", "from C", "from a child"):
        assert line in client.log_tail()


def test_a_worker_of_another_version_is_refused(a_client: MakeClient, temporary: Path) -> None:
    ready = '{"id": 0, "kind": "ready", "body": {"version": 999}}'
    client = a_client([sys.executable, "-c", f"import time; print('{ready}', flush=True); time.sleep(600)"])
    error = client.wait(client.submit(OpenModel("any")))
    assert error.code == "worker-version"
    assert "999" in error.message
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/nowhere/python"], "'/nowhere/python' cannot be started"),
        ([sys.executable, "-c", "raise SystemExit('No module named anything')"], "exit code 1"),
    ],
)
def test_a_worker_that_cannot_start_is_told_in_a_message(
    command: list[str], said: str, a_client: MakeClient, temporary: Path
) -> None:
    client = a_client(command)
    error = client.wait(client.submit(OpenModel("any")))
    assert error.code == "worker-missing"
    assert said in error.message
    assert list(temporary.iterdir()) == []


@pytest.mark.engine
def test_a_python_without_torch_is_told_what_to_install(a_client: MakeClient) -> None:
    code = "import sys; sys.modules['torch'] = None; from SegHiResCAMLib.worker.server import main; main()"
    error = (client := a_client([sys.executable, "-c", code])).wait(client.submit(OpenModel("any")))
    assert error.code == "engine-missing"
    assert "'torch' cannot be imported" in error.message
    assert "Install PyTorch and MONAI" in error.message


def test_the_worker_and_its_folder_go_with_a_program_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from SegHiResCAMLib.worker.client import Client\n"
        "from SegHiResCAMLib.worker.protocol import OpenModel\n"
        "client = Client(); client.submit(OpenModel('any'))\n"
        "while not client.worker_pid: time.sleep(0.01)\n"
        "print(client.worker_pid, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as program:
        worker = int(program.stdout.readline())
        assert len(list(tmp_path.glob("seghirescam-worker-*"))) == 1
        program.kill()
    assert gone(worker, seconds=20)
    assert list(tmp_path.iterdir()) == []


def test_a_forgotten_client_takes_its_worker_along(temporary: Path) -> None:
    client = Client()
    client.submit(OpenModel("any"))
    while not (worker := client.worker_pid):
        time.sleep(0.01)
    del client
    gc.collect()
    assert gone(worker)
    assert list(temporary.iterdir()) == []


def test_folders_of_programs_that_are_gone_are_removed_and_others_stay(temporary: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = temporary / f"seghirescam-worker-{ended.pid}-abc"
    stale.mkdir()
    (stale / "volume-1.npy").touch()
    foreign = temporary / "seghirescam-worker-notes"
    foreign.mkdir()
    own = make_private_folder()
    remove_stale_folders()
    assert sorted(temporary.iterdir()) == sorted([foreign, own])


def test_only_this_user_can_read_the_private_folder(temporary: Path) -> None:
    assert make_private_folder().stat().st_mode & 0o777 == 0o700
