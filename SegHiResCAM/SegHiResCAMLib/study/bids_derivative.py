"""A study as a BIDS derivative: segmentations, heat maps and what was asked, under names that other tools for BIDS data sets find.

BIDS (https://bids-specification.readthedocs.io) has a suffix for segmentations, and none for heat maps. These are called `_heatmap` and listed in
`.bidsignore`, as the specification asks of what it does not know.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SegHiResCAMLib.engine.images.masks import segments_of
from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.engine.progress import Progress
from SegHiResCAMLib.nifti import write_nifti
from SegHiResCAMLib.plain_text import plain
from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.files import read_explanation
from SegHiResCAMLib.records.study import StudyRun
from SegHiResCAMLib.results import HEATMAP, SEGMENTATION
from SegHiResCAMLib.study.errors import StudyError
from SegHiResCAMLib.study.layouts import OWN_DESC
from SegHiResCAMLib.study.study_folder import Study, run_of, state_of
from SegHiResCAMLib.version import VERSION
from SegHiResCAMLib.writing.commit import FACTS
from SegHiResCAMLib.writing.errors import cannot_write
from SegHiResCAMLib.writing.temporary import make_folder_in, remove
from SegHiResCAMLib.writing.whole_file import make_folder

BIDS_VERSION = "1.10.0"
SOURCE = "https://github.com/SegHiResCAM/SlicerSegHiResCAM"

DESCRIPTION, IGNORED, README = "dataset_description.json", ".bidsignore", "README.md"
KEPT = ("ses", "acq", "ce", "rec", "run")
"""Entities of a BIDS image's name that its results keep, beside the subject."""

_BIDS_NAME = re.compile(r"sub-[0-9A-Za-z+]+(_[a-z]+-[0-9A-Za-z+]+)*(_[0-9A-Za-z]+)?")


@dataclass(frozen=True)
class BidsDerivative:
    """What was written.

    Attributes:
        folder: Of the derivative.
        cases: With results in it.
        left_out: Cases of the study that have none.
    """

    folder: Path
    cases: int
    left_out: int


def write_bids(study_folder: Path, folder: Path, progress: Progress) -> BidsDerivative:
    """Write the derivative, whole or not at all.

    Args:
        study_folder: Of a study that is computed, or of its merged parts.
        folder: For the derivative, such as `derivatives/seghirescam` of a BIDS data set; it need not exist, and is empty otherwise.
        progress: Called case by case; may raise `Cancelled`.

    Raises:
        StudyError: `bids-folder-not-empty`, `bids-nothing-done`, `study-damaged`, and those of `Study.runs`.
        EngineError: A result cannot be read.
        WritingError: The files cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError("bids-folder-not-empty", f"'{folder}' exists and is not an empty folder. Choose another one.")
    study = Study(study_folder)
    run = run_of(study)
    state = state_of(study, run.cases, run.options)
    if not state.done:
        raise StudyError("bids-nothing-done", f"No case of '{study_folder}' has results. Compute the study first.")
    make_folder(folder.absolute().parent)
    hidden = None
    try:
        hidden = make_folder_in(folder.absolute().parent, "bids")
        _write_texts(hidden, run, len(state.done))
        for number, (name, base) in enumerate(_bases(list(state.done), is_bids=run.layout == "BIDS")):
            progress(number / len(state.done), f"Writing {number + 1} of {len(state.done)} cases")
            _write_case(hidden, study.folder_of(name), name, base)
        if folder.is_dir():
            folder.rmdir()
        hidden.chmod(0o755)
        hidden.rename(folder)
    except OSError as problem:
        raise cannot_write(folder, problem) from problem
    finally:
        if hidden is not None:
            remove(hidden)
    return BidsDerivative(folder, len(state.done), len(state.cases) - len(state.done))


def _write_texts(root: Path, run: StudyRun, count: int) -> None:
    segments = ", ".join(run.job.segments)
    made_by = {
        "Name": "SegHiResCAM",
        "Version": run.versions.get("seghirescam", VERSION),
        "CodeURL": SOURCE,
        "Description": f"{run.job.question.method} of {segments}, model {run.model.name} (SHA-256 of its weights {run.model.sha256})",
    }
    description = {
        "Name": f"Heat maps of {segments}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [made_by],
    }
    _write_json(root / DESCRIPTION, description)
    (root / IGNORED).write_text("*_heatmap.nii.gz\n*_heatmap.json\n", encoding="utf-8")
    (root / README).write_text(
        f"# Heat maps of {segments}\n\nWhy a network segmented what it did, in {count} cases: `_dseg` has its segmentation, `_heatmap` the heat map of a "
        "segment, both on the grid of the image that was explained. The JSON file beside a map says what was asked and what was found.\n\n"
        "BIDS does not know heat maps, so they are listed in `.bidsignore`. Not for diagnostic use.\n",
        encoding="utf-8",
    )


def _bases(names: Sequence[str], *, is_bids: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """The entities that each case's files have in their names: those of the BIDS image, or a subject for the case."""
    found = [_entities(name, is_bids=is_bids) for name in names]
    counts = Counter(map(_start, found))
    for name, entities in zip(names, found, strict=True):
        more = f"x{_short_hash(name)}" if counts[_start(entities)] > 1 else ""
        yield name, entities | {"desc": f"{OWN_DESC}{more}"}


def _entities(name: str, *, is_bids: bool) -> dict[str, str]:
    if is_bids and _BIDS_NAME.fullmatch(name):
        given = dict(part.split("-", 1) for part in name.split("_") if "-" in part)
        return {key: given[key] for key in ("sub", *KEPT) if key in given}
    return {"sub": _label(name) or _short_hash(name)}


def _start(entities: dict[str, str]) -> str:
    """Lower case, for file systems that take upper case for it."""
    return "_".join(f"{key}-{value}" for key, value in entities.items()).lower()


def _name(entities: dict[str, str], **more: str) -> str:
    last = {"desc": entities["desc"]}
    return (
        "_".join(f"{key}-{value}" for key, value in ({**entities, **more, **last}).items() if key != "desc")
        + f"_desc-{last['desc']}"
    )


def _write_case(root: Path, results: Path, case: str, base: dict[str, str]) -> None:
    found = [results, *sorted(one.parent for one in results.glob(f"*/{FACTS}"))]
    folders = [one for one in found if (one / FACTS).is_file()]
    place = root / f"sub-{base['sub']}" / (f"ses-{base['ses']}" if "ses" in base else "") / "anat"
    place.mkdir(parents=True, exist_ok=True)
    segmentation = place / f"{_name(base)}_dseg.nii.gz"
    _write_segmentation(folders[0] / SEGMENTATION, segmentation, root / f"desc-{base['desc']}_dseg.tsv")
    about = {
        "Description": "What the network segmented",
        "SpatialReference": "orig",
        "Manual": False,
        "Case": plain(case),
    }
    _write_json(_sidecar(segmentation), about)
    labels: set[str] = set()
    for folder in folders:
        record = _record_in(folder / FACTS)
        label = _label(record.question.segment) or "segment"
        label = label if label.lower() not in labels else f"{label}x{_short_hash(record.question.segment)}"
        labels.add(label.lower())
        image = place / f"{_name(base, label=label)}_heatmap.nii.gz"
        heat = read_volume(folder / HEATMAP)
        write_nifti(image, heat.numpy()[0], heat.affine.numpy(), {})
        source = f"bids::{segmentation.relative_to(root).as_posix()}"
        _write_json(_sidecar(image), _facts_of(record) | {"Case": plain(case), "Sources": [source]})


def _record_in(path: Path) -> ExplanationRecord:
    try:
        return read_explanation(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise StudyError(
            "study-damaged",
            f"'{path}' cannot be read ({problem}). Delete its folder, and run the same 'seghirescam cohort' again.",
        ) from problem


def _write_segmentation(source: Path, target: Path, table: Path) -> None:
    """The first layer, which is what the model segmented; its names go into the table that BIDS has for them."""
    drawn = read_volume(source)
    write_nifti(target, drawn.numpy()[0].astype(np.int16), drawn.affine.numpy(), {})
    if not table.exists():
        named = [one for one in segments_of(source) if one.layer == 0]
        rows = ["index\tname", *(f"{one.value}\t{' '.join(plain(one.name).split())}" for one in named)]
        table.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _facts_of(record: ExplanationRecord) -> dict[str, Any]:
    """Of a heat map, in the manner of BIDS."""
    return {
        "Description": f"Heat map ({record.method}) of {record.question.segment}",
        "SpatialReference": "orig",
        "Units": record.units,
        "Segment": record.question.segment,
        "ExplainedRegion": record.region,
        "Method": record.question.method,
        "Layer": record.layer.name,
        "Score": record.score,
        "MeanProbability": record.mean_probability,
        "Maximum": record.maximum,
        "Minimum": record.minimum,
        "PeakPositionRASmm": list(record.peak_ras_mm),
        "Findings": [one.code for one in record.findings],
        "Model": {"Name": record.model.name, "SHA256": record.model.sha256},
    }


def _sidecar(image: Path) -> Path:
    return image.with_name(f"{image.name.removesuffix('.nii.gz')}.json")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _label(text: str) -> str:
    """What BIDS takes as the value of an entity: letters and digits of ASCII."""
    return re.sub(r"[^0-9A-Za-z]+", "", text)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
