"""How far a job is, for somebody who looks at a terminal, and for a log."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest

from SegHiResCAMLib.cli import progress_report
from SegHiResCAMLib.cli.plain_console import PlainConsole

CLOCK = [0.0]


def lines_of(monkeypatch: pytest.MonkeyPatch, seconds: float, steps: int) -> list[str]:
    """What a job of so many seconds writes into a log."""
    console = PlainConsole(file=io.StringIO())
    monkeypatch.setattr(progress_report.time, "monotonic", lambda: CLOCK[0])
    with progress_report.progress_on(console) as report:
        for step in range(steps + 1):
            report(step / steps, f"window {step} of {steps}")
            CLOCK[0] += seconds / steps
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def minutes(line: str) -> float:
    whole, _, rest = line.split(maxsplit=1)[0].partition(":")
    return int(whole) + int(rest) / 60


def test_a_job_of_half_an_hour_writes_a_line_every_half_minute_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(monkeypatch, 1800, 1000)
    times = [0, *map(minutes, lines)]
    assert max(later - earlier for earlier, later in pairwise(times)) < 0.6
    assert len(lines) < 80
    assert lines[0] == "  0:30    2%  window 17 of 1000"


def test_a_job_of_a_minute_writes_a_line_for_every_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(monkeypatch, 60, 100)
    assert [line.split()[1] for line in lines] == [f"{tenth}0%" for tenth in range(1, 11)]


def test_a_job_of_a_second_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines_of(monkeypatch, 1, 1000) == []
