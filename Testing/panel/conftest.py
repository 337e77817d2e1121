"""The panel, with somebody who uses it: real widgets, a real scene, the real worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.data_tree import data_tree
from harness.desktop import Desktop, panel_desktop
from harness.views import MainWindow, main_window
from tiny_bundle import noise, write_tiny_bundle

from SegHiResCAMLib.scene.headless import HeadlessApplication, headless_application
from SegHiResCAMLib.scene.volumes import add_volume
from SegHiResCAMLib.worker.client import Client


@pytest.fixture(scope="session")
def _started() -> Iterator[tuple[HeadlessApplication, MainWindow]]:
    with headless_application() as application, main_window(application) as window, data_tree(application):
        yield application, window


@pytest.fixture(scope="session")
def application(_started: tuple[HeadlessApplication, MainWindow]) -> HeadlessApplication:
    return _started[0]


@pytest.fixture(scope="session")
def window(_started: tuple[HeadlessApplication, MainWindow]) -> MainWindow:
    """Its slice views, as they are drawn."""
    return _started[1]


@pytest.fixture(scope="session")
def workers() -> Iterator[list[Client]]:
    """The worker that outlives the desktops, since each takes seconds to start. A file whose worker needs another environment has its own."""
    kept: list[Client] = []
    yield kept
    for one in kept:
        one.close()


@pytest.fixture(scope="module")
def _desktop(application: HeadlessApplication, workers: list[Client]) -> Iterator[Desktop]:
    with panel_desktop(application) as desktop:
        explainer = desktop.widget.logic.explainer
        if workers:
            explainer.use(workers.pop())
        yield desktop
        desktop.wait(lambda: not explainer.is_busy)
        if not desktop.widget.logic.computesOn:
            workers.append(explainer.client)
            explainer.client = Client()  # which has no worker that would end with the desktop


@pytest.fixture
def desktop(_desktop: Desktop, application: HeadlessApplication) -> Iterator[Desktop]:
    """One for all tests of a file; the scene is empty, and all choices are the defaults."""
    _desktop.wait(lambda: not _desktop.widget.logic.explainer.is_busy)
    _desktop.widget.panel.state.kept_model = ""
    application.scene.Clear(0)
    _desktop.calls.clear()
    yield _desktop
    assert _desktop.errors == []
    assert _desktop.dialogs == []


@pytest.fixture
def scene(desktop: Desktop, application: HeadlessApplication) -> Any:
    return application.scene


@pytest.fixture(scope="session")
def a_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def a_volume(scene: Any) -> Any:
    return add_volume(scene, noise(), np.diag([1.5, 1.5, 2.0, 1.0]), "CT")
