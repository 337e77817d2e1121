"""Folders of cases that are recognised by their layout: those of the data sets and tools that people have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from SegHiResCAMLib.records.study import Case
from SegHiResCAMLib.study.dicom_tree import dicom_cases, is_dicom_tree
from SegHiResCAMLib.study.errors import StudyError

LARGEST_JSON = 2**25
"""Bytes of a dataset.json."""

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
OWN_DESC = "seghirescam"
"""Of files that `cohort bids` writes into a BIDS derivative: what a model segmented is no reference for it."""

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


class Layout(NamedTuple):
    """A way to lay out cases in a folder.

    Attributes:
        title: For people.
        form: What it looks like.
        recognises: Whether a folder has it.
        cases: Those of such a folder, in the order of their names.
    """

    title: str
    form: str
    recognises: Callable[[Path], bool]
    cases: Callable[[Path], list[Case]]


def is_kits(folder: Path) -> bool:
    """Whether it is laid out as the KiTS challenges have their cases."""
    return any((one / "imaging.nii.gz").is_file() for one in _folders(folder))


def kits_cases(folder: Path) -> list[Case]:
    """case_00000/imaging.nii.gz and, where there is one, segmentation.nii.gz."""
    return [
        Case(name=one.name, images=(str(one / "imaging.nii.gz"),), reference=_existing(one / "segmentation.nii.gz"))
        for one in _folders(folder)
        if (one / "imaging.nii.gz").is_file() or one.name.startswith("case_")
    ]


def is_channelled(folder: Path) -> bool:
    """Whether it is a raw nnU-Net data set: image files whose names end in the number of their channel."""
    return any(_CHANNEL.fullmatch(_stem(file)) for part in ("imagesTr", "imagesTs") for file in _images(folder / part))


def channelled_cases(folder: Path) -> list[Case]:
    """imagesTr/NAME_0000.nii.gz, _0001 .. for further channels, labelsTr/NAME.nii.gz; the same with Ts."""
    cases = []
    for part in ("Tr", "Ts"):
        channels: dict[str, list[Path]] = {}
        for file in _images(folder / f"images{part}"):
            found = _CHANNEL.fullmatch(_stem(file))
            if found:
                channels.setdefault(found["case"], []).append(file)
        labels = {_stem(file): str(file) for file in _images(folder / f"labels{part}")}
        cases += [
            Case(
                name=name,
                images=tuple(map(str, sorted(files))),
                reference=labels.get(name),
                groups={"part": {"Tr": "training", "Ts": "test"}[part]},
            )
            for name, files in channels.items()
        ]
    return cases


def is_decathlon(folder: Path) -> bool:
    """Whether it is a task of the Medical Segmentation Decathlon: a dataset.json that lists image and label of each case."""
    return isinstance(_dataset(folder).get("training"), list) or isinstance(_dataset(folder).get("test"), list)


def decathlon_cases(folder: Path) -> list[Case]:
    """What dataset.json lists under "training" and "test"; only files inside the folder."""
    content = _dataset(folder)
    cases = []
    for part in ("training", "test"):
        for entry in content.get(part) or []:
            image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
            path = _inside(folder, image)
            reference = None if label is None else _existing(_inside(folder, label))
            cases.append(Case(name=_stem(path), images=(str(path),), reference=reference, groups={"part": part}))
    return cases


def is_bids(folder: Path) -> bool:
    """Whether it is a BIDS data set."""
    return (folder / "dataset_description.json").is_file() and any(folder.glob("sub-*"))


def bids_cases(folder: Path) -> list[Case]:
    """Every image of sub-*/[ses-*/]; a segmentation of the same name in derivatives/ is its reference, where there is exactly one."""
    references: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("derivatives/*/sub-*/**/*_dseg.nii*")):
        if f"_desc-{OWN_DESC}" not in file.name:
            references.setdefault(re.sub(r"(_desc-[^_]+)?_dseg$", "", _stem(file)), []).append(file)
    cases = []
    for file in _bids_images(folder):
        name = _stem(file)
        found = references.get(name, references.get(name.rpartition("_")[0], []))
        subject = next(part for part in file.relative_to(folder).parts if part.startswith("sub-"))
        cases.append(
            Case(
                name=name,
                images=(str(file),),
                reference=str(found[0]) if len(found) == 1 else None,
                groups={"subject": subject},
            )
        )
    return cases


LAYOUTS = (
    Layout("KiTS", "case_*/imaging.nii.gz, segmentation.nii.gz", is_kits, kits_cases),
    Layout("nnU-Net raw data set", "imagesTr/*_0000.nii.gz, labelsTr", is_channelled, channelled_cases),
    Layout("Medical Segmentation Decathlon", "dataset.json, imagesTr, labelsTr", is_decathlon, decathlon_cases),
    Layout("BIDS", "dataset_description.json, sub-*", is_bids, bids_cases),
    Layout("DICOM tree", "DICOM files in folders", is_dicom_tree, dicom_cases),
)
"""The first that recognises a folder reads it."""


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir())


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if one.name.lower().endswith(IMAGE_ENDINGS) and _is_shown(one))


def _bids_images(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.glob("sub-*/**/*")):
        if file.name.lower().endswith((".nii.gz", ".nii")) and not _stem(file).endswith(("_dseg", "_probseg", "_mask")):
            yield file


def _is_shown(file: Path) -> bool:
    """MacOS leaves files such as ._case.nii.gz in archives, which are no images."""
    return not file.name.startswith(".")


def _stem(path: Path) -> str:
    ending = next((one for one in IMAGE_ENDINGS if path.name.lower().endswith(one)), "")
    return path.name[: len(path.name) - len(ending)]


def _existing(path: Path) -> str | None:
    return str(path) if path.exists() else None


def _dataset(folder: Path) -> dict[str, Any]:
    """dataset.json; empty where there is none that can be read."""
    path = folder / "dataset.json"
    try:
        if path.stat().st_size > LARGEST_JSON:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _inside(folder: Path, name: object) -> Path:
    """A file that a dataset.json names."""
    path = folder / str(name)
    if not isinstance(name, str) or not path.resolve().is_relative_to(folder.resolve()):
        raise StudyError(
            "layout-outside",
            f"'{folder / 'dataset.json'}' names {str(name)[:200]!r}, which is not a file inside its folder. Correct it, or give a table.",
        )
    return path
