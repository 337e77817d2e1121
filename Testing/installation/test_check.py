"""The check tells missing from too old from broken, whatever a broken package does to the Python that imports it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from installation.conftest import package_named, put, put_everything, put_metadata

from SegHiResCAMLib.installation.check import Report, check_command, read_report
from SegHiResCAMLib.installation.child import CANCELLED, Child
from SegHiResCAMLib.installation.diagnostics import diagnostics
from SegHiResCAMLib.installation.packages import packages


def check(python: str, limit: float = 60) -> Report:
    child = Child(check_command(python), limit)
    lines = []
    while not child.is_done:
        lines += child.poll()
        time.sleep(0.01)
    return read_report(lines, child.failure)


@pytest.fixture(scope="module")
def this_python() -> Report:
    return check(sys.executable)


def problems(report: Report) -> dict[str, str]:
    return {finding.package.name: finding.problem for finding in report.missing}


def test_a_bare_python_lacks_everything(a_bare_python: str) -> None:
    report = check(a_bare_python)
    assert problems(report) == {package.name: "is not installed" for package in packages()}
    assert not any(finding.broken for finding in report.findings)
    assert report.facts["Python"] == sys.version.split()[0]


@pytest.mark.engine
def test_this_python_has_everything_and_says_what_it_computes_on(this_python: Report) -> None:
    assert this_python.is_complete
    assert this_python.facts["Computes on"]


def test_a_complete_python_is_complete(a_bare_python: str, a_site: Path) -> None:
    put_everything(a_site)
    assert check(a_bare_python).is_complete


def test_an_old_package_is_told_with_both_versions(a_bare_python: str, a_site: Path) -> None:
    put_everything(a_site, but="pydicom")
    put(a_site, package_named("pydicom"), version="2.4.4")
    assert problems(check(a_bare_python)) == {"pydicom": "is 2.4.4, and 3.0 or newer is needed"}


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("raise OSError('libcudart.so.13: cannot open shared object file')", "cannot be imported: libcudart.so.13"),
        ("import nothing_like_this", "cannot be imported: No module named 'nothing_like_this'"),
        ("raise SystemExit(3)", "cannot be imported: 3"),
        ("import os; os.kill(os.getpid(), 4)", "cannot be imported: Python ended (signal 4)"),
        ("import os; os._exit(7)", "cannot be imported: Python ended (exit code 7)"),
    ],
    ids=["library missing", "dependency missing", "exits", "killed by a signal", "ends at once"],
)
def test_a_broken_package_is_told_and_those_after_it_are_judged_too(
    a_bare_python: str, a_site: Path, code: str, problem: str
) -> None:
    put_everything(a_site, but="torch")
    put(a_site, package_named("torch"), version="2.13.0", code=code)
    report = check(a_bare_python)
    (finding,) = report.missing
    assert finding.package.name == "torch"
    assert finding.version == "2.13.0"
    assert finding.broken
    assert finding.problem.startswith(problem)


def test_an_import_that_hangs_is_ended(a_bare_python: str, a_site: Path) -> None:
    put_everything(a_site, but="torch")
    put(a_site, package_named("torch"), version="2.13.0", code="import time; time.sleep(600)")
    start = time.monotonic()
    report = check(a_bare_python, limit=2)
    assert time.monotonic() - start < 10
    assert problems(report) == {"torch": "cannot be imported: Python ended (no answer for 2 s)"}


def test_metadata_without_files_is_broken(a_bare_python: str, a_site: Path) -> None:
    put_everything(a_site, but="monai")
    put_metadata(a_site, package_named("monai"), "1.6.1")
    (finding,) = check(a_bare_python).missing
    assert (finding.package.name, finding.broken) == ("monai", True)


def test_an_empty_folder_of_a_removed_package_is_no_package(a_bare_python: str, a_site: Path) -> None:
    put_everything(a_site, but="monai")
    (a_site / "monai").mkdir()
    assert problems(check(a_bare_python)) == {"monai": "is not installed"}


def test_a_package_without_metadata_tells_its_version_itself(a_bare_python: str, a_site: Path) -> None:
    put_everything(a_site, but="SimpleITK")
    put(a_site, package_named("SimpleITK"), code="__version__ = '2.5.0.dev12'")
    report = check(a_bare_python)
    assert report.is_complete
    assert next(one.version for one in report.findings if one.package.name == "SimpleITK") == "2.5.0.dev12"


def test_what_libraries_print_is_passed_over(a_bare_python: str, a_site: Path) -> None:
    put_everything(a_site, but="torch")
    code = "print('[]'); print('{\"a\": 1}'); print('\\udcff'.encode('utf-8', 'surrogateescape')); print('not json')"
    put(a_site, package_named("torch"), version="2.13.0", code=code)
    assert check(a_bare_python).is_complete


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_it_says_whether_pip_is_told_to_ask_no_index(
    a_bare_python: str, a_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, offline: bool
) -> None:
    put_everything(a_site)
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[global]\nno-index = {value}\n" if value else "")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    assert check(a_bare_python).offline == offline
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", value)
    assert check(a_bare_python).offline == offline


def test_a_check_can_be_cancelled(a_bare_python: str, a_site: Path) -> None:
    put(a_site, package_named("torch"), version="2.13.0", code="import time; time.sleep(600)")
    child = Child(check_command(a_bare_python))
    child.kill()
    start = time.monotonic()
    while not child.is_done:
        child.poll()
        time.sleep(0.01)
    assert time.monotonic() - start < 2
    assert child.failure == CANCELLED


def test_diagnostics_tell_versions_and_machine_but_not_who_the_user_is(
    this_python: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "anna-schmidt"))
    log = [f"Installing into {tmp_path}/anna-schmidt/Slicer"]
    text = diagnostics(this_python, {"3D Slicer": "5.12.3"}, log)
    assert "3D Slicer: 5.12.3" in text
    assert f"- numpy {np.__version__}" in text
    assert "Installing into ~/Slicer" in text
    assert "anna-schmidt" not in text
