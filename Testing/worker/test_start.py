"""The worker starts before it is asked anything, and imports no more than it needs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from SegHiResCAMLib.worker.client import Client
from SegHiResCAMLib.worker.protocol import OpenModel, Result

NOT_AT_THE_START = (
    "highdicom",
    "SimpleITK",
    "openvino",
    "torch._dynamo",
    "torch._inductor",
    "sympy",
    "dask",
    "pyarrow",
    "dicomweb_client",
    "vtk",
    "slicer",
)
"""Each takes from a quarter of a second to two seconds, and none is needed by every request."""


@pytest.mark.engine
@pytest.mark.parametrize("module", ["SegHiResCAMLib.worker.answers", "SegHiResCAMLib.computers"])
def test_the_engine_starts_without_what_few_requests_need(module: str) -> None:
    program = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    imported = json.loads(said.splitlines()[-1])
    assert "torch" in imported
    assert [name for name in NOT_AT_THE_START if name in imported] == []


def test_a_worker_is_there_before_the_first_request_which_it_answers(
    a_client: Callable[..., Client], a_model: str
) -> None:
    client = a_client()
    client.start()
    while client.worker_pid is None:
        time.sleep(0.01)
    first = client.worker_pid
    assert client.poll() == []
    assert isinstance(client.wait(client.submit(OpenModel(a_model))), Result)
    assert client.worker_pid == first


def test_what_keeps_a_worker_from_starting_is_reported_by_the_first_request(
    a_client: Callable[..., Client], a_model: str
) -> None:
    client = a_client(["no-such-program-anywhere"])
    client.start()
    answer = client.wait(client.submit(OpenModel(a_model)))
    assert getattr(answer, "code", "") == "worker-missing"


def test_a_closed_client_starts_nothing(a_client: Callable[..., Client]) -> None:
    client = a_client()
    client.close()
    client.start()
    time.sleep(0.2)
    assert client.worker_pid is None
