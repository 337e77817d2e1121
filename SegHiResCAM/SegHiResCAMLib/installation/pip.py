"""How what is missing gets installed: pip's arguments, and what its failures mean for the user."""

from __future__ import annotations

import re
from collections.abc import Sequence

from SegHiResCAMLib.installation.check import GPU, NOT_INSTALLED, Report
from SegHiResCAMLib.installation.packages import OPENVINO, PackageState

WITHOUT_DEPENDENCIES = {"monai"}
"""It needs torch and numpy only, which are there by then; left to itself, pip might replace torch by another build."""

FAILURES = {
    r"No space left on device|\[Errno 28\]|\[WinError 112\]": "The disk is full. Free about 6 GB and try again.",
    r"Permission denied|\[Errno 13\]|\[WinError 5\]|Access is denied|Read-only file system": (
        "3D Slicer's Python folder cannot be written to. Install 3D Slicer in a folder of your own, or ask your administrator to install."
    ),
    r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerification": (
        "The package server's certificate is not trusted, as happens behind a filtering proxy. Ask your IT department for the proxy's certificate, set "
        "PIP_CERT to its path and start 3D Slicer again; or install without internet (docs/installation.md)."
    ),
    r"ProxyError|407 Proxy": "The proxy refuses the connection. Set HTTPS_PROXY to the right one and start 3D Slicer again.",
    r"NewConnectionError|NameResolutionError|Name or service not known|name resolution|getaddrinfo failed|ConnectTimeout"
    r"|Network is unreachable|Connection refused|ReadTimeout|ConnectionResetError": (
        "The package server cannot be reached. Check the internet connection, or install without internet (docs/installation.md)."
    ),
    r"No matching distribution found for (?P<what>\S+)": (
        "There is no build of {what} for this Python and operating system, or it is missing in the folder that pip searches."
    ),
    r"ResolutionImpossible|conflicting dependencies": (
        "Packages that are already in 3D Slicer conflict with each other. Try a fresh installation of 3D Slicer."
    ),
    r"No module named pip": "3D Slicer's Python has no pip. Install 3D Slicer again.",
}
"""What pip prints, and what it means; the first that fits."""


def pip_steps(report: Report, *, torch: bool = True) -> list[list[str]]:
    """Arguments of pip, one call after the other, that mend what a report found.

    Args:
        report: Of a check.
        torch: Install that, too; False where somebody else has done it.
    """
    wanted = [
        finding
        for finding in report.missing
        if not finding.package.bundled and (torch or finding.package.name != "torch")
    ]
    apart = {"torch", *WITHOUT_DEPENDENCIES}
    steps = [
        _install([finding.package.requirement], "--force-reinstall", "--no-deps")
        for finding in wanted
        if finding.broken
    ]
    for finding in wanted:
        if finding.package.name in apart:
            options = ["--no-deps"] if finding.package.name in WITHOUT_DEPENDENCIES else []
            steps.append(_install([finding.package.requirement], *options))
    others = [finding.package.requirement for finding in wanted if finding.package.name not in apart]
    return [*steps, _install(others)] if others else steps


def optional_steps(report: Report) -> list[list[str]]:
    """Arguments of pip for what makes the engine faster, and may fail: OpenVINO, where there is no GPU.

    Of what it asks for, NumPy is there, in 3D Slicer's own build, and the other package only reports its use to its makers.
    """
    is_wanted = report.facts.get("OpenVINO") == NOT_INSTALLED and GPU not in report.facts
    return [_install([OPENVINO.requirement], "--no-deps")] if is_wanted else []


def not_installable(report: Report) -> list[PackageState]:
    """What comes with 3D Slicer, and pip must not touch."""
    return [finding for finding in report.missing if finding.package.bundled]


def why_pip_failed(log: Sequence[str]) -> str:
    """What went wrong and what to do, from what pip printed."""
    text = "\n".join(log)
    for pattern, message in FAILURES.items():
        found = re.search(pattern, text)
        if found:
            return message.format(**found.groupdict())
    last = next((line for line in reversed(log) if line.startswith("ERROR")), "")
    return f"pip failed: {last.removeprefix('ERROR: ')}" if last else "pip failed; its messages are below."


def _install(requirements: Sequence[str], *options: str) -> list[str]:
    return ["install", "--disable-pip-version-check", "--no-input", "--prefer-binary", *options, *requirements]
