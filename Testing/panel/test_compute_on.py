"""The row *Compute on*: another computer, over a real sshd, without anything else in the panel knowing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.desktop import Desktop
from sshd import NAME, Server, command_there

from panel.steps import choose_model, choose_segment, explain, idle, segment, segments
from SegHiResCAMLib.scene.volumes import volume_array

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sshd is started as on Linux and macOS")

THERE = f"{NAME}:{command_there()}"


def compute_on(desktop: Desktop, text: str) -> None:
    """Type a computer and press Return."""
    selector = desktop.ui.computeOnSelector
    selector.setEditText(text)
    selector.lineEdit().editingFinished.emit()
    idle(desktop)


@pytest.fixture(autouse=True)
def here_afterwards(desktop: Desktop) -> Iterator[None]:
    yield
    compute_on(desktop, "this computer")


@pytest.mark.engine
def test_a_heat_map_computed_elsewhere_is_the_same(
    server: Server, desktop: Desktop, a_volume: Any, a_model: Path
) -> None:
    desktop.ui.volumeSelector.setCurrentNode(a_volume)
    choose_model(desktop, a_model)
    segment(desktop)
    choose_segment(desktop, "tumour")
    here = np.array(volume_array(explain(desktop))[0])
    compute_on(desktop, THERE)
    assert desktop.widget.logic.computesOn == THERE
    assert str(desktop.widget.panel.state.model.source).startswith(str(server.cache))
    there = np.array(volume_array(explain(desktop))[0])
    assert here.tobytes() == there.tobytes()
    assert segments(desktop)[:2] == ["kidney", "tumour"]


def test_what_is_no_address_is_a_message_and_changes_nothing(desktop: Desktop) -> None:
    compute_on(desktop, "-oProxyCommand=touch /tmp/x")
    assert "is not the address of a computer" in desktop.ui.statusLabel.text
    assert desktop.widget.logic.computesOn == ""
    assert desktop.ui.computeOnSelector.currentText == "this computer"


def test_a_computer_that_cannot_be_reached_is_a_message(
    server: Server, desktop: Desktop, a_volume: Any, a_model: Path
) -> None:
    desktop.ui.volumeSelector.setCurrentNode(a_volume)
    choose_model(desktop, a_model)
    compute_on(desktop, "nowhere.invalid")
    assert "'nowhere.invalid' was not found" in desktop.ui.statusLabel.text
    compute_on(desktop, "this computer")
    assert desktop.widget.panel.state.model is not None
