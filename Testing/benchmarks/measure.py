"""Processor time and peak memory of functions that take turns in one process. Linux only."""

from __future__ import annotations

import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

Run = Callable[[], object]


@dataclass
class Cost:
    """What one candidate took, round by round.

    Attributes:
        times: Seconds of processor time of this process.
        peaks: Megabytes above rest, from the kernel's high-water mark.
    """

    times: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median round."""
        return statistics.median(self.times)

    @property
    def megabytes(self) -> float:
        """The round that others disturbed least."""
        return min(self.peaks)


def measured(runs: Mapping[str, Run], rounds: Mapping[str, int]) -> dict[str, Cost]:
    """The costs of candidates that take turns, so that whatever else the machine does strikes all alike.

    Args:
        runs: The candidates. Each runs once before it is measured, since the first call makes what later ones keep.
        rounds: How often each is measured.
    """
    costs = {name: Cost() for name in runs}
    for run in runs.values():
        run()
    for number in range(max(rounds.values())):
        for name, run in runs.items():
            if number < rounds[name]:
                seconds, peak = _one(run)
                costs[name].times.append(seconds)
                costs[name].peaks.append(peak)
    return costs


def peak_megabytes(run: Run) -> float:
    """Of one run, above rest."""
    return _one(run)[1]


def machine() -> str:
    """What the figures were taken on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _one(run: Run) -> tuple[float, float]:
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    rest = _status("VmRSS")
    start = time.process_time()
    run()
    return time.process_time() - start, (_status("VmHWM") - rest) / 1024


def megabytes_of(process: int) -> float:
    """The most that a process ever had at once."""
    return _status("VmHWM", process) / 1024


def _status(name: str, process: int | str = "self") -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
