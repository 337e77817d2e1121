"""What is written around the panels of a figure."""

from __future__ import annotations

import pytest
from a_record import a_record

from SegHiResCAMLib.patient_places import place
from SegHiResCAMLib.records.explanation import Finding
from SegHiResCAMLib.scene import captions
from SegHiResCAMLib.scene.captions import shortened

WARNING = (
    "Mean probability of the tumour here is 21 %: the network does not predict it in this region. The map shows the evidence in favour, "
    "which did not prevail. The grid spacing of layer 'encoder.3' is 32 mm, and the tumour is 11 mm across."
)


class _Page:
    """Keeps what is written onto it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def text(self, _x: float, _y: float, text: str, *_style: object) -> None:
        self.lines.append(text)


def test_a_text_without_room_ends_after_a_whole_word() -> None:
    for room in range(len("Mean …"), len(WARNING)):
        written = shortened(WARNING, room)
        assert len(written) <= room
        assert WARNING.startswith(f"{written.removesuffix(' …')} ")


def test_a_text_with_room_is_whole() -> None:
    assert shortened(WARNING, len(WARNING)) == WARNING


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_a_warning_under_a_figure_is_cut_between_words(monkeypatch: pytest.MonkeyPatch, lines: int) -> None:
    record = a_record(findings=(Finding("warning", WARNING),))
    monkeypatch.setattr(captions, "explanation_of", lambda _heatmap: record)
    page = _Page()
    captions.notes(page, None, 0, 0, 420, lines)  # type: ignore[arg-type]
    assert len(page.lines) == lines
    assert page.lines[-1].endswith(" …")
    assert WARNING.startswith(" ".join(page.lines).removesuffix(" …") + " ")
    assert max(map(len, page.lines)) <= 420 // 7


@pytest.mark.parametrize(
    ("ras", "written"),
    [
        ((-103.3, -177.2, 98.4), "L 103, P 177, S 98 mm"),
        ((31.6, 12.0, -845.1), "R 32, A 12, I 845 mm"),
        ((-0.4, 0.4, 0.0), "R 0, A 0, S 0 mm"),
    ],
)
def test_a_place_in_the_patient_has_letters_and_positive_numbers(ras: tuple[float, float, float], written: str) -> None:
    assert place(ras) == written
