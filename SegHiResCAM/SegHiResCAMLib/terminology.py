"""What segments are called in the field's vocabulary, and the colour each one is shown in; imports only the standard library."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

Color = tuple[float, float, float]
"""RGB, each 0 to 1."""


@dataclass(frozen=True)
class Code:
    """A coded concept as DICOM writes it, for example Code("SCT", "64033007", "Kidney")."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Terminology:
    """What a segment is: its category and type, the body region it lies in where the type does not say, and which of a pair it is."""

    category: Code
    type: Code
    region: Code | None = None
    modifier: Code | None = None


_CATEGORIES = "Segmentation category and type - DICOM master list"
_REGIONS = "Anatomic codes - DICOM master list"

ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
LESION = Code("SCT", "49755003", "Morphologically Altered Structure")
OBJECT = Code("SCT", "260787004", "Physical object")
LEFT = Code("SCT", "7771000", "Left")
RIGHT = Code("SCT", "24028007", "Right")
_SIDES = {"left": LEFT, "right": RIGHT}

# Organs and bones have Slicer's own colours; lesions have strong ones that stand out against the grey image and an Inferno map.
_ANATOMY: tuple[tuple[str, str, Color, str], ...] = (
    ("64033007", "Kidney", (0.725, 0.400, 0.325), "kidney"),
    ("78961009", "Spleen", (0.616, 0.424, 0.635), "spleen"),
    ("10200004", "Liver", (0.867, 0.510, 0.396), "liver"),
    ("15776009", "Pancreas", (0.976, 0.706, 0.435), "pancreas"),
    ("28231008", "Gallbladder", (0.545, 0.588, 0.380), "gallbladder, gall bladder"),
    ("69695003", "Stomach", (0.847, 0.518, 0.412), "stomach"),
    ("38848004", "Duodenum", (1.000, 0.992, 0.898), "duodenum"),
    ("30315005", "Small intestine", (0.804, 0.655, 0.557), "small bowel, small intestine"),
    ("71854001", "Colon", (1.000, 0.812, 0.510), "colon"),
    ("34402009", "Rectum", (0.918, 0.647, 0.459), "rectum"),
    ("32849002", "Esophagus", (0.827, 0.671, 0.561), "esophagus, oesophagus"),
    ("44567001", "Trachea", (0.714, 0.894, 1.000), "trachea"),
    ("39607008", "Lung", (0.773, 0.647, 0.569), "lung"),
    ("45653009", "Upper lobe of lung", (0.675, 0.541, 0.451), "lung upper lobe"),
    ("40020002", "Middle lobe of lung", (0.792, 0.643, 0.549), "lung middle lobe"),
    ("90572001", "Lower lobe of lung", (0.878, 0.729, 0.635), "lung lower lobe"),
    ("23451007", "Adrenal gland", (0.957, 0.729, 0.588), "adrenal gland, adrenal"),
    ("87953007", "Ureter", (0.882, 0.776, 0.357), "ureter"),
    ("89837001", "Urinary bladder", (0.871, 0.604, 0.518), "urinary bladder, bladder"),
    ("41216001", "Prostate", (0.902, 0.620, 0.549), "prostate"),
    ("279706003", "Peripheral zone of prostate", (0.698, 0.522, 0.769), "peripheral zone"),
    ("399384005", "Transition zone of prostate", (0.902, 0.620, 0.549), "transition zone"),
    ("35039007", "Uterus", (1.000, 0.714, 0.624), "uterus"),
    ("15825003", "Aorta", (0.878, 0.380, 0.298), "aorta"),
    ("64131007", "Inferior vena cava", (0.000, 0.592, 0.808), "inferior vena cava, vena cava, ivc"),
    ("32764006", "Portal vein", (0.000, 0.592, 0.808), "portal vein"),
    ("81040000", "Pulmonary artery", (0.000, 0.478, 0.671), "pulmonary artery"),
    ("73634005", "Common iliac artery", (0.847, 0.396, 0.310), "iliac artery"),
    ("46027005", "Common iliac vein", (0.000, 0.565, 0.773), "iliac vein, iliac vena"),
    ("51114001", "Artery", (0.847, 0.396, 0.310), "artery"),
    ("29092000", "Vein", (0.000, 0.592, 0.808), "vein"),
    ("82471001", "Left atrium", (0.753, 0.408, 0.345), "heart atrium left, left atrium, atrium left"),
    ("73829009", "Right atrium", (0.749, 0.451, 0.561), "heart atrium right, right atrium, atrium right"),
    ("87878005", "Left ventricle", (0.596, 0.216, 0.051), "heart ventricle left, left ventricle, lv, lv pool"),
    ("53085002", "Right ventricle", (0.710, 0.333, 0.224), "heart ventricle right, right ventricle, rv, rv pool"),
    ("12738006", "Brain", (0.980, 0.980, 0.882), "brain"),
    ("2748008", "Spinal cord", (0.957, 0.839, 0.192), "spinal cord"),
    ("69748006", "Thyroid gland", (0.243, 0.635, 0.447), "thyroid, thyroid gland"),
    ("71341001", "Femur", (1.000, 0.933, 0.667), "femur"),
    ("85050009", "Humerus", (0.800, 0.651, 0.525), "humerus"),
    ("79601000", "Scapula", (0.831, 0.722, 0.565), "scapula"),
    ("51299004", "Clavicle", (0.835, 0.635, 0.420), "clavicle, clavicula"),
    ("54735007", "Sacrum", (0.898, 0.800, 0.655), "sacrum"),
    ("113197003", "Rib", (0.992, 0.910, 0.620), "rib"),
    ("51282000", "Vertebra", (0.855, 0.780, 0.612), "vertebra, vertebrae"),
)
_VERTEBRAE = {
    "C": "14806007 39976000 113205007 5329002 36978003 36054005 87391001",
    "T": "64864005 53733008 1626008 73071006 56401006 45296009 62487009 11068009 82687006 7610001 12989004 23215003",
    "L": "66794005 14293000 36470004 11994002 49668003",
}

_LESIONS: tuple[tuple[str, str, Color, str], ...] = (
    ("108369006", "Neoplasm", (0.180, 0.800, 0.443), "tumour, tumor, neoplasm, cancer"),
    ("367643001", "Cyst", (0.204, 0.596, 0.859), "cyst"),
    ("79654002", "Edema", (0.945, 0.769, 0.059), "edema, oedema"),
    ("6574001", "Necrosis", (0.608, 0.349, 0.714), "necrosis"),
    ("27925004", "Nodule", (0.902, 0.494, 0.133), "nodule"),
)
_OBJECTS: tuple[tuple[str, str, Color, str], ...] = (
    ("57134006", "Instrument", (0.100, 0.737, 0.612), "instrument, tool, tools"),
)

KNOWN: dict[str, tuple[Terminology, Color]] = {
    name: (Terminology(category, Code("SCT", code, meaning)), color)
    for category, table in ((ANATOMY, _ANATOMY), (LESION, _LESIONS), (OBJECT, _OBJECTS))
    for code, meaning, color, names in table
    for name in names.split(", ")
} | {
    f"vertebra {part}{number}".casefold(): (
        Terminology(ANATOMY, Code("SCT", code, f"{part}{number} vertebra")),
        (0.855, 0.780, 0.612),
    )
    for part, codes in _VERTEBRAE.items()
    for number, code in enumerate(codes.split(), 1)
}
"""Name in a model's labels, lower case, without left and right -> what it is and its colour."""


def terminology_of(name: str) -> tuple[Terminology, Color] | None:
    """What a label's name means and its colour, for example of "Kidney", "kidney_left", "Left kidney", "liver tumour"; None if unknown."""
    words = [word for word in re.split(r"[\W_]+", name.strip().casefold()) if word]
    found = KNOWN.get(" ".join(words)) or KNOWN.get(_singular(words))
    if found:
        return found
    sides = [_SIDES[word] for word in words if word in _SIDES]
    if len(sides) == 1:
        pair = terminology_of(" ".join(word for word in words if word not in _SIDES))
        return pair and (replace(pair[0], modifier=sides[0]), pair[1])
    lesion, organ = KNOWN.get(_singular(words[-1:])), KNOWN.get(" ".join(words[:-1]))
    if lesion and organ and lesion[0].category == LESION and organ[0].category == ANATOMY:
        return replace(lesion[0], region=organ[0].type), lesion[1]
    return None


def terminology_by_code(code: str, name: str) -> tuple[Terminology, Color | None]:
    """What a SNOMED CT code stands for and its colour; of a code that is not known here, an anatomical structure of that name."""
    for found, color in KNOWN.values():
        if found.type.value == code:
            return found, color
    return Terminology(ANATOMY, Code("SCT", code, name)), None


def _singular(words: list[str]) -> str:
    return " ".join("vertebra" if word == "vertebrae" else word.removesuffix("s") for word in words)


def terminology_entry(terminology: Terminology) -> str:
    """Write a terminology as Slicer does: context~category~type~modifier~region context~region~region modifier."""
    codes = [terminology.category, terminology.type, terminology.modifier]
    regions = [terminology.region, None]
    return "~".join([_CATEGORIES, *map(_code, codes), _REGIONS, *map(_code, regions)])


def _code(code: Code | None) -> str:
    return f"{code.scheme}^{code.value}^{code.meaning}" if code else "^^"
