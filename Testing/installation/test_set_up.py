"""The section "Set up", from its .ui file, with real child processes, a real pip and a real, empty Python."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import slicer
from harness import ctk_widgets, desktop, mrml_widgets, pythonqt, stand_ins
from installation.conftest import package_named, put, put_everything

from SegHiResCAMLib.installation.packages import BUNDLED, packages
from SegHiResCAMLib.scene.headless import headless_application


@pytest.fixture(scope="module")
def _surroundings() -> Iterator[None]:
    qt = pythonqt.qt_module()
    qt.QUiLoader = stand_ins.UiLoader
    with (
        headless_application() as application,
        desktop._surroundings(
            application,
            desktop._App(application),
            qt,
            ctk_widgets.ctk_module(),
            {"qMRMLWidget": mrml_widgets.qMRMLWidget},
        ),
    ):
        yield


@pytest.fixture
def a_section(_surroundings: None) -> Iterator[Callable[[str], Any]]:
    """A new section for a Python; no slot of it may raise."""
    pythonqt.CALLS.clear()
    made = []

    def make(python: str) -> Any:
        from SegHiResCAMLib.panel.set_up import SetUpSection

        ready: list[bool] = []
        section = SetUpSection(lambda: ready.append(True), python)
        section.ready = ready
        made.append(section)
        return section

    yield make
    for section in made:
        section.close()
    assert [call.error for call in pythonqt.CALLS if call.error] == []
    assert max([call.own for call in pythonqt.CALLS], default=0) < 0.5  # nothing waits for a child process


@pytest.fixture
def yes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Somebody who agrees to everything; the questions."""
    asked: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, **_options: asked.append(text) or True)
    return asked


def wait(section: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while section.is_busy:
        assert time.monotonic() < deadline
        pythonqt.APPLICATION.processEvents()
        time.sleep(0.01)


def checked(a_section: Callable[[str], Any], python: str) -> Any:
    """A section that knows what a Python lacks."""
    section = a_section(python)
    section.refresh()
    wait(section)
    return section


def let_pip_look_in(folder: Path, monkeypatch: pytest.MonkeyPatch, index: str = "") -> None:
    """And nowhere else but on an index, where one is named."""
    more = {"INDEX_URL": index, "RETRIES": "1", "TIMEOUT": "2"} if index else {"NO_INDEX": "1"}
    for name, value in {"CONFIG_FILE": "/dev/null", "FIND_LINKS": str(folder), **more}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)


def text(section: Any) -> str:
    return section.ui.setUpLabel.text


def states(section: Any) -> dict[str, tuple[str, str]]:
    tree = section.ui.packagesTree
    rows = [tree.topLevelItem(row) for row in range(tree.topLevelItemCount)]
    return {row.text(0): (row.text(1), row.text(2)) for row in rows}


def test_it_is_not_seen_where_nothing_is_missing(a_section: Any, a_bare_python: str, a_site: Path) -> None:
    put_everything(a_site)
    section = checked(a_section, a_bare_python)
    assert not section.is_needed
    assert section.ui.setUpCollapsibleButton.isHidden()
    assert section.ready == [True]


def test_it_lists_what_is_missing_and_offers_to_install_it(a_section: Any, a_bare_python: str, a_site: Path) -> None:
    put_everything(a_site, but="monai")
    section = a_section(a_bare_python)
    section.refresh()
    assert section.is_busy
    wait(section)
    assert section.is_needed
    assert not section.ui.setUpCollapsibleButton.isHidden()
    assert section.ready == []
    assert text(section) == "To compute heat maps, 3D Slicer still needs monai."
    assert states(section)["monai"] == ("", "is not installed")
    assert states(section)["torch"] == ("2.10", "ready")
    assert section.ui.installButton.enabled


def test_nothing_is_installed_without_a_yes(a_section: Any, a_bare_python: str, a_site: Path) -> None:
    put_everything(a_site, but="monai")
    section = checked(a_section, a_bare_python)
    pythonqt.DIALOGS.clear()
    section.ui.installButton.click()
    assert not section.is_busy
    ((kind, (question,)),) = pythonqt.DIALOGS
    assert kind == "confirmOkCancelDisplay"
    assert question.splitlines() == [
        "This installs into 3D Slicer's Python: monai>=1.5.1.",
        "",
        "And OpenVINO, where there is a build of it (up to 90 MB): it segments faster on a CPU.",
    ]
    pythonqt.DIALOGS.clear()


def test_one_press_installs_everything_from_a_wheelhouse_and_says_ready(
    a_section: Any,
    a_fresh_python: str,
    a_site: Path,
    a_wheelhouse: Path,
    yes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, minimum in BUNDLED.items():
        put(a_site, package_named(name), version=minimum)
    let_pip_look_in(a_wheelhouse, monkeypatch)
    section = checked(a_section, a_fresh_python)
    section.ui.installButton.click()
    assert section.ui.installButton.text == "Cancel"
    wait(section)
    assert section.ready == [True]
    assert not section.is_needed
    assert {name for name, (_version, state) in states(section).items() if state == "ready"} == {
        package.name for package in packages()
    }
    (question,) = yes
    assert "torch>=2.10" in question
    assert "is installed from the folder" in question
    assert "3 GB" not in question
    assert "the extension PyTorch" not in question


def test_openvino_is_installed_too_and_where_it_cannot_be_nothing_is_missing(
    a_section: Any,
    a_fresh_python: str,
    a_site: Path,
    a_wheelhouse: Path,
    yes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_everything(a_site, but="einops")
    let_pip_look_in(a_wheelhouse, monkeypatch)  # which has no OpenVINO
    section = checked(a_section, a_fresh_python)
    section.ui.installButton.click()
    wait(section)
    assert section.ready == [True]
    assert "openvino" not in text(section).casefold()
    (openvino,) = [
        line for line in section.ui.setUpLog.plainText.splitlines() if line.startswith("pip ") and "openvino" in line
    ]
    assert "--no-deps" in openvino.split()  # it would replace 3D Slicer's NumPy
    assert "openvino" in yes[0].casefold()


def test_what_3d_slicer_has_loaded_and_is_replaced_asks_for_a_restart(
    a_section: Any,
    a_fresh_python: str,
    a_site: Path,
    a_wheelhouse: Path,
    yes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_everything(a_site, but="pydicom")
    monkeypatch.setitem(sys.modules, "pydicom", types.ModuleType("pydicom"))
    let_pip_look_in(a_wheelhouse, monkeypatch)
    section = checked(a_section, a_fresh_python)
    section.ui.installButton.click()
    wait(section)
    assert section.ready == [True]
    assert text(section) == "Restart 3D Slicer: it still uses the pydicom of before."
    assert not section.ui.setUpCollapsibleButton.isHidden()


def test_a_failed_pip_is_told_and_can_be_tried_again(
    a_section: Any, a_bare_python: str, a_site: Path, tmp_path: Path, yes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_everything(a_site, but="einops")
    let_pip_look_in(tmp_path, monkeypatch)
    section = checked(a_section, a_bare_python)
    section.ui.installButton.click()
    wait(section)
    assert text(section).splitlines() == [
        "There is no build of einops>=0.7 for this Python and operating system, or it is missing in the folder that pip searches.",
        "To compute heat maps, 3D Slicer still needs einops.",
    ]
    assert "No matching distribution" in section.ui.setUpLog.plainText
    assert section.ui.installButton.enabled
    assert section.ready == []


def test_installing_can_be_cancelled(
    a_section: Any, a_bare_python: str, a_site: Path, yes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_everything(a_site, but="einops")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "9")
    section = checked(a_section, a_bare_python)
    section.ui.installButton.click()
    section.ui.installButton.click()
    wait(section)
    assert text(section).startswith("Cancelled: nothing more is installed.")
    assert section.ui.installButton.text == "Install what is missing"


class _Extension:
    """What the extension PyTorch offers."""

    def __init__(self, site: Path) -> None:
        self.site, self.asked = site, []

    def installTorch(self, **options: Any) -> None:
        self.asked.append(options)
        put(self.site, package_named("torch"), version="2.13.0")


def test_torch_comes_through_the_extension_where_there_is_one(
    a_section: Any, a_bare_python: str, a_site: Path, yes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_everything(a_site, but="torch")
    extension = _Extension(a_site)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=lambda: extension))
    section = checked(a_section, a_bare_python)
    section.ui.installButton.click()
    wait(section)
    assert extension.asked == [{"askConfirmation": False, "torchVersionRequirement": ">=2.10"}]
    assert section.ready == [True]
    assert "extension" not in yes[0]


def test_an_extension_that_fails_is_reported_and_pip_is_next(
    a_section: Any, a_bare_python: str, a_site: Path, tmp_path: Path, yes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_options: Any) -> None:
        raise TypeError("'NoneType' object is not iterable")

    put_everything(a_site, but="torch")
    logic = types.SimpleNamespace(installTorch=fail)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=lambda: logic))
    let_pip_look_in(tmp_path, monkeypatch, index="http://127.0.0.1:9/simple")
    section = checked(a_section, a_bare_python)
    section.ui.installButton.click()
    wait(section)
    extensions, pips = text(section).splitlines()[:2]
    assert extensions.startswith("The extension PyTorch could not install torch: 'NoneType'")
    assert pips.startswith("The package server cannot be reached.")
    assert section.is_needed


def test_without_internet_torch_comes_from_the_wheelhouse_though_there_is_the_extension(
    a_section: Any,
    a_fresh_python: str,
    a_site: Path,
    a_wheelhouse: Path,
    yes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_everything(a_site, but="torch")
    extension = _Extension(a_site)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=lambda: extension))
    let_pip_look_in(a_wheelhouse, monkeypatch)
    section = checked(a_section, a_fresh_python)
    section.ui.installButton.click()
    wait(section)
    assert extension.asked == []
    assert section.ready == [True]


def test_where_the_extension_finds_no_server_torch_comes_from_the_wheelhouse_that_pip_knows(
    a_section: Any,
    a_fresh_python: str,
    a_site: Path,
    a_wheelhouse: Path,
    yes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(**_options: Any) -> None:
        raise OSError("no route to host")

    put_everything(a_site, but="torch")
    logic = types.SimpleNamespace(installTorch=fail)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=lambda: logic))
    let_pip_look_in(a_wheelhouse, monkeypatch, index="http://127.0.0.1:9/simple")
    section = checked(a_section, a_fresh_python)
    section.ui.installButton.click()
    wait(section)
    assert section.ready == [True]


def test_a_python_that_does_not_start_is_told(a_section: Any, tmp_path: Path) -> None:
    section = a_section(str(tmp_path / "PythonSlicer"))
    section.refresh()
    assert not section.is_busy
    assert text(section).startswith(f"{tmp_path}/PythonSlicer cannot be started")


def test_diagnostics_go_to_the_clipboard(a_section: Any, a_bare_python: str, a_site: Path) -> None:
    section = checked(a_section, a_bare_python)
    section.ui.copyButton.click()
    copied = pythonqt.QtWidgets.QApplication.clipboard().text()
    assert copied.startswith("SegHiResCAM diagnostics")
    assert "- torch: is not installed" in copied


def test_closing_ends_what_runs(a_section: Any, a_bare_python: str, a_site: Path) -> None:
    put(a_site, package_named("torch"), version="2.13.0", code="import time; time.sleep(600)")
    section = a_section(a_bare_python)
    section.refresh()
    child = section._child
    section.close()
    deadline = time.monotonic() + 2
    while not child.is_done:
        child.poll()
        assert time.monotonic() < deadline
