"""A Dask cluster of the tests' own: a scheduler and workers over TLS, each a process of its own, as a cluster has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from study.certificates import options_of, write_certificates

LIBRARY = str(Path(__file__).parents[2] / "SegHiResCAM")
ENVIRONMENT = {**os.environ, "PYTHONPATH": LIBRARY, "OMP_NUM_THREADS": "1"}

SOON = 600
"""Seconds in which a study of a test ends on a busy computer."""


class Remote:
    """The cluster; `kill` ends it.

    Args:
        folder: For its certificates and logs.
        workers: How many.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.config = folder, write_certificates(folder)
        self.processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        common = ["--host", "127.0.0.1", "--protocol", "tls", "--no-dashboard", *options_of(self.config)]
        self._run("dask_scheduler", "--port", "0", "--scheduler-file", str(file), *common)
        wait_until(lambda: file.is_file() and file.stat().st_size > 0, "scheduler")
        time.sleep(0.2)
        self.address = json.loads(file.read_text(encoding="utf-8"))["address"]
        self._common = common
        for _ in range(workers):
            self.add_worker()

    def add_worker(self) -> None:
        self._run("dask_worker", self.address, "--nthreads", "1", "--no-nanny", *self._common)

    @property
    def options(self) -> list[str]:
        """That send cases there."""
        return ["--scheduler", self.address, "--tls-config", str(self.config)]

    def log(self) -> str:
        """What its processes have printed."""
        return "".join(path.read_text(encoding="utf-8") for path in sorted(self.folder.glob("*.log")))

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def _run(self, module: str, *options: str) -> None:
        log = (self.folder / f"{module}-{len(self.processes)}.log").open("wb")
        command = [sys.executable, "-m", f"distributed.cli.{module}", *options]
        self.processes.append(
            subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder)
        )


def wait_until(done: Callable[[], bool], what: str) -> None:
    begin = time.monotonic()
    while not done():
        assert time.monotonic() - begin < SOON, what
        time.sleep(0.02)
