"""Batches as large as memory allows, and what happens when it runs out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from one_map import stitched_map
from rounding import close
from torch import nn

from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference import memory
from SegHiResCAMLib.engine.inference.memory import UNKNOWN, Workplace, fitting, free_memory_of
from SegHiResCAMLib.engine.inference.windows import plan_windows
from SegHiResCAMLib.engine.models.model import WindowSettings

CPU = torch.device("cpu")
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


class Cramped(nn.Module):
    """A network that has no room for more than some images at once."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__()
        self.features, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
        self.room, self.error, self.batches = room, error, list[int]()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        features = self.features(images)
        if len(images) > self.room:
            raise self.error
        return self.head(features)


def explained(network: nn.Module, batch: int | None, slices: int = 11) -> torch.Tensor:
    images = torch.randn(slices, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return stitched_map(
        network, images, torch.ones(slices, 8, 8), 1, "features", METHODS["seg-hires-grad-cam"],
        plan_windows((8, 8), WindowSettings()), batch=batch,
    ).values  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_batch_that_does_not_fit_is_halved_and_the_result_is_the_same(error: Exception) -> None:
    network = Cramped(3, error).double().eval()
    found = explained(network, 8)
    assert network.batches == [8, 4, 2, 2, 2, 2, 2, 1]
    network.room = 100
    assert close(found, explained(network, 1))


def test_where_not_even_one_window_fits_on_the_cpu_a_message_says_so() -> None:
    network = Cramped(0, ERRORS[0]).double().eval()
    with pytest.raises(EngineError, match="not enough memory for a single window") as raised:
        explained(network, 4)
    assert raised.value.code == "out-of-memory"
    assert not any(module._forward_hooks for module in network.modules())


def test_an_error_that_is_not_about_memory_is_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        explained(Cramped(0, RuntimeError("shapes do not fit")).double().eval(), 4)


def test_a_device_without_room_for_one_window_falls_back_to_the_cpu_and_says_so() -> None:
    """`compute` refuses everything on the device, as a network on a full one would."""
    asked: list[tuple[int, str]] = []

    def compute(chunk, device: torch.device, _layout: torch.memory_format) -> list[int]:
        asked.append((len(chunk), device.type))
        if device.type != "cpu":
            raise ERRORS[0]
        return list(chunk)

    workplace = Workplace(nn.Conv2d(1, 1, 1), torch.device("mps"), 4)
    with pytest.warns(UserWarning, match="the CPU was used"):
        found = [one for _, chunk in workplace.run(range(5), 2, compute) for one in chunk]
    assert found == list(range(5))
    assert asked[:4] == [(4, "mps"), (2, "mps"), (1, "mps"), (1, "cpu")]
    assert workplace.fell_back
    assert workplace.device == CPU


@pytest.mark.parametrize(
    ("device", "free", "cost", "expected"),
    [
        *((device, 10_000, [1000], 5) for device in ("cpu", "cuda")),
        *((device, 10_000, [100], 8) for device in ("cpu", "cuda")),
        *((device, 10_000, [9000], 1) for device in ("cpu", "cuda")),
        *((device, 9, [0], 4) for device in ("cpu", "cuda")),
        ("cuda", None, [100], UNKNOWN),
        ("mps", None, [], UNKNOWN),
        ("cpu", 10_000, [], 1),
        ("cuda", 2**36, [2**28], 8),
        ("cpu", 2**36, [2**27], 2),
        ("cpu", 2**36, [2**28], 1),
    ],
)
def test_half_of_the_free_memory_is_shared_out_and_on_a_cpu_no_more_than_is_of_use(
    device, free, cost, expected
) -> None:
    assert fitting(free, cost, 8, torch.device(device)) == expected


class Clocked(Cramped):
    """A network that moves the clock on for each batch and for each window, so that larger batches pay off or do not."""

    def __init__(self, patch: pytest.MonkeyPatch, per_batch: float, per_window: float) -> None:
        super().__init__(100, ERRORS[0])
        self.prices, self.now = (per_batch, per_window), 0.0
        patch.setattr(memory, "perf_counter", lambda: self.now)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.now += self.prices[0] + self.prices[1] * len(images)
        return super().forward(images)


def test_batches_grow_on_a_cpu_where_each_has_a_price(monkeypatch) -> None:
    network = Clocked(monkeypatch, 1.0, 0.0).double().eval()
    found = explained(network, None, 40)
    assert network.batches[:5] == [1, 1, 2, 4, 8]  # tiny images: memory has room for all
    assert network.batches[-1] == 8
    assert close(found, explained(network, 1, 40))


def test_windows_stay_alone_on_a_cpu_where_batches_gain_nothing(monkeypatch) -> None:
    network = Clocked(monkeypatch, 0.0, 1.0).double().eval()
    explained(network, None, 12)
    assert network.batches[:3] == [1, 1, 2]
    assert set(network.batches[3:]) == {1}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells what was taken at the highest")
def test_what_was_free_before_is_not_the_price_of_a_window() -> None:
    blocks = [bytearray(50_000) for _ in range(4000)]
    between = blocks[::500]  # so that the heap cannot simply shrink
    del blocks
    with memory._cost(CPU) as cost:
        pass
    assert cost[0] < 50_000 * 4000 / 4
    assert len(between) == 8


def test_a_second_walk_keeps_the_batches_of_the_first(monkeypatch) -> None:
    network = Clocked(monkeypatch, 1.0, 0.0).double().eval()
    images = torch.randn(24, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    stitched_map(
        network, images, torch.ones(24, 8, 8), 1, "features", METHODS["seg-grad-cam"],
        plan_windows((8, 8), WindowSettings()), batch=None,
    )  # fmt: skip
    assert network.batches == [1, 1, 2, 4, 8, 8, 8, 8, 8]


def test_free_memory_is_some_but_not_more_than_there_is() -> None:
    free = free_memory_of(CPU)
    assert free is None or 2**20 < free < 2**50


def test_a_steady_workplace_takes_the_same_batches_every_time() -> None:
    taken = []
    for _ in range(2):
        workplace = Workplace(nn.Conv2d(1, 1, 1), CPU, None, steady=True)
        taken.append([size for _, size in workplace.run(range(3), 2, lambda chunk, *_: len(chunk), layouts=True)])
    assert taken == [[1, 1, 1], [1, 1, 1]]
