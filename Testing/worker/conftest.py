"""Clients of the real worker, and tiny models for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import noise, write_tiny_bundle

from SegHiResCAMLib.worker.client import Client
from SegHiResCAMLib.worker.protocol import Voxels

LEFT_HANDED = np.array([[-1.5, 0, 0, 30], [0, 1.5, 0, -20], [0, 0, 3.0, 500], [0, 0, 0, 1]])


@pytest.fixture(scope="session")
def a_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="session")
def a_flat_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A 2D network."""
    return str(write_tiny_bundle(tmp_path_factory.mktemp("models") / "flat", spatial_dims=2))


@pytest.fixture(scope="session")
def a_slow_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Takes minutes for `a_large_volume`, window by window."""
    return str(write_tiny_bundle(tmp_path_factory.mktemp("models") / "slow", overlap=0.93))


@pytest.fixture
def a_volume() -> Voxels:
    return Voxels.of(noise(), LEFT_HANDED)


@pytest.fixture
def a_large_volume() -> Voxels:
    return Voxels.of(noise((48, 48, 48)), np.eye(4))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """One client for a whole module: starting a worker takes seconds."""
    client = Client()
    yield client
    client.close()


@pytest.fixture
def a_client() -> Iterator[Callable[..., Client]]:
    """Clients of the test's own."""
    clients: list[Client] = []

    def make(command: list[str] | None = None, **options: float) -> Client:
        clients.append(Client(command, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder for private folders to be made in, empty at first."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path
