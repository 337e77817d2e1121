"""3D Slicer's event loop keeps Python's lock while it waits: threads run only while the application's thread runs Python. Nothing stands still."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.desktop import Desktop, keep_lock

from panel.steps import STANDSTILL_S, choose_model, choose_segment, explain, idle, segment, standstill


@pytest.fixture
def locked(desktop: Desktop) -> Iterator[Desktop]:
    """An application that spends 50 ms of every turn without Python."""
    desktop.pause = lambda _seconds: keep_lock(0.05)
    yield desktop
    desktop.pause = time.sleep


def test_no_other_thread_runs_meanwhile() -> None:
    gaps, end = [0.0], threading.Event()

    def run() -> None:
        last = time.perf_counter()
        while not end.is_set():
            now = time.perf_counter()
            gaps.append(max(gaps.pop(), now - last))
            last = now

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.05)
    keep_lock(0.2)
    end.set()
    thread.join()
    assert gaps[0] >= 0.2


def test_jobs_end_and_no_slot_stands_still(locked: Desktop, a_volume: Any, a_model: Path, tmp_path: Path) -> None:
    choose_model(locked, a_model)
    assert segment(locked) is not None
    choose_segment(locked, "tumour")
    assert explain(locked) is not None
    locked.ui.checkButton.click()
    idle(locked)
    locked.ui.folderButton.directory = str(tmp_path / "out")
    locked.ui.exportButton.click()
    idle(locked)
    assert (tmp_path / "out/explanation.json").is_file()
    assert standstill(locked) <= STANDSTILL_S
