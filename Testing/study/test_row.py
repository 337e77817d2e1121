"""A row has whatever an explanation's record has."""

from __future__ import annotations

from dataclasses import replace

from a_record import a_record

from SegHiResCAMLib.records.explanation import Finding, Measurements
from SegHiResCAMLib.records.map_check import FillTrial, MapCheck, NoiseTest, RemovalTest, WeightsTest
from SegHiResCAMLib.records.mistakes import Agreement, Comparison
from SegHiResCAMLib.records.region_shares import RegionShare
from SegHiResCAMLib.study.row import row_of


def a_full_record(method: str, segment: str, score: float):  # type: ignore[no-untyped-def]
    agreements = (Agreement("kidney", 0.9, 1.0, 3.0, 100, 110), Agreement("tumour", None, None, None, 0, 0))
    return replace(
        a_record(method, segment, score=score, voxel_count=7, peak_ras_mm=(1.0, -2.0, 3.0)),
        findings=(Finding("grid-coarse", "x"), Finding("probability-low", "y")),
        measurements=Measurements(0.5, None, 0.7, 3.0, None, 2.0, 1.0),
        regions=(RegionShare("liver", "region", 1000, 0.1, 0.25, None, 2.5),),
        comparison=Comparison(agreements, (), 2),
    )


def test_one_segment_and_method_has_plain_columns() -> None:
    row = row_of([a_full_record("m", "kidney", 12.5)])
    assert (row["score"], row["voxel_count"], row["peak_a_mm"]) == (12.5, 7, -2.0)
    assert (row["share_inside"], row["share_within_5_mm"], row["share_within_10_mm"]) == (0.5, None, 0.7)
    assert row["findings"] == "grid-coarse probability-low"
    assert (row["regions.liver.positive"], row["regions.liver.negative"]) == (0.25, None)
    assert (row["dice.kidney"], row["dice.tumour"], row["hausdorff_95_mm.kidney"], row["mistakes"]) == (
        0.9,
        None,
        3.0,
        2,
    )
    assert not {"question", "timings_s", "versions", "regions.liver.part"} & set(row)
    assert not {"check", "input_shares", "path_integral"} & set(row), "nobody asked for them"
    assert row["mean_probability"] is None, "a number that is not known has its column"


def test_a_check_has_columns_of_what_is_said_of_it_whether_all_of_it_was_measured_or_not() -> None:
    removal = RemovalTest((FillTrial("shell", 0.0),), deletion=(0.5, 0.25), insertion=(0.75, 0.125), at=1, p=0.1)
    check = MapCheck(
        removal=removal,
        weights=WeightsTest(("a", "b"), (0.9, -0.25)),
        noise=NoiseTest((2.0,), (0.125, 0.375), (0.5, 1.0)),
    )
    row = row_of([replace(a_full_record("m", "kidney", 1.0), check=check)])
    found = {name: value for name, value in row.items() if name.startswith("check.")}
    assert found["check.removal.p"] == 0.1
    assert found["check.removal.insertion_minus_deletion"] == -0.125
    assert (found["check.weights.similarity"], found["check.noise.similarity"], found["check.noise.change"]) == (
        *(-0.25, 0.75),
        0.25,
    )
    less = replace(check, weights=None, noise=None, removal=replace(removal, p=None), not_measured="a reason")
    other = row_of([replace(a_full_record("m", "kidney", 1.0), check=less)])
    assert other.keys() == row.keys()
    assert other["check.weights.similarity"] is other["check.removal.insertion_minus_deletion"] is None


def test_further_segments_and_methods_stand_before_their_columns() -> None:
    other = replace(
        a_full_record("m", "kidney", 2.0), question=replace(a_record("m", "kidney").question, method="seg-grad-cam")
    )
    first = replace(a_full_record("m", "kidney", 1.0), compared_with=(other,))
    row = row_of([first, a_full_record("m", "tumour", 3.0)])
    assert (row["kidney.score"], row["kidney.seg-grad-cam.score"], row["tumour.score"]) == (1.0, 2.0, 3.0)
    assert "score" not in row
    assert row["dice.kidney"] == 0.9


def test_a_blank_map_has_no_peak_in_the_columns_of_one() -> None:
    first = a_full_record("m", "kidney", 1.0)
    assert first.measurements is not None
    blank = replace(first, measurements=replace(first.measurements, peak_ras_mm=None))
    row = row_of([blank])
    assert "peak_ras_mm" not in row
    assert row.keys() == row_of([first]).keys()
