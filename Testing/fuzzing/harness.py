"""Hunts for inputs that a reader neither reads nor refuses with a message: it crashes, hangs, takes the memory, or raises anything else.

A long hunt over all readers of a module, 20,000 inputs each:

    PYTHONPATH=SegHiResCAM:Testing python -m fuzzing.harness fuzzing.model_readers --count 20000 --keep findings

A module has `READERS`: by name, the reader (called with a folder and the bytes) and what makes its sound samples. Inputs that reach new lines
of the project join the samples, so that changes build on one another.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib
import json
import multiprocessing
import random
import time
from collections.abc import Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from fuzzing.child import Outcome, serve
from fuzzing.mutation import changed

SECONDS = 30.0
"""Of the processor, for one input."""
STALLED = 120.0
"""Seconds without an answer, whatever the processor did: it waits for something."""
MEMORY = 4 << 30
"""Bytes in all that the child may hold, while its inputs are below 10 MB."""
_MOST_SAMPLES = 2000


@dataclasses.dataclass
class Report:
    """What a hunt came to.

    Attributes:
        inputs: That were read.
        findings: What happened to how many inputs; one input of each kind is kept.
        seconds: The most that one input took, of the processor.
        peak: The most memory that the child held, in bytes, with all libraries.
    """

    inputs: int = 0
    findings: dict[str, int] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    peak: int = 0


class Child:
    """A child process that reads with the readers of a module; started again when it died. `contextlib.closing` ends it."""

    def __init__(self, module: str) -> None:
        self.module = module
        self._start()

    def read(self, reader: str, data: bytes) -> Outcome:
        """What comes of `data`. A child that dies, or is ended because it took too much, is replaced."""
        self._connection.send((reader, data))
        watched, started, begun = psutil.Process(self._process.pid), time.monotonic(), self._processor_time()
        peak, problem = 0, ""
        while not problem:
            try:
                if self._connection.poll(0.02):
                    outcome: Outcome = self._connection.recv()
                    too_slow = "takes too long" if outcome.seconds > SECONDS else ""
                    too_large = "takes too much memory" if outcome.peak > MEMORY else ""
                    return dataclasses.replace(outcome, problem=outcome.problem or too_slow or too_large)
                peak = max(peak, watched.memory_info().rss)
            except (EOFError, OSError, psutil.Error):
                self._process.join()
                problem = f"dies with exit code {self._process.exitcode}"
                break
            if peak > MEMORY:
                problem = "takes too much memory"
            elif self._processor_time() - begun > SECONDS:
                problem = "takes too long"
            elif time.monotonic() - started > STALLED:
                problem = "stalls"
        seconds = time.monotonic() - started
        self.close()
        self._start()
        return Outcome(problem, "", 0, seconds, peak)

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection: Connection
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self.module), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()  # "ready"; EOFError where the module cannot be imported

    def _processor_time(self) -> float:
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)


def hunt(
    child: Child,
    reader: str,
    samples: Sequence[bytes],
    *,
    count: int = 1 << 62,
    seconds: float = float("inf"),
    keep: Path | None = None,
    seed: int = 0,
) -> Report:
    """Read changed `samples` until `count` inputs or `seconds` are over; `keep` is a folder for one input of each finding."""
    chance, report, known = random.Random(seed), Report(), list(samples)
    end = time.monotonic() + seconds
    while report.inputs < count and time.monotonic() < end:
        first = report.inputs < len(samples)
        data = samples[report.inputs] if first else changed(chance.choice(known), chance)
        outcome = child.read(reader, data)
        report.inputs += 1
        report.seconds, report.peak = max(report.seconds, outcome.seconds), max(report.peak, outcome.peak)
        if outcome.problem:
            report.findings[outcome.problem] = report.findings.get(outcome.problem, 0) + 1
            if keep and report.findings[outcome.problem] == 1:
                _keep(keep, reader, data, outcome)
        elif outcome.new_lines and not first and len(known) < _MOST_SAMPLES and len(data) < 1 << 20:
            known.append(data)
    return report


def _keep(folder: Path, reader: str, data: bytes, outcome: Outcome) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{reader.replace(' ', '-')}-{hashlib.sha256(data).hexdigest()[:8]}"
    (folder / name).write_bytes(data)
    (folder / f"{name}.txt").write_text(f"{outcome.problem}\n{outcome.detail}", encoding="utf-8")


def main() -> None:
    """The long hunt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module")
    parser.add_argument("--only", nargs="*", help="names of readers; all, if left out")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="the most for one reader")
    parser.add_argument("--keep", type=Path, default=Path("findings"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    readers = importlib.import_module(options.module).READERS
    with closing(Child(options.module)) as child:
        for name in options.only or readers:
            samples = readers[name][1]()
            report = hunt(
                child,
                name,
                samples,
                count=options.count,
                seconds=options.seconds,
                keep=options.keep,
                seed=options.seed,
            )
            print(json.dumps({"reader": name, **dataclasses.asdict(report)}), flush=True)


if __name__ == "__main__":
    main()
