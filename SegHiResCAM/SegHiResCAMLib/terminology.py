"""What segments are called in the field's vocabulary, and the colour each one is shown in; imports only the standard library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A coded concept as DICOM writes it, for example Code("SCT", "64033007", "Kidney")."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Terminology:
    """What a segment is: its category and type, and the body region it lies in where the type does not say."""

    category: Code
    type: Code
    region: Code | None = None


ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
LESION = Code("SCT", "49755003", "Morphologically Altered Structure")
KIDNEY = Code("SCT", "64033007", "Kidney")
NEOPLASM = Code("SCT", "108369006", "Neoplasm")
CYST = Code("SCT", "367643001", "Cyst")
SPLEEN = Code("SCT", "78961009", "Spleen")
LIVER = Code("SCT", "10200004", "Liver")

# Name in a model's labels, lower case -> what it is and its colour (RGB, 0 to 1).
# Organs have Slicer's own colours; lesions have strong ones that stand out against the grey image and an Inferno map.
KNOWN: dict[str, tuple[Terminology, tuple[float, float, float]]] = {
    "kidney": (Terminology(ANATOMY, KIDNEY), (0.725, 0.400, 0.325)),
    "tumour": (Terminology(LESION, NEOPLASM, KIDNEY), (0.180, 0.800, 0.443)),
    "tumor": (Terminology(LESION, NEOPLASM, KIDNEY), (0.180, 0.800, 0.443)),
    "cyst": (Terminology(LESION, CYST, KIDNEY), (0.204, 0.596, 0.859)),
    "spleen": (Terminology(ANATOMY, SPLEEN), (0.616, 0.424, 0.635)),
    "liver": (Terminology(ANATOMY, LIVER), (0.867, 0.510, 0.396)),
}
