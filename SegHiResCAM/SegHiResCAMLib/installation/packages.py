"""Which packages the engine needs, and what their installed metadata says. Nothing is imported here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from SegHiResCAMLib.resources import resource

BUNDLED = {"numpy": "1.26", "scipy": "1.11", "SimpleITK": "2.3"}
"""What 3D Slicer brings in builds of its own, and pip must not replace."""

MODULES = {"pyyaml": "yaml", "pylibjpeg-openjpeg": "openjpeg"}
"""Import names that differ from the package's."""


@dataclass(frozen=True)
class Package:
    """A package that the engine imports.

    Attributes:
        name: That pip knows.
        minimum: Version.
        bundled: It comes with 3D Slicer.
    """

    name: str
    minimum: str
    bundled: bool = False

    @property
    def requirement(self) -> str:
        """As pip wants it."""
        return f"{self.name}>={self.minimum}"

    @property
    def module(self) -> str:
        """As Python imports it."""
        return MODULES.get(self.name, self.name)


OPENVINO = Package("openvino", "2026.4")
"""Segments on a CPU about twice as fast as PyTorch; the engine does without it."""


@dataclass(frozen=True)
class PackageState:
    """What was found of a package.

    Attributes:
        package: Which.
        version: None where it is missing or does not say.
        problem: Empty where all is well.
        broken: It is there, but cannot be imported.
    """

    package: Package
    version: str | None
    problem: str = ""
    broken: bool = False


def packages() -> list[Package]:
    """All of them: those of Resources/requirements.txt in its order, which is that of installing, then the bundled ones."""
    lines = resource("requirements.txt").read_text(encoding="utf-8").splitlines()
    required = [line.strip().split(">=") for line in lines if line.strip() and not line.startswith("#")]
    return [Package(name, minimum) for name, minimum in required] + [
        Package(name, minimum, bundled=True) for name, minimum in BUNDLED.items()
    ]


def look() -> list[PackageState]:
    """What the metadata says: quick, and blind to packages that are there but broken."""
    return [
        judge(package, installed_version(package), importable=package.bundled and find_spec(package.module) is not None)
        for package in packages()
    ]


def judge(package: Package, version: str | None, *, importable: bool = False) -> PackageState:
    """Whether a version will do; `importable` says that there is one though its metadata is lost."""
    if version is None and not importable:
        return PackageState(package, None, "is not installed")
    if version is not None and _numbers(version) < _numbers(package.minimum):
        return PackageState(package, version, f"is {version}, and {package.minimum} or newer is needed")
    return PackageState(package, version)


def installed_version(package: Package) -> str | None:
    """Of its metadata; None where there is none, or where it is damaged."""
    try:
        return metadata.version(package.name) or None
    except Exception:  # noqa: BLE001 - half-removed packages raise many types
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The release: (2, 13) of "2.13.0+cu130", without zeros at its end, so that 3.0 is not older than 3.0.0."""
    release = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(number) for number in release[0].split(".")] if release else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
