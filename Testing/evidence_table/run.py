"""Every method on two real networks and twenty phantoms, checked: the table of docs/evidence.md.

    make evidence

What has been computed is kept in evidence-results/, one JSON file for each case and method, so that the command continues where it was stopped.
The real networks need SEGHIRESCAM_TEST_DATA. `--only TEXT` computes the cases and methods whose file names contain it; `--table` computes nothing.

So that all methods can be measured in some hours of one core, the kidneys are those of eight slices, and each phantom is cropped to one window of
the network around its tumour.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import numpy as np
import numpy.typing as npt
from figures_of_evidence import table
from monai.data import MetaTensor
from monai.transforms import Spacing, SpatialCrop
from phantom import phantom
from real_data import assemble_bundle, slab

from SegHiResCAMLib.engine import EngineError, ExplainRequest, SegmentationModel, explain, open_model, read_volume
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.evidence.map_check import check_map
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, segment
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.resources import resource

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "evidence-results", ROOT / "docs/evidence.md"
START, END = "<!-- make evidence: begin -->\n", "<!-- make evidence: end -->\n"
PHANTOMS = range(9101, 9121)
"""Seeds of patients that the networks were not trained on."""

EXPENSIVE = ("seg-ablation-cam", "seg-score-cam")
"""Methods with a pass for each channel: computed last."""

PASSES = 60
"""Of a check: some more than it makes for its user, so that integrated maps of drawn-again weights are measured, too."""

KIDNEY_SLICES = (82, 90)
"""Of the CT: both kidneys are in them."""

TRAINED_PIXELS = (0.75, 0.75, 3.0)
"""Millimetres, about those of the CTs that the kidney network was trained with."""

WINDOW = (192, 192, 144)
"""Millimetres: the window of the phantoms' network, 64 x 64 x 48 voxels of 3 mm."""


@dataclass(frozen=True)
class Case:
    """A volume, the model that segments it, and the segment that is explained."""

    name: str
    segment: str
    load: Callable[[Path], tuple[SegmentationModel, MetaTensor]]


def cases() -> Iterator[Case]:
    """The real ones first."""
    if "SEGHIRESCAM_TEST_DATA" in os.environ:
        yield Case("kidney-abdomen-ct", "kidney", _kidney)
        yield Case("spleen-abdomen-ct", "spleen", _spleen)
    for seed in PHANTOMS:
        yield Case(f"tumour-phantom-{seed}", "tumour", lambda _folder, seed=seed: _phantom(seed))


def _kidney(folder: Path) -> tuple[SegmentationModel, MetaTensor]:
    data = Path(os.environ["SEGHIRESCAM_TEST_DATA"])
    model = open_model(assemble_bundle(data, folder, "kits19-unet2d"))
    slices = slab(read_volume(data / "abdomen-ct/example_ct.nii.gz"), *KIDNEY_SLICES)
    return model, Spacing(pixdim=TRAINED_PIXELS, padding_mode="border")(slices)


def _spleen(folder: Path) -> tuple[SegmentationModel, MetaTensor]:
    data = Path(os.environ["SEGHIRESCAM_TEST_DATA"])
    model = open_model(assemble_bundle(data, folder, "spleen-unet3d"))
    return model, read_volume(data / "abdomen-ct/example_ct.nii.gz")


def _phantom(seed: int) -> tuple[SegmentationModel, MetaTensor]:
    made = phantom(seed, tumours=1, cysts=1).volume
    volume = MetaTensor(np.asarray(made, np.float32), affine=np.asarray(made.affine, np.float64))
    model = open_model(resource("Models", "kidney-phantom-3d"))
    found = segment(model, volume).labels.numpy()[0] == model.label("tumour").value
    return model, _window_around(volume, found) if found.any() else volume


def _window_around(volume: MetaTensor, found: npt.NDArray[np.bool_]) -> MetaTensor:
    """The part of a volume (1, i, j, k) that fits into one window, with what was found in its middle."""
    places = np.argwhere(found)
    edges = np.linalg.norm(np.asarray(volume.affine)[:3, :3], axis=0)
    length = np.floor(np.array(WINDOW) / edges).astype(int)
    start = np.clip((places.min(axis=0) + places.max(axis=0) + 1 - length) // 2, 0, None)
    cropped: MetaTensor = SpatialCrop(roi_start=start, roi_end=start + length)(volume)
    return cropped


def main() -> None:
    """Compute what is missing, and write the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="compute only files whose names contain this")
    parser.add_argument("--table", action="store_true", help="compute nothing")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if not arguments.table:
        cheap = [name for name in METHODS if name not in EXPENSIVE]
        for methods in (cheap, EXPENSIVE):
            for case in cases():
                names = [name for name in methods if arguments.only in f"{case.name}--{name}"]
                missing = [name for name in names if not (RESULTS / f"{case.name}--{name}.json").exists()]
                if missing:
                    _compute(case, missing)
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))}
    written = table(found, {name: method.title for name, method in METHODS.items()})
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n{written}\n{END}{after}", encoding="utf-8")
    print(written)


def _compute(case: Case, methods: list[str]) -> None:
    """One file a method; a method that does not suit has a file that says why."""
    with tempfile.TemporaryDirectory() as folder:
        model, volume = case.load(Path(folder))
        segmentation = segment(model, volume)
        for method in methods:
            path = RESULTS / f"{case.name}--{method}.json"
            beside = path.with_suffix(".part")
            beside.write_text(json.dumps(_measured(case, model, volume, segmentation, method)), encoding="utf-8")
            beside.replace(path)
            print(f"{path.name}", flush=True)


def _measured(
    case: Case, model: SegmentationModel, volume: MetaTensor, segmentation: Segmentation, method: str
) -> dict[str, object]:
    request = ExplainRequest.of(volume, model, case.segment, method=method, score_explained=True)
    try:
        explanation = explain(request, segmentation)
        check = check_map(request, explanation, segmentation, passes=PASSES)
    except EngineError as problem:
        return {"left_out": problem.message}
    explained = explanation.score_explained
    return {"score_explained": None if explained is None else explained.share, "check": to_json(check)}


if __name__ == "__main__":
    main()
