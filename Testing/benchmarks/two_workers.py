"""How much faster a study is with two workers than with one: 20 phantoms, `seghirescam cohort` on running clusters.

    make benchmark-study

or `python Testing/benchmarks/two_workers.py [ROUNDS [CASES]]`. Both clusters run all the time, each worker is a process of one thread, and has opened the model and explained a case
before anything is measured. They take turns: A B A B. What is measured is the whole command in this process: it looks for cases, has them computed, and writes table and report;
with its figures, scenes and pages. It is as fast as it can be only where two cores have nothing else to do, so the load of the computer is printed with the result.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from figures.study import write_inputs
from measure import machine
from study.remote_cluster import Remote

from SegHiResCAMLib.records.explain_job import ExplainJob
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.study.cases import FoundCases, find_cases
from SegHiResCAMLib.study.cohort import CohortRequest, run_cohort
from SegHiResCAMLib.study.processes import Processes

ROUNDS, CASES, GOAL = 2, 20, 1.6


def main(rounds: int, cases: int) -> None:
    """Measure, print, and fail where the goal is missed."""
    print(f"{machine()}; load {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = find_cases(str(write_inputs(folder / "phantoms", cases)))
        clusters = {workers: cluster(folder / f"cluster-{workers}", workers) for workers in (1, 2)}
        try:
            for workers, remote in clusters.items():
                few = FoundCases(found.layout, found.cases[: 2 * workers], {})
                print(f"{workers} warm after {study(remote, few, folder / f'warming-{workers}'):.1f} s", flush=True)
            seconds: dict[int, list[float]] = {1: [], 2: []}
            for number in range(rounds):
                for workers, remote in clusters.items():
                    seconds[workers].append(study(remote, found, folder / f"{workers}-{number}"))
                    print(
                        f"{workers} workers: {seconds[workers][-1]:.1f} s for {cases} cases, load {os.getloadavg()[0]:.2f}",
                        flush=True,
                    )
        finally:
            for remote in clusters.values():
                remote.kill()
    one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
    print(f"two workers are {one / two:.2f} times as fast as one (goal: {GOAL})")
    if one / two < GOAL:
        raise SystemExit(1)


def cluster(folder: Path, workers: int) -> Remote:
    """A running cluster with its own certificates."""
    folder.mkdir()
    return Remote(folder, workers)


def study(remote: Remote, found: FoundCases, folder: Path) -> float:
    """Seconds that a study takes."""
    model = str(resource("Models", "kidney-phantom-3d"))
    job = ExplainJob(volumes=(), model=model, segments=("tumour",), question=Question(segment="tumour"), html=True)
    processes = Processes(scheduler=remote.address, tls_config=str(remote.config))
    begin = time.monotonic()
    result = run_cohort(
        CohortRequest("phantoms", found, job, folder, processes=processes), lambda _fraction, _text: None
    )
    seconds = time.monotonic() - begin
    assert len(result.state.done) == len(found.cases), result.state.failed
    return seconds


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:]]
    main(*(given + [ROUNDS, CASES][len(given) :]))
