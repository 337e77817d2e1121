"""Checking a map: a network of which it is known what it reads, and statistics that hold for maps of noise."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine.planted import planted, planted_volume
from monai.data import MetaTensor
from scipy import ndimage
from scipy.stats import binom
from tiny_bundle import noise, write_tiny_bundle
from torch import nn

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.cam.leaf import leaves_at, run_forward
from SegHiResCAMLib.engine.cam.tail import Tail
from SegHiResCAMLib.engine.errors import Cancelled
from SegHiResCAMLib.engine.evidence.counted_passes import CountedPasses
from SegHiResCAMLib.engine.evidence.map_check import check_map
from SegHiResCAMLib.engine.evidence.noise_test import display_window
from SegHiResCAMLib.engine.evidence.probe import Probe, probe_of
from SegHiResCAMLib.engine.evidence.removal_test import (
    highest,
    rank_among,
    removal_setting,
    removal_test,
    shift_test,
    shifts_of,
    try_fills,
)
from SegHiResCAMLib.engine.evidence.weights_test import drawn_again, similarity
from SegHiResCAMLib.engine.inference.segmentation import segment
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.progress import silent
from SegHiResCAMLib.records.check_lines import check_lines
from SegHiResCAMLib.records.json_form import from_json, to_json
from SegHiResCAMLib.records.map_check import MapCheck, check_values
from SegHiResCAMLib.records.regions import Sphere
from SegHiResCAMLib.records.result_tables import CHECK, tables_of

FEWEST = 1 / 20
"""The smallest p-value that 19 shifts can give."""


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> ExplainRequest:
    model = planted(tmp_path_factory.mktemp("planted"))
    return ExplainRequest.of(planted_volume(), model, "kidney", layer="reading")


@pytest.fixture(scope="module")
def probe(request_: ExplainRequest) -> Probe:
    return probe_of(request_, explain(request_), segment(request_.model, request_.volume), 0)


# --- A network that reads one cube ---


@pytest.mark.parametrize("method", ["seg-hires-grad-cam", "seg-integrated-hires-cam"])
def test_a_map_of_what_the_network_reads_ranks_above_all_shifts(request_: ExplainRequest, method: str) -> None:
    asked = replace(request_, question=replace(request_.question, method=method))
    found = check_map(asked, explain(asked))
    test = found.removal
    assert test.p == pytest.approx(FEWEST)
    assert test.deletion[test.at] < 0.1 < min(test.shifts)
    assert test.insertion_minus_deletion is not None
    assert test.insertion_minus_deletion > 0.9
    assert test.mask is not None
    assert test.mask < 0.1  # the network does not read its own segment


@pytest.mark.parametrize(("passes", "measured"), [(1, False), (60, True)])
def test_what_does_not_fit_into_the_passes_is_left_out_with_the_reason(
    request_: ExplainRequest, passes: int, measured: bool
) -> None:
    found = check_map(request_, explain(request_), passes=passes)
    assert (found.weights is not None, found.noise is not None) == (measured, measured)
    assert ("costs" in found.not_measured) is not measured


def test_a_map_of_anywhere_else_does_not(probe: Probe) -> None:
    elsewhere = torch.zeros_like(probe.pixel_set, dtype=torch.float32)
    elsewhere[0, 2:8, 22:28, 22:28] = 1
    found = removal_test(probe, elsewhere, 0, silent)
    assert found.p is not None
    assert found.p > 0.2
    assert found.deletion[found.at] > 0.9


def test_where_no_fill_removes_the_segment_nothing_is_measured(request_: ExplainRequest, probe: Probe) -> None:
    """Every fill is as bright as the cube, since all the volume is."""
    bright = replace(probe, prepared=replace(probe.prepared, image=MetaTensor(torch.full((1, 32, 32, 32), 100.0))))
    found = removal_test(bright, torch.rand(1, 32, 32, 32), 0, silent)
    assert found.p is None
    assert [one.fill for one in found.fills] == ["shell", "patch", "blur"]
    assert "no fill removes the segment" in found.reason
    record = replace(explain(request_).record(), check=MapCheck(removal=found, weights=None, noise=None))
    assert check_lines(record)[0].text.startswith("not measurable here")


def test_a_region_that_the_model_does_not_segment_is_not_measurable(request_: ExplainRequest) -> None:
    away = replace(request_, question=replace(request_.question, region=Sphere((25.0, 25.0, 25.0), 3.0)))
    found = check_map(away, explain(away))
    assert "does not segment" in found.removal.reason


def test_where_the_segment_goes_on_beyond_the_region_it_does_not_count(request_: ExplainRequest) -> None:
    """A ball in the middle of the segment: nothing is changed, so nothing of it is missing, and nothing is too much."""
    part_of_it = replace(request_, question=replace(request_.question, region=Sphere((11.5, 11.5, 11.5), 2.0)))
    probe = probe_of(part_of_it, explain(part_of_it), segment(request_.model, request_.volume), 0)
    setting = removal_setting(probe, silent)
    assert 0 < setting.segment.sum() < 6**3
    assert setting.dice_of(setting.passes.predict()) == 1


def test_openvino_finds_what_pytorch_finds(request_: ExplainRequest) -> None:
    pytest.importorskip("openvino")
    explained = explain(request_)
    by_pytorch = replace(explained, question=replace(explained.question, engine="torch"))
    by_openvino = replace(explained, question=replace(explained.question, engine="openvino"))
    assert probe_of(request_, by_openvino, segment(request_.model, request_.volume), 0).forward.engine.startswith(
        "OpenVINO"
    )
    # Whole numbers in the network, and labels far from ties: the same voxels in both.
    assert check_map(request_, by_openvino) == check_map(request_, by_pytorch)


def test_passes_are_counted_and_never_more_than_45(request_: ExplainRequest) -> None:
    request_ = replace(request_, question=replace(request_.question, engine="torch"))
    network, counted = request_.model.network, []
    explained = explain(request_)
    # Layers are listed on copies without values, on the meta device.
    handle = network.register_forward_hook(lambda _m, inputs, _o: counted.extend([1] * (not inputs[0].is_meta)))
    found = check_map(request_, explained)
    handle.remove()
    assert found.forward_passes == len(counted)  # one window
    # Own map, unchanged image, fills, 4 sizes twice, two other orders twice, shifts, and maps of other weights and of noise.
    tests = [found.weights.similarities if found.weights else (), found.noise.changes if found.noise else ()]
    expected = 1 + 1 + len(found.removal.fills) + 8 + 4 + len(found.removal.shifts) + sum(map(len, tests))
    assert found.forward_passes == expected <= 45


def test_a_tail_counts_as_its_share_of_a_pass() -> None:
    """Three convolutions that multiply 9, 18 and 2 times at each of 64 positions; the tail of the first one is the other two."""
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, 1)).eval()
    inputs, counted = torch.randn(2, 1, 8, 8), CountedPasses(network)
    with counted.counting(), leaves_at(network, ["0"]) as (leaf,), torch.no_grad():
        run_forward(network, [leaf], inputs)
        assert counted.windows == 2
        tail = Tail(network, leaf, lambda: run_forward(network, [leaf], inputs))
        with tail.starting_from(leaf.reached()):
            run_forward(network, [leaf], inputs)
        head = 9 / 29  # which runs once more, for what the tail needs
        assert counted.windows == pytest.approx(2 * (1 + head + 20 / 29))
        with tail.starting_from(leaf.reached()):
            run_forward(network, [leaf], inputs)
        assert counted.windows == pytest.approx(2 * (1 + head + 40 / 29))
    counted.add(3)
    network(inputs)  # after the block
    assert counted.windows == pytest.approx(3 + 2 * (1 + head + 40 / 29))


def test_maps_of_other_weights_are_integrated_by_as_many_steps_as_the_map(request_: ExplainRequest) -> None:
    asked = replace(request_, question=replace(request_.question, method="seg-integrated-hires-cam"))
    explained, found = explain(asked), segment(asked.model, asked.volume)
    assert explained.path_integral is not None
    calls: list[int] = []
    for steps in (2, 8):
        probe = probe_of(
            asked, replace(explained, path_integral=replace(explained.path_integral, steps=steps)), found, 0
        )
        counted: list[object] = []
        handle = asked.model.network.register_forward_pre_hook(lambda *_, to=counted: to.append(1))
        probe.signed_map(probe.stack)
        handle.remove()
        calls.append(len(counted))
    assert calls[1] - calls[0] == 6


def test_the_same_seed_gives_the_same_check(request_: ExplainRequest) -> None:
    explained = explain(request_)
    assert check_map(request_, explained, seed=4) == check_map(request_, explained, seed=4)


# --- Maps of noise ---


def test_p_values_of_maps_of_noise_are_no_smaller_than_they_may_be(tmp_path: Path) -> None:
    """Smooth noise marks the cube by chance alone, so that P(p <= a) <= a + 1 / (K + 1)."""
    shape = (32, 16, 16)
    request = ExplainRequest.of(planted_volume(shape), planted(tmp_path, shape), "kidney", layer="reading")
    probe = probe_of(request, explain(request), segment(request.model, request.volume), 0)
    setting = removal_setting(probe, silent)
    try_fills(setting, 0, silent)
    size = 8 * int(setting.segment.sum())  # a share of the volume that often meets the cube
    found = []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        values = ndimage.gaussian_filter(generator.normal(size=(1, *shape)), (0, 3, 3, 3), mode="wrap")
        own = setting.dice(highest(values, size, generator), silent)
        _, planned, p = shift_test(setting, values, own, size, generator, silent)
        assert planned == 19
        found.append(p)
    assert len(set(found)) > 5  # they are not all alike, or this would say nothing
    for level in (0.05, 0.1, 0.2, 0.5):
        assert np.mean(np.array(found) <= level) <= level + FEWEST


def test_a_rank_is_uniform_for_statistics_that_are_all_alike() -> None:
    """The map's own statistic and those of its copies come from one distribution; a limit that chance passes once in a million."""
    generator = np.random.default_rng(0)
    values = [rank_among(generator.normal(), [(0,)] * 19, lambda _shift: generator.normal())[1] for _ in range(2000)]
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert np.sum(np.array(values) <= level) <= binom.ppf(1 - 1e-6, 2000, level)
    assert np.sum(np.array(values) <= 0.25) >= binom.ppf(1e-6, 2000, 0.25)


def test_drawing_stops_at_the_fifth_copy_that_does_as_well() -> None:
    statistics = iter([1.0, 3.0, 1.0, 2.0, 4.0, 0.0, 5.0, 9.0, 9.0])
    drawn, p = rank_among(2.0, [(0,)] * 19, lambda _shift: next(statistics))
    assert drawn == [1.0, 3.0, 1.0, 2.0, 4.0, 0.0, 5.0, 9.0]
    assert p == 5 / 8
    assert rank_among(2.0, [(0,)] * 19, lambda _shift: 0.0)[1] == FEWEST
    assert rank_among(2.0, [(0,)] * 19, lambda _shift: 2.0) == ([2.0] * 5, 1.0)


def test_shifts_are_different_whole_spacings_round_the_box_and_never_zero() -> None:
    found = shifts_of((32, 24, 20), (32, 24, 16), (8, 6, 4), 200, np.random.default_rng(0))
    assert len(set(found)) == len(found) == 200
    assert (0, 0, 0) not in found
    assert all(a % 4 == b % 4 == c % 4 == 0 for a, b, c in found)
    assert len(shifts_of((8, 8), (8, 8), (2, 2), 19, np.random.default_rng(0))) == 3


def test_the_highest_are_chosen_and_ties_at_random() -> None:
    values = np.array([[3.0, 1.0, 1.0], [1.0, 0.0, 5.0]])
    chosen = [highest(values, 3, np.random.default_rng(seed)) for seed in range(20)]
    assert all(one.sum() == 3 and one[0, 0] and one[1, 2] for one in chosen)
    assert len({one.tobytes() for one in chosen}) == 3


# --- Weights and noise ---


def test_weights_are_put_back_bit_for_bit() -> None:
    module = torch.nn.Conv2d(3, 4, 3)
    before = [one.detach().clone() for one in module.parameters()]
    with drawn_again([module], 1):
        assert not torch.equal(module.weight, before[0])
        # 108 numbers: their mean is off by less than 5 standard errors.
        assert float(module.weight.detach().mean() - before[0].mean()) == pytest.approx(
            0, abs=5 * float(before[0].std()) / 108**0.5
        )
    assert all(torch.equal(one, kept) for one, kept in zip(module.parameters(), before, strict=True))


def test_similarity_is_that_of_ranks(probe: Probe) -> None:
    values = torch.randn(1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    assert similarity(probe, values, values.exp()) == pytest.approx(1)
    assert similarity(probe, values, -values) == pytest.approx(-1)
    assert similarity(probe, values, torch.zeros_like(values)) == 0


def test_the_display_window_of_a_ct_is_400_hu_and_else_that_of_its_values() -> None:
    assert display_window(np.array([-1000.0, 50.0])) == 400
    assert display_window(np.linspace(0, 100, 10001)) == pytest.approx(98)


def test_every_image_has_noise_of_its_own_size(tmp_path: Path) -> None:
    tiny = open_model(write_tiny_bundle(tmp_path / "bundle"))
    network = torch.nn.Sequential(torch.nn.Conv3d(2, 2, 1), torch.nn.Conv3d(2, 3, 1)).eval().requires_grad_(False)
    for layer, weights in zip(network, ([[1.0, 0], [0, 0.01]], [[0.0, 0], [1, 1], [0, -1]]), strict=True):
        layer.weight[:] = torch.tensor(weights).view(layer.weight.shape)
        layer.bias[:] = 0
    model = replace(tiny, network=network, in_channels=2, inputs=("T1", "T2"))
    values = np.stack([noise((20, 18, 22)), 100 * noise((20, 18, 22))])
    volume = MetaTensor(torch.from_numpy(values), affine=torch.eye(4, dtype=torch.float64))
    request = ExplainRequest.of(volume, model, "kidney")
    found = check_map(request, explain(request)).noise
    assert found is not None
    assert found.standard_deviations[1] == pytest.approx(100 * found.standard_deviations[0], rel=1e-5)


def test_where_noise_moves_the_grid_the_check_says_so(
    request_: ExplainRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("SegHiResCAMLib.engine.evidence.noise_test.is_same_grid", lambda *_: False)
    explained = explain(request_)
    found = check_map(request_, explained)
    assert found.noise is None
    lines = check_lines(replace(explained, check=found).record())
    assert next(one.text for one in lines if one.title == "Stable").startswith("not measured: noise changes the grid")


def test_a_map_of_a_linear_tail_changes_as_its_input_does(request_: ExplainRequest) -> None:
    """The map of the planted network is its input above 50 at the cube, 50 in mean, and all noise is 2 % of the window."""
    found = check_map(request_, explain(request_)).noise
    assert found is not None
    # The layer's input has a standard deviation of 5 at 216 voxels of about 50; noise of less than 1 cannot change it by more than a few per cent.
    assert 0 < max(found.changes) < 0.1


# --- Slices, records, command ---


def test_eight_slices_of_a_slice_wise_network_are_checked_spread_over_the_region(tmp_path: Path) -> None:
    model = open_model(write_tiny_bundle(tmp_path / "bundle", spatial_dims=2))
    volume = MetaTensor(torch.from_numpy(noise((20, 18, 40)))[None], affine=torch.eye(4, dtype=torch.float64))
    request = ExplainRequest.of(volume, model, "kidney")
    explained = explain(request)
    found = check_map(request, explained)
    assert len(found.slices) == 8
    assert found.slices_explained == 40
    assert np.diff(found.slices).tolist() == [5] * 7
    assert found.forward_passes <= 45


def test_a_check_without_a_segmentation_is_refused_and_one_can_be_cancelled(request_: ExplainRequest) -> None:
    explained = explain(request_)

    def cancel(_fraction: float, _text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        check_map(request_, explained, progress=cancel)


def test_a_check_travels_as_json_and_as_a_table(request_: ExplainRequest) -> None:
    explained = explain(request_)
    found = check_map(request_, explained)
    assert from_json(MapCheck, to_json(found)) == found
    values = {one.quantity: one.value for one in check_values("seg-hires-grad-cam", found)}
    assert values["p"] == found.removal.p
    assert values["forward passes"] == found.forward_passes
    lines = check_lines(replace(explained, check=found).record())
    assert 4 <= len(lines) <= 6
    assert len({one.title for one in lines}) == len(lines)
    assert all(one.meaning for one in lines)


def test_the_table_has_the_checks_of_all_methods_that_are_compared(request_: ExplainRequest) -> None:
    first = explain(request_)
    other = explain(replace(request_, question=replace(request_.question, method="seg-layer-cam")))
    checked = [replace(one, check=check_map(request_, one)).record() for one in (first, other)]
    table = tables_of(replace(checked[0], compared_with=(checked[1],)))[CHECK]
    rows = list(csv.DictReader(table.splitlines()))
    found = {row["method"]: float(row["value"]) for row in rows if row["quantity"] == "p"}
    assert found == {one.question.method: one.check.removal.p for one in checked if one.check}
    assert list(found) == ["seg-hires-grad-cam", "seg-layer-cam"]


def test_sections_of_the_lines_are_in_the_documentation(request_: ExplainRequest) -> None:
    explained = explain(request_)
    lines = check_lines(replace(explained, check=check_map(request_, explained)).record())
    page = (Path(__file__).parents[2] / "docs/evidence.md").read_text(encoding="utf-8")
    headings = {line.lstrip("# ").casefold().replace(" ", "-") for line in page.splitlines() if line.startswith("#")}
    assert {one.section for one in lines} <= headings
