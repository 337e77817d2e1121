"""Labels get the field's codes, and no others."""

from __future__ import annotations

import pytest
from pydicom.sr._concepts_dict import concepts
from refusals import refusal

from SegHiResCAMLib.engine.models.labels import (
    described_background,
    described_labels,
    named_label,
    with_regions,
)
from SegHiResCAMLib.terminology import KNOWN, LEFT, RIGHT, terminology_by_code, terminology_of

MEANINGS = {code: meaning for entry in concepts["SCT"].values() for code, (meaning, _) in entry.items()}
"""SNOMED CT as DICOM's own context groups have it."""

ALSO_CALLED = {
    "108369006": "tumor",
    "51114001": "arterial",
    "46027005": "iliac vein",
    "29092000": "venous",
    "78961009": "splenic",
    "15825003": "aortic",
}


@pytest.mark.parametrize("name", KNOWN)
def test_every_code_means_in_dicom_what_it_means_here(name: str) -> None:
    """By the stem of its longest word: DICOM's meaning of 15776009 is "Pancreatic structure"."""
    code = KNOWN[name][0].type
    word = max(ALSO_CALLED.get(code.value, code.meaning).casefold().split(), key=len)
    assert word[:5] in MEANINGS[code.value].casefold()
    assert KNOWN[name][0].category.value in MEANINGS


@pytest.mark.parametrize(
    ("name", "code", "side"),
    [
        ("Kidney", "64033007", None),
        ("kidneys", "64033007", None),
        ("kidney_left", "64033007", LEFT),
        ("Right Kidney", "64033007", RIGHT),
        ("vertebrae_L5", "49668003", None),
        ("lung_upper_lobe_left", "45653009", LEFT),
        ("heart_atrium_left", "82471001", None),
        ("TUMOR", "108369006", None),
        ("neoplasm", "108369006", None),
        ("cyst", "367643001", None),
        ("tools", "57134006", None),
    ],
)
def test_names_as_models_write_them_are_understood(name: str, code: str, side: object) -> None:
    found, _ = terminology_of(name)
    assert (found.type.value, found.modifier) == (code, side)


@pytest.mark.parametrize(
    "name", ["", "class 1", "left", "left right kidney", "Whole tumor", "renal pelvis", "kidney 2"]
)
def test_names_that_are_not_known_get_no_code(name: str) -> None:
    assert terminology_of(name) is None


def test_a_lesion_lies_in_the_organ_that_its_name_tells() -> None:
    found, _ = terminology_of("liver tumour")
    assert (found.type.value, found.region.value) == ("108369006", "10200004")


def test_a_lesion_lies_in_the_one_organ_that_the_model_outlines() -> None:
    kidney, tumour, spleen = (
        named_label(name, value, value) for value, name in enumerate(("kidney", "tumour", "spleen"), 1)
    )
    assert with_regions([kidney, tumour])[1].terminology.region.value == "64033007"
    assert with_regions([kidney, tumour, spleen])[1].terminology.region is None
    assert with_regions([tumour])[0].terminology.region is None


def test_a_code_that_is_not_known_here_keeps_the_models_own_name() -> None:
    found, color = terminology_by_code("17373004", "Cisterna chyli")
    assert (found.type.value, found.type.meaning, color) == ("17373004", "Cisterna chyli", None)
    assert terminology_by_code("78961009", "x") == KNOWN["spleen"]


@pytest.mark.parametrize(
    ("names", "background", "expected"),
    [
        (["kidney", "tumour"], 0, [("kidney", 1, 1), ("tumour", 2, 2)]),
        (["kidney", "tumour", "background"], 2, [("kidney", 1, 0), ("tumour", 2, 1)]),
        (["kidney", "background", "tumour"], 1, [("kidney", 1, 0), ("tumour", 2, 2)]),
        (["Background", "kidney", "tumour"], 0, [("kidney", 1, 1), ("tumour", 2, 2)]),
    ],
)
def test_a_description_may_name_the_background_wherever_it_is(
    names: list[str], background: int, expected: list[tuple[str, int, int]]
) -> None:
    described = [{"name": name} for name in names]
    labels = described_labels(described, 3, "softmax", "model.json")
    assert [(label.name, label.value, label.channel) for label in labels] == expected
    assert described_background(described) == background


def test_a_description_of_the_background_alone_is_refused() -> None:
    error = refusal(lambda: described_labels([{"name": "background"}], 2, "softmax", "model.json"))
    assert error.code == "description-wrong"
