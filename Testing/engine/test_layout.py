"""The memory layout is tried on a job's first batches and then kept."""

from __future__ import annotations

import time

import pytest
import torch

from SegHiResCAMLib.engine.cam.layout import LayoutTrial


def layouts(batches: int, slow: torch.memory_format) -> list[torch.memory_format]:
    network = torch.nn.Conv3d(2, 3, 3)
    trial, used = LayoutTrial(network, 3, batches), []
    for _ in range(batches):
        with trial.batch(1) as layout:
            used.append(layout)
            assert network.weight.is_contiguous(memory_format=layout)
            time.sleep(0.02 if layout == slow else 0.0)
    trial.put_back()
    assert network.weight.is_contiguous()
    return used


@pytest.mark.parametrize("slow", [torch.contiguous_format, torch.channels_last_3d])
def test_the_faster_layout_is_kept(slow: torch.memory_format) -> None:
    fast = torch.channels_last_3d if slow == torch.contiguous_format else torch.contiguous_format
    used = layouts(12, slow)
    assert used[:2] == [torch.contiguous_format, torch.channels_last_3d]
    assert set(used[2:]) == {fast}


def test_a_short_job_keeps_pytorchs_own_layout() -> None:
    assert set(layouts(2, torch.contiguous_format)) == {torch.contiguous_format}
