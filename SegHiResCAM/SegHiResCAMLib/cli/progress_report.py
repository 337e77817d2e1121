"""How far a job is: a bar on a terminal, and elsewhere, as in the log of a batch system, a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from SegHiResCAMLib.cli.plain_console import PlainConsole
from SegHiResCAMLib.plain_text import plain

AT_MOST_S = 30.0
"""Seconds after which a line is due, however little has been done."""

AT_LEAST_S = 2.0
"""Seconds between two lines, however much has been done: jobs of seconds stay silent."""

Report = Callable[[float, str], None]
"""Of a fraction done (0 to 1), and what is being done."""


@contextmanager
def progress_on(console: PlainConsole) -> Iterator[Report]:
    """A report that shows itself while a job runs."""
    if not console.is_watched or console.is_dumb_terminal:
        yield _Lines(console)
        return
    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn()]
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("Starting", total=1.0)
        yield lambda fraction, text: bar.update(task, completed=fraction, description=plain(text))


class _Lines:
    """One line for every tenth of the job, or every half minute."""

    def __init__(self, console: PlainConsole) -> None:
        self._console = console
        self._begin = self._last = time.monotonic()
        self._tenths = 0

    def __call__(self, fraction: float, text: str) -> None:
        """Print a line, if one is due."""
        passed = time.monotonic() - self._last
        if passed < AT_LEAST_S or (int(10 * fraction) <= self._tenths and passed < AT_MOST_S):
            return
        self._last, self._tenths = time.monotonic(), int(10 * fraction)
        minutes, seconds = divmod(int(self._last - self._begin), 60)
        self._console.print(f"{minutes:3d}:{seconds:02d}  {fraction:4.0%}  {text}")
