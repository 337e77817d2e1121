"""What is asked of pip, and what its failures, as the real pip tells them, mean."""

from __future__ import annotations

import subprocess

import pytest
from installation.conftest import package_named

from SegHiResCAMLib.installation.check import Report
from SegHiResCAMLib.installation.packages import PackageState, judge, packages
from SegHiResCAMLib.installation.pip import not_installable, pip_steps, why_pip_failed


def report(**problems: PackageState) -> Report:
    fine = {package.name: PackageState(package, package.minimum) for package in packages()}
    return Report(tuple({**fine, **problems}.values()), {})


def missing(name: str) -> PackageState:
    return judge(package_named(name), None)


def requirements(step: list[str]) -> list[str]:
    return [argument for argument in step if ">=" in argument]


def test_nothing_is_installed_where_nothing_is_missing() -> None:
    assert pip_steps(report()) == []


def test_torch_comes_first_and_monai_without_touching_it() -> None:
    everything = {package.name: judge(package, None) for package in packages()}
    torch, monai, others = pip_steps(report(**everything))
    assert requirements(torch) == ["torch>=2.10"]
    assert requirements(monai) == ["monai>=1.5.1"]
    assert "--no-deps" in monai
    assert "--no-deps" not in torch
    assert not [one for one in requirements(others) if one.startswith(("torch", "monai"))]


def test_what_3d_slicer_brings_is_told_and_never_installed() -> None:
    found = report(SimpleITK=missing("SimpleITK"), numpy=missing("numpy"))
    assert pip_steps(found) == []
    assert [finding.package.name for finding in not_installable(found)] == ["numpy", "SimpleITK"]


def test_a_broken_package_is_installed_anew_and_then_what_it_needs() -> None:
    broken = PackageState(package_named("nibabel"), "5.4.2", "cannot be imported", broken=True)
    again, needs = pip_steps(report(nibabel=broken))
    assert {"--force-reinstall", "--no-deps"} <= set(again)
    assert requirements(again) == requirements(needs) == ["nibabel>=5.2"]
    assert "--force-reinstall" not in needs


def test_torch_is_left_out_where_the_extension_has_installed_it() -> None:
    (step,) = pip_steps(report(torch=missing("torch"), einops=missing("einops")), torch=False)
    assert requirements(step) == ["einops>=0.7"]


def pip(python: str, *arguments: str) -> list[str]:
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--retries", "1", "--timeout", "2"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode
    return (done.stdout + done.stderr).splitlines()


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def test_without_network_the_message_says_so(a_bare_python: str) -> None:
    log = pip(a_bare_python, "--index-url", "http://127.0.0.1:9/simple", "einops>=0.7")
    assert why_pip_failed(log).startswith("The package server cannot be reached.")


def test_an_incomplete_wheelhouse_is_told_with_what_it_lacks(a_bare_python: str, tmp_path: object) -> None:
    log = pip(a_bare_python, "--no-index", "--find-links", str(tmp_path), "einops>=0.7")
    assert why_pip_failed(log).startswith("There is no build of einops>=0.7 for this Python and operating system")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "The disk is full.",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/opt'",
            "3D Slicer's Python",
        ),
        ("ERROR: Could not install packages due to an OSError: [WinError 5] Access is denied", "3D Slicer's Python"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "The package server's certificate"),
        ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407", "The proxy refuses"),
        ("ERROR: ResolutionImpossible: for help visit", "Packages that are already"),
        ("/usr/bin/python: No module named pip", "3D Slicer's Python has no pip"),
        ("ERROR: Something new", "pip failed: Something new"),
        ("Killed", "pip failed; its messages are below."),
    ],
)
def test_what_pip_prints_becomes_a_message(line: str, message: str) -> None:
    assert why_pip_failed(["Collecting torch", line]).startswith(message)
