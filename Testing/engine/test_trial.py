"""Batch size and memory layout are tried on a job's first batches and then kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from SegHiResCAMLib.engine.inference.trial import CHANNELS_LAST, Trial, Way, lay_out

OWN, LAST = torch.contiguous_format, torch.channels_last_3d


def ways(windows: int, seconds: Callable[[Way], float], at_most: int = 1, layouts: bool = True) -> list[Way]:
    """The ways of all batches of a job, each of whose windows takes `seconds`."""
    trial, taken, left = Trial(3, windows, Way(), layouts=layouts), [], windows
    while left > 0:
        way = trial.way
        taken.append(way)
        batch = min(way.batch, left)
        left -= batch
        trial.at_most = at_most  # known once one window has been computed
        trial.done(batch, batch * seconds(way))
    return taken


@pytest.mark.parametrize("slow", [OWN, LAST])
def test_the_faster_layout_is_kept(slow: torch.memory_format) -> None:
    fast = LAST if slow == OWN else OWN
    used = [way.layout for way in ways(12, lambda way: 2.0 if way.layout == slow else 1.0)]
    assert used[:3] == [OWN, OWN, LAST]  # the very first is no measure
    assert set(used[3:]) == {fast}


def test_a_short_job_keeps_pytorchs_own_layout() -> None:
    assert {way.layout for way in ways(3, lambda _: 1.0)} == {OWN}


def test_batches_grow_while_larger_ones_are_faster() -> None:
    pace = {1: 1.0, 2: 0.6, 4: 0.4, 8: 0.39}
    batches = [way.batch for way in ways(100, lambda way: pace[way.batch], 8, layouts=False)]
    assert batches[:5] == [1, 1, 2, 4, 8]
    assert set(batches[5:-1]) == {4}  # 8 gained too little for what it takes


def test_no_batch_is_larger_than_memory_has_room_for() -> None:
    assert max(way.batch for way in ways(100, lambda way: 1.0 / way.batch, 4)) == 4


def test_large_windows_stay_alone() -> None:
    assert {way.batch for way in ways(20, lambda _: 1.0, 8) if way.layout == LAST} <= {1}
    assert [way.batch for way in ways(20, lambda _: 1.0, 8)].count(2) == 1


def test_what_is_settled_is_not_compared_further() -> None:
    trial = Trial(2, 50, Way(), layouts=True)
    trial.settle(Way(4))
    for _ in range(3):
        trial.done(4, 1.0)
        assert trial.way == Way(4)


@pytest.mark.parametrize("dims", [2, 3])
def test_weights_of_convolutions_take_the_layout_with_the_same_values(dims: int) -> None:
    network = (torch.nn.Conv2d if dims == 2 else torch.nn.Conv3d)(2, 3, 3)
    before = network.weight.detach().clone()
    lay_out(network, CHANNELS_LAST[dims], dims)
    assert network.weight.is_contiguous(memory_format=CHANNELS_LAST[dims])
    assert torch.equal(network.weight, before)
