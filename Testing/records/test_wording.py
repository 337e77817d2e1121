"""How a heat map's record is put into words."""

from __future__ import annotations

import pytest

from SegHiResCAMLib.records.evidence import SegmentChange
from SegHiResCAMLib.records.wording import change_words, number


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 3, "0"), (45.94, 3, "45.9"), (0.00373, 3, "0.00373"), (3e-12, 3, "3×10⁻¹²"), (-0.5, 3, "-0.5"),
        (999.4, 3, "999"), (999.6, 3, "1000"), (1234.5678, 4, "1235"), (999.96, 4, "1000"), (9999.6, 4, "10000"),
        (-255300.4, 3, "-255300"), (9_999_999, 3, "9999999"), (1.2249e7, 3, "1.22×10⁷"), (float("inf"), 3, "inf"),
    ],
)  # fmt: skip
def test_a_number_is_written_as_people_write_it(value: float, digits: int, text: str) -> None:
    assert number(value, digits) == text


def test_a_large_volume_and_a_large_score_are_written_out() -> None:
    change = SegmentChange("liver", 1533.2, 12.04, 0.0153, 86480.0, -255300.0)
    assert (
        change_words(change)
        == "liver: 1533 ml before, 12 ml afterwards, Dice 0.02, score 86480 before, -255300 afterwards"
    )
