"""The application never waits for the worker: cancelled and closed within two seconds, whatever hangs, and nothing is left behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from SegHiResCAMLib import child_process
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.regions import Points
from SegHiResCAMLib.worker.arrays import DiskFull, digest, load_array, save_array
from SegHiResCAMLib.worker.client import Client
from SegHiResCAMLib.worker.protocol import VERSION, Error, Explain, OpenModel, Progress, SegmentVolume, Voxels

MakeClient = Callable[..., Client]

AT_ONCE = 0.25
"""Seconds that a call from an application's thread may take here: it waits for nothing, but other programs may have the processor."""

READY = f'{{"id": 0, "kind": "ready", "body": {{"version": {VERSION}}}}}'

ENDLESS = Voxels.of(np.broadcast_to(np.float32(0), (8000, 8000, 8000)), np.eye(4))
"""Two terabytes of zeros that take no memory."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.perf_counter()
    yield
    assert time.perf_counter() - start < seconds


def heard(client: Client, until: Callable[[], bool], seconds: float = 20) -> list[tuple[int, object]]:
    """What a timer of the application would hear, every call of it short."""
    events: list[tuple[int, object]] = []
    give_up = time.monotonic() + seconds
    while not until() and time.monotonic() < give_up:
        with within(AT_ONCE):
            events += client.poll()
        time.sleep(0.01)
    assert until(), client.log_tail()
    return events


def ends(client: Client, identifier: int, seconds: float) -> Error:
    """The error that a request ends with in this time."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        with within(AT_ONCE):
            events = client.poll()
        for event_of, event in events:
            if event_of == identifier and not isinstance(event, Progress):
                assert isinstance(event, Error)
                return event
        time.sleep(0.01)
    raise AssertionError(f"request {identifier} goes on")


def a_long_question() -> Explain:
    """40,000 points: two megabytes of JSON, where a pipe holds 64 kilobytes."""
    points = tuple((float(number), 0.5, -0.25) for number in range(40_000))
    volume = Voxels.of(np.zeros((4, 4, 4), np.float32), np.eye(4))
    return Explain("any", volume, Question(segment="tumour", region=Points(points)))


def saying(said: str) -> list[str]:
    """A worker that says it is ready, then something else."""
    return [sys.executable, "-c", f"import os, sys, time; print({READY!r}, flush=True); {said}"]


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_a_worker_that_is_stopped_while_a_long_question_is_written_holds_nobody_up(
    end: str, a_client: MakeClient, temporary: Path
) -> None:
    client = a_client(saying("time.sleep(600)"), grace=0.5)
    first = client.submit(OpenModel("any"))
    heard(client, lambda: client.worker_pid is not None)
    time.sleep(0.5)  # it is ready
    os.kill(client.worker_pid, signal.SIGSTOP)
    client.cancel(first)
    assert ends(client, first, 2.0).code == "cancelled"
    request = client.submit(a_long_question())
    heard(client, lambda: client.worker_pid is not None)
    os.kill(client.worker_pid, signal.SIGSTOP)
    time.sleep(0.3)
    if end == "cancel":
        with within(AT_ONCE):
            client.cancel(request)
        assert ends(client, request, 2.0).code == "cancelled"
    with within(2.0):
        client.close()
    assert client.worker_pid is None
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "said",
    [
        "print(chr(123), end=str(), flush=True); time.sleep(600)",
        "[os.write(1, b'x' * 65536) for _ in iter(int, 1)]",
        "[os.write(2, b'x' * 65536) for _ in iter(int, 1)]",
        "[os.write(1, b'x\\n' * 32768) for _ in iter(int, 1)]",
    ],
    ids=["half a line", "a line without end", "a log without end", "lines without end"],
)
def test_a_worker_that_says_nothing_of_use_is_cancelled_in_time_and_takes_no_memory(
    said: str, a_client: MakeClient, temporary: Path
) -> None:
    client = a_client(saying(said), grace=0.5)
    request = client.submit(OpenModel("any"))
    heard(client, lambda: client.worker_pid is not None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    time.sleep(0.5)
    with within(AT_ONCE):
        client.cancel(request)
    assert ends(client, request, 2.0).code == "cancelled"
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 * 1024
    )  # kilobytes; one longest line, in text
    assert list(temporary.iterdir()) == []


def test_a_worker_that_never_gets_ready_is_cancelled_in_time(a_client: MakeClient, temporary: Path) -> None:
    client = a_client([sys.executable, "-c", "import time; time.sleep(600)"], grace=0.5)
    request = client.submit(OpenModel("any"))
    heard(client, lambda: client.worker_pid is not None)
    client.cancel(request)
    assert ends(client, request, 2.0).code == "cancelled"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_a_worker_that_takes_long_to_start_holds_nobody_up(
    end: str, a_client: MakeClient, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = child_process.start

    def slowly(*arguments: object, **options: object) -> object:
        time.sleep(1.0)  # as from a network drive
        return real(*arguments, **options)

    monkeypatch.setattr(child_process, "start", slowly)
    client = a_client(saying("time.sleep(600)"), grace=0.2)
    request = client.submit(OpenModel("any"))
    time.sleep(0.2)
    if end == "cancel":
        with within(AT_ONCE):
            client.cancel(request)
            client.submit(OpenModel("another"))
        assert ends(client, request, 2.0).code == "cancelled"
    with within(2.0):
        client.close()
    assert list(temporary.iterdir()) == []


def test_a_worker_that_dies_in_the_middle_of_a_line_has_died(a_client: MakeClient, temporary: Path) -> None:
    client = a_client(saying("print(chr(123), end=str(), flush=True); os._exit(3)"))
    error = ends(client, client.submit(OpenModel("any")), 10)
    assert error.code == "worker-died"
    assert "exit code 3" in error.message
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_storing_an_endless_volume_is_stopped_in_time(end: str, a_client: MakeClient, temporary: Path) -> None:
    client = a_client(saying("time.sleep(600)"))
    request = client.submit(SegmentVolume("any", ENDLESS))
    heard(client, lambda: client.worker_pid is not None)
    time.sleep(1.0)  # it is ready, and the volume is being read
    with within(AT_ONCE if end == "cancel" else 2.0):
        client.cancel(request) if end == "cancel" else client.close()
    error = ends(client, request, 2.0)
    assert error.code == ("cancelled" if end == "cancel" else "closed")
    assert [path for folder in temporary.iterdir() for path in folder.iterdir()] == []


def test_what_waits_in_line_is_cancelled_at_once(a_client: MakeClient) -> None:
    client = a_client(saying("time.sleep(600)"))
    client.submit(OpenModel("any"))
    waiting = client.submit(OpenModel("another"))
    client.cancel(waiting)
    assert ends(client, waiting, 0.5) == Error("cancelled", "Cancelled.")


class Stop(Exception):
    pass


@pytest.mark.parametrize("what", ["digest", "save", "load"])
def test_arrays_are_stopped_after_a_few_megabytes_and_no_part_is_left(what: str, tmp_path: Path) -> None:
    array = np.ones((64, 256, 256), np.float32)
    save_array(array, tmp_path / "whole.npy")
    called = []

    def check() -> None:
        called.append(1)
        if len(called) == 2:
            raise Stop

    work = {
        "digest": lambda: digest(array, check),
        "save": lambda: save_array(array, tmp_path / "part.npy", check),
        "load": lambda: load_array(tmp_path / "whole.npy", check),
    }
    with pytest.raises(Stop):
        work[what]()
    assert [file.name for file in tmp_path.iterdir()] == ["whole.npy"]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=">i2").reshape(2, 3, 4),
        np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
        np.random.default_rng(0).normal(size=(300, 200, 50))[::2, :, ::3],
        np.ones((2, 0, 3), bool),
        np.stack([np.asfortranarray(np.arange(60.0).reshape(3, 4, 5))] * 2),
    ],
    ids=["big endian", "Fortran order", "strided", "empty", "channels"],
)
def test_arrays_are_files_that_numpy_reads_and_come_back_the_same(array: np.ndarray, tmp_path: Path) -> None:
    save_array(array, tmp_path / "array.npy")
    for read in (np.load(tmp_path / "array.npy"), load_array(tmp_path / "array.npy")):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


def test_a_file_that_is_cut_off_is_not_read(tmp_path: Path) -> None:
    save_array(np.ones(1000), tmp_path / "array.npy")
    whole = (tmp_path / "array.npy").read_bytes()
    for length in (0, 3, 60, 500, len(whole) - 1):
        (tmp_path / "array.npy").write_bytes(whole[:length])
        with pytest.raises(EOFError):
            load_array(tmp_path / "array.npy")


def test_a_disk_without_room_is_a_message_with_what_is_needed_and_free(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match=r"2048\.0 GB are needed and [\d.]+ GB are free") as raised:
        save_array(ENDLESS.array, tmp_path / "array.npy")
    assert str(tmp_path.parent) in raised.value.strerror
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_is_the_same_message_and_no_part_is_left(tmp_path: Path) -> None:
    code = (
        "import resource, sys, numpy as np, pathlib\n"
        "from SegHiResCAMLib.worker.arrays import DiskFull, save_array\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
        "try: save_array(np.ones(2**18), pathlib.Path(sys.argv[1]) / 'array.npy')\n"
        "except DiskFull as full: print(full.strerror)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "0.0 GB are needed" in done.stdout
    assert list(tmp_path.iterdir()) == []
