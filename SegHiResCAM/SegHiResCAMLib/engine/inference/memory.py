"""How many windows are computed at once: as many as are fastest and memory has room for; and what happens when it runs out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import free_memory, is_out_of_memory
from SegHiResCAMLib.engine.inference.trial import Trial, Way, lay_out
from SegHiResCAMLib.kept_memory import release_memory

Item = TypeVar("Item")
Result = TypeVar("Result")

Compute = Callable[[Sequence[Item], torch.device, torch.memory_format], Result]
"""Items, the device and the memory layout they are computed in -> result."""

AT_MOST = {("cpu", 2): 8, ("cpu", 3): 1, ("cuda", 2): 64, ("cuda", 3): 8, ("mps", 2): 8, ("mps", 3): 1}
"""Windows at once, by kind of device and spatial axes: more would not be faster. One volumetric window keeps a processor busy."""

UNKNOWN = 4
"""Windows at once where nobody says how much memory there is."""

SHARE = 0.5
"""Of the free memory that a batch may take; the rest is for others, and for what windows differ in."""

TOGETHER = 256 * 2**20
"""Bytes that a batch on a CPU may take: beyond that, one window has more than enough work for all cores, and more of them are no faster."""

PROCESS = Path("/proc/self")

FELL_BACK = (
    "The GPU ran out of memory even for a single window, so the CPU was used. Close other programs that use the GPU, or use a model with "
    "smaller windows."
)


@dataclass
class Workplace:
    """Where a network computes windows, and how many at once. When memory runs out, it takes fewer, then the CPU.

    Attributes:
        network: On `device`; moved to the CPU when the device has no room for a single window.
        device: Where it computes now.
        batch: Windows at once; None finds out.
        steady: Whether batches are the same every time: not measured.
        fell_back: Whether the CPU had to be used.
    """

    network: torch.nn.Module
    device: torch.device
    batch: int | None = 1
    steady: bool = False
    fell_back: bool = False

    def run(
        self, items: Sequence[Item], dims: int, compute: Compute[Item, Result], *, layouts: bool = False
    ) -> Generator[tuple[Sequence[Item], Result], None, None]:
        """`compute` of all items, a batch at a time, in their order.

        Args:
            items: One for each window.
            dims: Spatial axes of the network.
            compute: Items, the device and the memory layout they are to be computed in -> result. Called again with fewer items, or another
                device, when memory runs out.
            layouts: Whether other memory layouts are tried.

        Raises:
            EngineError: `out-of-memory`, when there is no room for a single window on the CPU.
        """
        at_most = AT_MOST.get((self.device.type, dims), 1)
        if self.batch is None and (self.steady or at_most == 1):
            self.batch = 1 if self.device.type == "cpu" else min(UNKNOWN, at_most)
        layouts = layouts and not self.steady and self.device.type == "cpu"
        trial = Trial(dims, len(items), Way(self.batch or 1), layouts=layouts)
        try:
            yield from self._batches(items, dims, compute, trial, at_most)
        finally:
            lay_out(self.network, torch.contiguous_format, dims)

    def _batches(
        self, items: Sequence[Item], dims: int, compute: Compute[Item, Result], trial: Trial, at_most: int
    ) -> Iterator[tuple[Sequence[Item], Result]]:
        done, laid_out = 0, torch.contiguous_format
        while done < len(items):
            way = trial.way
            chunk = items[done : done + way.batch]
            if way.layout != laid_out:
                lay_out(self.network, way.layout, dims)
                laid_out = way.layout
                release_memory()  # blocks of one layout seldom fit the other
            try:
                start = perf_counter()
                if self.batch is None and len(items) > 1:
                    with _cost(self.device) as cost:
                        result = compute(chunk, self.device, way.layout)
                    self._found(fitting(free_memory_of(self.device), cost, at_most, self.device), trial)
                else:
                    result = compute(chunk, self.device, way.layout)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            else:
                trial.done(len(chunk), perf_counter() - start)
                self.batch = trial.way.batch
                yield chunk, result
                del result
                done += len(chunk)
                continue
            self._give_way(len(chunk), trial)  # out here, the error no longer holds what was computed

    def _found(self, fitting_batch: int, trial: Trial) -> None:
        """So many windows fit: a GPU takes them all, a CPU tries how many are fastest."""
        if self.device.type == "cpu":
            trial.at_most = fitting_batch
        else:
            trial.settle(Way(fitting_batch))

    def _give_way(self, tried: int, trial: Trial) -> None:
        """Half as many at once; then the CPU."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if tried > 1:
            self.batch = tried // 2
        elif self.device.type != "cpu":
            self.network.to("cpu")
            self.device, self.batch, self.fell_back = torch.device("cpu"), 1, True
            warnings.warn(FELL_BACK, stacklevel=4)
        else:
            raise EngineError(
                "out-of-memory",
                "There is not enough memory for a single window of this model. Close other programs, or use a model with smaller windows.",
            )
        trial.settle(replace(trial.way, batch=self.batch))


def fitting(free: int | None, cost: Sequence[int], at_most: int, device: torch.device) -> int:
    """Windows at once, given the free memory and what one window took, in bytes (empty where unknown)."""
    if free is None or not cost:
        return 1 if device.type == "cpu" else min(UNKNOWN, at_most)
    room = min(SHARE * free, TOGETHER) if device.type == "cpu" else SHARE * free
    return max(1, min(at_most, int(room / max(cost[0], 1))))


def free_memory_of(device: torch.device) -> int | None:
    """Bytes that can still be taken on a device; None where nobody says."""
    if device.type == "cuda":
        # What PyTorch keeps but does not use is free for it, too.
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    return free_memory() if device.type == "cpu" else None


@contextmanager
def _cost(device: torch.device) -> Iterator[list[int]]:
    """Collects the bytes that were taken at the highest while open; nothing where that cannot be known."""
    found: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield found
        found.append(torch.cuda.max_memory_allocated(device) - before)
    elif device.type == "cpu" and _reset_high_water_without_what_is_free():
        before = _kilobytes(PROCESS / "status", "VmRSS")
        yield found
        found.append((_kilobytes(PROCESS / "status", "VmHWM") - before) * 1024)
    else:
        yield found


def _reset_high_water_without_what_is_free() -> bool:
    """Linux counts the highest memory of a process anew; False where that cannot be had.

    What was kept and is free is given back, as it would be taken again without being seen: first, since Linux notes the highest memory when
    some of it is given back.
    """
    release_memory()
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _kilobytes(file: Path, name: str) -> int:
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
