"""Pythons in which nothing, something or broken things are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from SegHiResCAMLib.installation.packages import Package, packages


@pytest.fixture(scope="session")
def a_bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """With pip and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return str(folder / "bin/python")


@pytest.fixture
def a_fresh_python(a_bare_python: str, tmp_path: Path) -> str:
    """A copy of it, for one test to install into."""
    shutil.copytree(Path(a_bare_python).parents[1], tmp_path / "python", symlinks=True)
    return str(tmp_path / "python/bin/python")


@pytest.fixture
def a_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that every Python started by the test imports from."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture(scope="session")
def a_wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of every package that pip shall install: the right names and versions, and nothing inside."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    for package in packages():
        if not package.bundled:
            _write_wheel(folder, package, requires="torch>=99" if package.name == "monai" else None)
    return folder


def put(site: Path, package: Package, *, version: str | None = None, code: str = "") -> None:
    """Install a package by hand: its code, and its metadata where it has a version."""
    module = site / package.module
    module.mkdir(exist_ok=True)
    (module / "__init__.py").write_text(code, encoding="utf-8")
    if version is not None:
        put_metadata(site, package, version)


def put_metadata(site: Path, package: Package, version: str) -> None:
    """What is left of a package whose files are gone."""
    info = site / f"{package.name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(_metadata(package, version), encoding="utf-8")


def put_everything(site: Path, but: str = "") -> None:
    """All packages, of just the versions that are needed, but one."""
    for package in packages():
        if package.name != but:
            put(site, package, version=package.minimum)


def package_named(name: str) -> Package:
    return next(package for package in packages() if package.name == name)


def _write_wheel(folder: Path, package: Package, requires: str | None) -> None:
    name = package.name.replace("-", "_")
    info = f"{name}-{package.minimum}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{package.minimum}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{package.module}/__init__.py", "")
        wheel.writestr(f"{info}/METADATA", _metadata(package, package.minimum, requires))
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def _metadata(package: Package, version: str, requires: str | None = None) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {package.name}", f"Version: {version}"]
    return "\n".join(lines + ([f"Requires-Dist: {requires}"] if requires else [])) + "\n"
