"""What somebody who helps needs to know, as text: versions and machine, nothing of users, files or patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from SegHiResCAMLib.installation.check import Report

LOG_LINES = 40


def diagnostics(report: Report, application: Mapping[str, str], log: Sequence[str] = ()) -> str:
    """The text.

    Args:
        report: Of a check.
        application: Facts of the program that hosts us, by name.
        log: Of installing, of which the end is taken; the user's folder, which tells a name, is left out of it.
    """
    lines = ["SegHiResCAM diagnostics", ""]
    lines += [f"{name}: {value}" for name, value in {**application, **report.facts}.items()]
    lines += ["", "Packages:"]
    lines += [
        f"- {finding.package.name} {finding.version or ''}".rstrip()
        + (f": {finding.problem}" if finding.problem else "")
        for finding in report.findings
    ]
    if report.advice:
        lines += ["", *report.advice]
    if log:
        lines += ["", "Last messages:", *log[-LOG_LINES:]]
    return "\n".join(lines).replace(str(Path.home()), "~") + "\n"
