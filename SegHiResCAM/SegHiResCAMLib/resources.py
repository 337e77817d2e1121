"""Where the files are that come with the library; imports only the standard library."""

from __future__ import annotations

from pathlib import Path


def resource(*parts: str) -> Path:
    """The path of a resource: within the package in a wheel, beside it in the source tree and inside Slicer."""
    package = Path(__file__).parent
    within = (
        package / "Resources"
    )  # first: beside a package that pip installed lies whatever others bring, under any name
    return (within if within.is_dir() else package.parent / "Resources").joinpath(*parts)
