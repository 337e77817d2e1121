"""How many windows are computed at once: as many as memory has room for, found out on the first; and what happens when it runs out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import free_memory, is_out_of_memory

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_MOST = {("cpu", 2): 8, ("cpu", 3): 1, ("cuda", 2): 64, ("cuda", 3): 8, ("mps", 2): 8, ("mps", 3): 1}
"""Windows at once, by kind of device and spatial axes: more would not be faster. One volumetric window keeps a processor busy."""

UNKNOWN = 4
"""Windows at once where nobody says how much memory there is."""

SHARE = 0.5
"""Of the free memory that a batch may take; the rest is for others, and for what windows differ in."""

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
        self, items: Sequence[Item], dims: int, compute: Callable[[Sequence[Item], torch.device], Result]
    ) -> Iterator[tuple[Sequence[Item], Result]]:
        """`compute` of all items, a batch at a time, in their order.

        Args:
            items: One for each window.
            dims: Spatial axes of the network.
            compute: Items and the device they are to be computed on -> result. Called again with fewer items, or another device, when
                memory runs out.

        Raises:
            EngineError: `out-of-memory`, when there is no room for a single window on the CPU.
        """
        done = 0
        at_most = AT_MOST.get((self.device.type, dims), 1)
        if self.batch is None and (self.steady or at_most == 1):
            self.batch = min(UNKNOWN, at_most)
        while done < len(items):
            chunk = items[done : done + (self.batch or 1)]
            try:
                if self.batch is None:
                    with _cost(self.device) as cost:
                        result = compute(chunk, self.device)
                    self.batch = fitting(free_memory_of(self.device), cost, at_most)
                else:
                    result = compute(chunk, self.device)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            else:
                yield chunk, result
                del result
                done += len(chunk)
                continue
            self._give_way(len(chunk))  # out here, the error no longer holds what was computed

    def _give_way(self, tried: int) -> None:
        """Half as many at once; then the CPU."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if tried > 1:
            self.batch = tried // 2
        elif self.device.type != "cpu":
            self.network.to("cpu")
            self.device, self.batch, self.fell_back = torch.device("cpu"), 1, True
            warnings.warn(FELL_BACK, stacklevel=3)
        else:
            raise EngineError(
                "out-of-memory",
                "There is not enough memory for a single window of this model. Close other programs, or use a model with smaller windows.",
            )


def fitting(free: int | None, cost: Sequence[int], at_most: int) -> int:
    """Windows at once, given the free memory and what one window took, in bytes (empty where unknown)."""
    if free is None or not cost:
        return min(UNKNOWN, at_most)
    return max(1, min(at_most, int(SHARE * free / max(cost[0], 1))))


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
    elif device.type == "cpu" and _reset_high_water():
        before = _kilobytes(PROCESS / "status", "VmRSS")
        yield found
        found.append((_kilobytes(PROCESS / "status", "VmHWM") - before) * 1024)
    else:
        yield found


def _reset_high_water() -> bool:
    """Linux counts the highest memory of a process anew; False where that cannot be had."""
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _kilobytes(file: Path, name: str) -> int:
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
