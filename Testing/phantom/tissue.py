"""What a patient is made of: solids with an attenuation, laid over each other in order."""

from __future__ import annotations

from dataclasses import dataclass

from phantom.solids import Field, Solid

BACKGROUND, KIDNEY, TUMOUR, CYST = range(4)
"""Values of the label map."""

AIR, LUNG, FAT, MUSCLE = -1000.0, -850.0, -100.0, 55.0
"""Attenuation in Hounsfield units (HU)."""


@dataclass(frozen=True)
class Tissue:
    """One tissue.

    Attributes:
        solid: Where it is.
        hu: Its mean attenuation.
        mottle: Deviation of the attenuation within it (HU).
        pattern: The field that the attenuation follows; None: the pattern that all tissues share.
        label: Its value in the label map; None leaves the label that is there.
    """

    solid: Solid
    hu: float
    mottle: float = 0.0
    pattern: Field | None = None
    label: int | None = None
