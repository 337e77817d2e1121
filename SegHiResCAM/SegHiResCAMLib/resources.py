"""Where the files are that come with the library; imports only the standard library."""

from __future__ import annotations

from pathlib import Path


def resource(*parts: str) -> Path:
    """The path of a resource: beside the package in the source tree and inside Slicer, within it in a wheel."""
    package = Path(__file__).parent
    beside = package.parent / "Resources"
    return (beside if beside.is_dir() else package / "Resources").joinpath(*parts)
