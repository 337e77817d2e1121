"""The worker on another computer, over a real sshd: the same answers, nothing sent twice, and a message for whatever happens on the way."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sshd import NAME, Server, command_there, know_host
from tiny_bundle import noise, write_tiny_bundle

from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.regions import Sphere
from SegHiResCAMLib.worker.client import Client
from SegHiResCAMLib.worker.protocol import (
    VERSION,
    CompareSegmentation,
    Error,
    Explain,
    GetModel,
    Layers,
    MeasureOwnRegions,
    MeasureRegions,
    OpenModel,
    Progress,
    RemoveRegion,
    Result,
    SegmentVolume,
    Voxels,
)
from SegHiResCAMLib.worker.supervisor import MOST_EVENTS

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="sshd is started as on Linux and macOS"),
]

ON = f"{NAME}:{command_there()}"
TUMOUR = Question(segment="tumour")
SHEARED = np.array([[-1.4, 0.3, 0, 30], [0.2, 1.5, 0.4, -20], [0, 0.1, 3.0, 500], [0, 0, 0, 1]])

Make = Callable[..., Client]


@pytest.fixture
def elsewhere(server: Server) -> Iterator[Make]:
    """Clients of the worker there; closed afterwards, which takes their folders there along."""
    clients: list[Client] = []
    before = len(list(server.temporary.glob("seghirescam-*")))

    def make(on: str = ON, **options: float) -> Client:
        clients.append(Client(on=on, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    give_up = time.monotonic() + 10
    while len(list(server.temporary.glob("seghirescam-*"))) > before and time.monotonic() < give_up:
        time.sleep(0.05)
    assert len(list(server.temporary.glob("seghirescam-*"))) <= before


@pytest.fixture(scope="module")
def one_client(sshd: Server) -> Iterator[Client]:
    """One client for all tests that leave its worker as it was: starting one takes seconds."""
    client = Client(on=ON)
    yield client
    client.close()


@pytest.fixture
def there(server: Server, one_client: Client) -> Client:
    """A client of a worker there, with an `ssh` that knows the server."""
    return one_client


def a_script(server: Server, name: str, code: str) -> str:
    """The address of a command there that is not ours."""
    script = server.folder / name
    script.write_text(f"#!{sys.executable}\n{code}")
    script.chmod(0o755)
    return f"{NAME}:{script}"


def ask(client: Client, request: object) -> Result:
    answer = client.wait(client.submit(request))
    assert isinstance(answer, Result), f"{answer}\n{client.log_tail()}"
    return answer


def refused(client: Client, request: object) -> Error:
    answer = client.wait(client.submit(request))
    assert isinstance(answer, Error), answer
    return answer


def a_volume(shape: tuple[int, ...] = (24, 20, 18)) -> Voxels:
    return Voxels.of(noise(shape), SHEARED)


def same(here: Result, there: Result) -> None:
    assert here.arrays.keys() == there.arrays.keys()
    for name, array in here.arrays.items():
        assert array.dtype == there.arrays[name].dtype
        assert array.tobytes() == there.arrays[name].tobytes()
    assert replace(here.answer.record, timings_s={}) == replace(there.answer.record, timings_s={})


def test_an_explanation_is_the_same_byte_for_byte_and_nothing_is_sent_twice(
    server: Server, there: Client, client: Client, a_model: str
) -> None:
    volume = a_volume((40, 40, 30))
    request = Explain(a_model, volume, TUMOUR, whole=True)
    before = server.relay.up
    first = ask(there, request)
    sent = server.relay.up - before
    same(ask(client, request), first)
    assert sent > volume.array.nbytes / 2, "a noise volume cannot be compressed to less"

    before = server.relay.up
    second = ask(there, Explain(a_model, volume, Question(segment="kidney", method="seg-grad-cam")))
    assert server.relay.up - before < 1000
    assert second.reused == ("model", "volume", "segmentation")
    same(ask(client, Explain(a_model, volume, Question(segment="kidney", method="seg-grad-cam"))), second)


def test_masks_layers_segmentations_and_several_segments_are_the_same(
    there: Client, client: Client, a_model: str
) -> None:
    volume = a_volume()
    marked = np.zeros(volume.array.shape, np.uint8)
    marked[3:9, 4:8, 2:9] = 1
    place = Question(segment="tumour", region=Sphere((20.0, -5.0, 520.0), 9.0))
    for request in (
        Explain(a_model, volume, TUMOUR, mask=Voxels(volume.affine, marked), whole=True),
        Explain(a_model, volume, place, whole=True),
        Explain(a_model, volume, TUMOUR, further=("kidney",), whole=True),
    ):
        here = ask(client, request)
        same(here, ask(there, request))
        assert [replace(one, timings_s={}) for one in here.answer.further] == [
            replace(one, timings_s={}) for one in ask(there, request).answer.further
        ]
    labels = [ask(one, SegmentVolume(a_model, volume)).arrays["labels"] for one in (client, there)]
    assert labels[0].tobytes() == labels[1].tobytes()
    layers = [ask(one, Layers(a_model, volume, extent_mm=9.0)).answer for one in (client, there)]
    assert layers[0] == layers[1]


def test_what_is_asked_about_a_map_is_the_same_and_the_volume_is_not_sent_again(
    server: Server, there: Client, client: Client, a_model: str
) -> None:
    volume = a_volume((40, 40, 30))
    signed = ask(client, Explain(a_model, volume, TUMOUR)).arrays["signed_map"]
    ask(there, Explain(a_model, volume, TUMOUR))
    drawn = np.zeros(volume.array.shape, np.int16)
    drawn[:20], drawn[20:30] = 1, 2
    regions = Voxels(volume.affine, drawn)
    for request in (
        MeasureRegions(Voxels(volume.affine, signed), regions, ("left", "right", "nowhere")),
        MeasureOwnRegions(a_model, volume, Voxels(volume.affine, signed)),
        CompareSegmentation(a_model, volume, regions, ("kidney", "tumour")),
        RemoveRegion(a_model, volume, replace(TUMOUR, region=Sphere((20.0, -5.0, 520.0), 9.0))),
    ):
        before = server.relay.up
        far = ask(there, request)
        assert server.relay.up - before < volume.array.nbytes / 2 or isinstance(request, MeasureRegions)
        here = ask(client, request)
        pair = [getattr(one.answer, "record", one.answer) for one in (here, far)]  # the model lies elsewhere there
        assert pair[0] == pair[1]
        assert {name: array.tobytes() for name, array in here.arrays.items()} == {
            name: array.tobytes() for name, array in far.arrays.items()
        }


def test_a_model_is_sent_once_with_nothing_that_lies_beside_it(server: Server, elsewhere: Make, tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "a model of ours")
    (bundle / "eval").mkdir()
    (bundle / "eval" / "patient.nii.gz").write_bytes(b"somebody")
    opened = ask(elsewhere(), OpenModel(str(bundle))).answer.model
    assert opened.name == "Tiny network"
    copy = Path(opened.source)
    assert copy.name == bundle.name
    assert copy.is_relative_to(server.cache)
    there = {file.relative_to(copy).as_posix() for file in copy.rglob("*") if file.is_file()}
    assert there == {"configs/inference.json", "configs/metadata.json", "models/model.pt"}

    before = server.relay.up
    assert ask(elsewhere(), OpenModel(str(bundle))).answer.model == opened
    weights = (bundle / "models/model.pt").stat().st_size
    assert server.relay.up - before < weights / 2, "sent again"
    assert ask(elsewhere(), OpenModel(opened.source)).answer.model == opened, "by its path there"
    shutil.rmtree(copy.parent)


def test_a_model_that_changes_is_another_one(there: Client, tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "changing")
    first = ask(there, OpenModel(str(bundle))).answer.model
    metadata = bundle / "configs" / "metadata.json"
    metadata.write_text(metadata.read_text().replace("Tiny network", "Tiny network, changed"))
    assert (first.name, ask(there, OpenModel(str(bundle))).answer.model.name) == (
        "Tiny network",
        "Tiny network, changed",
    )


def test_a_model_that_is_nowhere_is_a_message(there: Client) -> None:
    assert "/nowhere/at/all" in refused(there, OpenModel("/nowhere/at/all")).message


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_connection_that_is_cut_in_the_middle_of_a_frame_is_a_message_and_the_next_request_works(
    way: str, server: Server, there: Client, a_model: str
) -> None:
    volume = a_volume((160, 160, 120))
    ask(there, OpenModel(a_model))
    relay = server.relay
    if way == "up":
        relay.cut_up = relay.up + 300_000
    else:
        ask(there, SegmentVolume(a_model, volume))
        relay.cut_down = relay.down + 30_000
    started = time.monotonic()
    error = refused(there, SegmentVolume(a_model, volume))
    assert time.monotonic() - started < 60
    assert error.code == "worker-died"
    assert f"The connection to '{NAME}' was lost" in error.message
    relay.cut_up = relay.cut_down = None
    small = a_volume()
    assert ask(there, SegmentVolume(a_model, small)).arrays["labels"].shape == small.array.shape


def test_an_sshd_that_is_killed_is_a_message_and_the_next_request_works(
    server: Server, there: Client, a_slow_model: str, a_large_volume: Voxels, a_model: str
) -> None:
    request = there.submit(SegmentVolume(a_slow_model, a_large_volume))
    reached(there, request)
    server.kill_sessions()
    error = there.wait(request)
    assert isinstance(error, Error)
    assert error.code == "worker-died"
    assert f"'{NAME}'" in error.message
    assert ask(there, OpenModel(a_model)).answer.model.name == "Tiny network"


def test_a_request_is_cancelled_there_and_the_worker_lives_on(
    there: Client, a_slow_model: str, a_large_volume: Voxels, a_model: str
) -> None:
    request = there.submit(SegmentVolume(a_slow_model, a_large_volume))
    reached(there, request)
    started, connection = time.monotonic(), there.worker_pid
    there.cancel(request)
    assert there.wait(request) == Error("cancelled", "Cancelled.")
    assert time.monotonic() - started < 2.0
    ask(there, OpenModel(a_model))
    assert there.worker_pid == connection


def test_sending_a_volume_is_cancelled_and_it_is_sent_whole_the_next_time(
    server: Server, there: Client, a_model: str
) -> None:
    volume = a_volume((200, 200, 150))
    ask(there, OpenModel(a_model))
    server.relay.bytes_per_second = 4e6
    request = there.submit(SegmentVolume(a_model, volume))
    told = reached(there, request, lambda event: event.text.startswith(f"Sending to {NAME}"))
    assert told.fraction == 0.0
    there.cancel(request)
    assert there.wait(request) == Error("cancelled", "Cancelled.")
    server.relay.bytes_per_second = None
    cropped = a_volume((64, 64, 64))
    assert ask(there, SegmentVolume(a_model, cropped)).arrays["labels"].shape == (64, 64, 64)


def test_a_full_disk_there_is_a_message_that_says_where(server: Server, elsewhere: Make, a_model: str) -> None:
    code = (
        "import resource, os\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))\n"
        f"os.execv({command_there()!r}, ['seghirescam', 'worker'])"
    )
    there = elsewhere(a_script(server, "small-disk", code))
    error = refused(there, SegmentVolume(a_model, a_volume((160, 160, 120))))
    assert error.code == "disk"
    assert error.message.startswith(f"On {NAME}: The disk of the temporary folder '{server.temporary}'")
    small = a_volume()
    assert ask(there, SegmentVolume(a_model, small)).arrays["labels"].shape == small.array.shape


def test_another_version_there_is_a_message(server: Server, elsewhere: Make) -> None:
    ready = '{"id": 0, "kind": "ready", "body": {"version": 999}}'
    there = elsewhere(a_script(server, "other-version", f"import time; print('{ready}', flush=True); time.sleep(600)"))
    error = refused(there, OpenModel("any"))
    assert error.code == "worker-version"
    assert f"SegHiResCAM on '{NAME}' speaks version 999" in error.message


@pytest.mark.parametrize(
    ("key", "said"),
    [(None, f"'{NAME}' is not known to this computer. Connect once"), ("other_host", f"'{NAME}' has another host key")],
)
def test_a_host_key_that_is_unknown_or_has_changed_is_a_message(
    key: str | None, said: str, server: Server, elsewhere: Make, a_model: str
) -> None:
    if key:
        know_host(server.folder, key)
    else:
        (server.folder / "known_hosts").unlink()
    there = elsewhere()
    error = refused(there, OpenModel("any"))
    assert error.code == "worker-missing"
    assert said in error.message
    know_host(server.folder)
    ask(there, OpenModel(a_model))


def test_a_login_that_is_refused_is_a_message(server: Server, elsewhere: Make) -> None:
    authorized = server.folder / "authorized_keys"
    right = authorized.read_bytes()
    authorized.write_bytes((server.folder / "stranger.pub").read_bytes())
    error = refused(elsewhere(), OpenModel("any"))
    authorized.write_bytes(right)
    assert error.code == "worker-missing"
    assert "refused the login" in error.message
    assert f"ssh-copy-id {NAME}" in error.message


@pytest.mark.parametrize(
    ("on", "said"),
    [
        (f"{NAME}:/nowhere/seghirescam", "does not find the command '/nowhere/seghirescam'"),
        (f"{NAME}:/bin/false", "'/bin/false worker' ended on 'gpu' before it was ready (exit code 1)"),
        ("nowhere.invalid", "'nowhere.invalid' was not found"),
        ("closed", "'closed' refused the connection"),
    ],
)
def test_a_computer_that_cannot_be_used_is_a_message(on: str, said: str, server: Server, elsewhere: Make) -> None:
    config = server.folder / "ssh_config"
    before = config.read_text()
    config.write_text(f"Host closed\nHostName 127.0.0.1\nPort 1\n{before}")
    error = refused(elsewhere(on), OpenModel("any"))
    config.write_text(before)
    assert error.code == "worker-missing"
    assert said in error.message


def test_without_an_ssh_there_is_a_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    client = Client(on="user@host")
    error = refused(client, OpenModel("any"))
    client.close()
    assert error.code == "worker-missing"
    assert "Install the OpenSSH client" in error.message


LYING = (
    f"VERSION = {VERSION}\n"
    + """
import json, os, sys, zlib
from pathlib import Path

def say(identifier, kind, **body):
    os.write(1, (json.dumps({"id": identifier, "kind": kind, "body": body}) + "\\n").encode())

def send(identifier, name, data, size=None, start=0):
    packed = zlib.compress(data)
    say(identifier, "chunk", file=name, size=len(data) if size is None else size, start=start, length=len(packed))
    os.write(1, packed)

say(0, "ready", version=VERSION)
request = json.loads(sys.stdin.readline())
identifier = request["id"]
"""
)


@pytest.mark.parametrize(
    "lie",
    [
        "say(identifier, 'wanted', files=['/etc/passwd'])",
        "[say(identifier, 'wanted', files=[request['body']['volume']['file']]) for _ in range(9)]",
        "send(identifier, '../../../escaped', b'x')",
        "send(identifier, 'result-1-labels.npy', b'x', size=2**40)",
        "send(identifier, 'result-1-labels.npy', b'x', size=100, start=50)",
        "send(identifier, 'result-1-labels.npy', bytes(5 * 2**20))",
        "say(identifier, 'chunk', file='result-1-labels.npy', size=9, start=0, length=2**40)",
        "say(identifier, 'chunk', file='result-1-labels.npy', size=9, start=0, length=4); os.write(1, b'junk')",
        "say(identifier, 'result', answer={'kind': 'path', 'path': '/etc'}, files={}, reused=[])",
    ],
)
def test_what_a_server_sends_unasked_is_refused_and_nothing_of_it_is_written(
    lie: str, server: Server, elsewhere: Make, temporary: Path
) -> None:
    there = elsewhere(a_script(server, "lying", f"{LYING}{lie}\n__import__('time').sleep(600)"))
    error = refused(there, SegmentVolume("any", a_volume()))
    assert error.code == "worker-unexpected", error
    assert "nobody asked for" in error.message
    assert list(temporary.rglob("*")) == []


def test_a_file_of_this_computer_that_a_server_calls_a_model_is_refused_before_it_is_sent_there(
    server: Server, elsewhere: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that opens the model that it has been told of would send it."""
    monkeypatch.setenv("SEGHIRESCAM_CACHE", str(tmp_path / "cache"))
    for name in ("config.json", "cache/liver.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("secret", encoding="utf-8")

    def answer_of(path: Path | str) -> Result | Error:
        lie = f"say(identifier, 'result', answer={{'kind': 'path', 'path': {str(path)!r}}}, files={{}}, reused=[])"
        there = elsewhere(a_script(server, "naming", f"{LYING}{lie}\n__import__('time').sleep(600)"))
        return there.wait(there.submit(GetModel("liver")))

    for path in (tmp_path / "config.json", tmp_path / "cache/../config.json", "x" * 5000):
        refusal = answer_of(path)
        assert isinstance(refusal, Error)
        assert refusal.code == "worker-unexpected"
        assert "a path on this computer, which nobody asked for" in refusal.message
    for path in (tmp_path / "cache/liver.zip", "/only/there/liver.zip"):
        assert isinstance(answer_of(path), Result), "both may keep downloaded models at one place"


def test_a_server_that_never_stops_reporting_takes_no_memory(server: Server, elsewhere: Make) -> None:
    lie = "\nwhile True: say(identifier, 'progress', fraction=0.1, text='x' * 100)"
    there = elsewhere(a_script(server, "reporting", f"{LYING}{lie}"))
    there.submit(OpenModel("any"))
    supervisor = there._supervisor
    give_up = time.monotonic() + 60
    while supervisor.events.qsize() < MOST_EVENTS and time.monotonic() < give_up:
        time.sleep(0.05)
    time.sleep(0.5)
    assert supervisor.events.qsize() == MOST_EVENTS


def test_a_message_from_a_server_is_text_of_bounded_length(server: Server, elsewhere: Make) -> None:
    lie = "say(identifier, 'error', code='x', message='\\x1b[31m<b>red</b>\\u202e' * 10000, trace='')"
    there = elsewhere(a_script(server, "shouting", f"{LYING}{lie}\n__import__('time').sleep(600)"))
    message = refused(there, OpenModel("any")).message
    assert len(message) <= 2000
    assert "\x1b" not in message
    assert "\u202e" not in message


def reached(
    client: Client, request: int, what: Callable[[Progress], bool] = lambda event: event.fraction > 0
) -> Progress:
    """Wait until a request has come so far."""
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        for identifier, event in client.poll():
            assert isinstance(event, Progress), event
            if identifier == request and what(event):
                return event
        time.sleep(0.01)
    raise AssertionError(client.log_tail())
