"""Who computes the cases: Dask's scheduler and workers, embedded in the command or a cluster that runs already; always over TLS.

Whoever reaches a scheduler can run code on its workers. On a shared computer even the loopback interface is open to every user, so the embedded
cluster has temporary certificates of its own (distributed's `Security.temporary`), and a running one is spoken to with a client certificate.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.security import Security

from SegHiResCAMLib.engine.free_memory import free_memory
from SegHiResCAMLib.study.errors import StudyError

MEMORY_OF_WORKER = 4 * 2**30
"""Bytes for a process, where nobody says how many processes there shall be: a whole CT with a network of ordinary size."""

SHARE_OF_MEMORY = 0.9
"""Of what is free that workers may take; the rest is the command's."""

DEATHS = 2
"""Workers that a case may take with it before it is one that cannot be computed."""

CONNECTING_S = 30

STARTING_S = 120
"""Seconds in which the first worker of a running scheduler must be there."""

SETTINGS = {
    "distributed.scheduler.allowed-failures": DEATHS,
    "distributed.comm.timeouts.connect": f"{CONNECTING_S}s",
    "distributed.comm.retry.count": 0,
    # A process that computes may be silent for minutes; one that has ended is noticed at once by its connection.
    "distributed.scheduler.worker-ttl": "30 minutes",
    "distributed.scheduler.active-memory-manager.start": False,
    # Their HTTP pages ask nobody for a certificate.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # A case's memory is in use until it ends: nothing of it can be spilled, and pausing would wait for ever.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 1.0,
}


@dataclass(frozen=True)
class Processes:
    """How cases are computed.

    Attributes:
        workers: Processes of the embedded cluster; None for one a GPU, or as many as memory and cores allow.
        memory: Bytes for each of them; None for an equal share of what is free.
        scheduler: Address of a running cluster; None for the embedded one.
        tls_config: File with the certificates for it.
    """

    workers: int | None = None
    memory: int | None = None
    scheduler: str | None = None
    tls_config: str | None = None


@dataclass(frozen=True)
class Cluster:
    """A scheduler that takes cases.

    Attributes:
        client: Connected to it.
        resources: That a case needs of a worker.
        memory: Bytes that a worker may take; 0 where it is not ours to say.
        is_own: Whether it is embedded, so that nobody else starts workers.
    """

    client: Any
    resources: dict[str, int]
    memory: int
    is_own: bool

    def workers(self) -> int:
        """How many processes are connected that may take a case."""
        known = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(all(one.get("resources", {}).get(name) for name in self.resources) for one in known)


@contextmanager
def cluster_of(chosen: Processes) -> Iterator[Cluster]:
    """Start the embedded cluster, or connect to a running one; take down what was started.

    Raises:
        StudyError: `scheduler-not-tls`, `tls-config-missing`, `tls-config-unreadable`, `scheduler-unreachable`, `scheduler-without-workers`.
    """
    with dask.config.set(SETTINGS), ExitStack() as opened:
        yield opened.enter_context(_embedded(chosen) if chosen.scheduler is None else _running(chosen))


@contextmanager
def _embedded(chosen: Processes) -> Iterator[Cluster]:
    gpus = _gpus()
    workers, memory = _sizes(chosen, len(gpus))
    security = Security.temporary()
    threads = str(max(1, _cores() // workers))
    specs = {
        number: {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": memory,
                "protocol": "tls://",
                "security": security,
                "host": "127.0.0.1",
                "dashboard": False,
                "resources": {"GPU": 1} if gpus else {},
                "env": _environment(threads, gpus[number % len(gpus)] if gpus else None),
                "silence_logs": "CRITICAL",
            },
        }
        for number in range(workers)
    }
    options = {"protocol": "tls://", "security": security, "host": "127.0.0.1", "port": 0}
    options |= {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": Scheduler, "options": options}
    with (
        SpecCluster(specs, scheduler, security=security, silence_logs="CRITICAL") as cluster,
        Client(cluster, security=security, set_as_default=False) as client,
    ):
        yield Cluster(client, {"GPU": 1} if gpus else {}, memory, is_own=True)


@contextmanager
def _running(chosen: Processes) -> Iterator[Cluster]:
    address = chosen.scheduler or ""
    if not address.startswith("tls://"):
        raise StudyError(
            "scheduler-not-tls",
            f"'{address}' is not a TLS address. Whoever reaches a scheduler without certificates can run code on its workers and read the "
            "images, so only tls:// is used. Start scheduler and workers with certificates; docs/cohort.md shows how.",
        )
    if chosen.tls_config is None:
        raise StudyError(
            "tls-config-missing", f"{address} needs certificates: name the file that lists them with --tls-config."
        )
    security = _security(Path(chosen.tls_config))
    try:
        client = Client(address, security=security, timeout=CONNECTING_S, set_as_default=False)
    except (OSError, TimeoutError) as problem:
        raise StudyError(
            "scheduler-unreachable",
            f"No connection to {address} ({problem}). Check that the scheduler runs, and that it and the certificates in "
            f"'{chosen.tls_config}' are of the same authority.",
        ) from problem
    with client:
        try:
            client.wait_for_workers(1, timeout=STARTING_S)  # those of a batch system may have to start
        except TimeoutError as problem:
            raise StudyError(
                "scheduler-without-workers",
                f"{address} had no workers for {STARTING_S} seconds. Start some with the same certificates, then try again.",
            ) from problem
        known = client.scheduler_info(n_workers=-1)["workers"].values()
        has_gpus = any(one.get("resources", {}).get("GPU") for one in known)
        limits = [int(one["memory_limit"]) for one in known if one.get("memory_limit")]
        yield Cluster(client, {"GPU": 1} if has_gpus else {}, min(limits, default=0), is_own=False)


def _security(path: Path) -> Security:
    """The certificates that a file in the form of Dask's configuration lists; paths in it are relative to its folder."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        listed = content["distributed"]["comm"]["tls"]
        authority, client = listed["ca-file"], listed["client"]
        files = [path.parent / one for one in (authority, client["cert"], client["key"])]
        for one in files:
            one.open("rb").close()
    except OSError as problem:
        raise StudyError(
            "tls-config-unreadable", f"'{problem.filename}' cannot be opened ({problem.strerror}). Check --tls-config."
        ) from problem
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as problem:
        raise StudyError(
            "tls-config-unreadable",
            f"'{path}' does not list certificates as Dask's configuration does: distributed, comm, tls with ca-file, and client with cert "
            "and key. docs/cohort.md has an example.",
        ) from problem
    return Security(
        tls_ca_file=str(files[0]), tls_client_cert=str(files[1]), tls_client_key=str(files[2]), require_encryption=True
    )


def _sizes(chosen: Processes, gpus: int) -> tuple[int, int]:
    """How many processes, and bytes for each."""
    free = int(free_memory() * SHARE_OF_MEMORY)
    fit = max(1, free // (chosen.memory or MEMORY_OF_WORKER))
    workers = chosen.workers or gpus or min(_cores(), fit)
    return workers, chosen.memory or free // workers


def _cores() -> int:
    """That this process may use, which on a computer of a batch system are fewer than there are."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def _gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name, of those that this process may use."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    given = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    return given[:count] if given else [str(number) for number in range(count)]


def _environment(threads: str, gpu: str | None) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    quiet = {"PYTHONWARNINGS": "ignore"}  # libraries warn developers
    return dict.fromkeys(names, threads) | quiet | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
