"""All methods side by side, for one segment of a real CT outlined by a real network: the figures of docs/method.md.

    make figures

Needs SEGHIRESCAM_TEST_DATA. The kidney is one axial slice (a 2D network), resampled to the pixels its network was trained with; the spleen is
the whole volume (a 3D network). Seg-Score CAM runs the whole network once a channel, so this takes some minutes.

The kidney CT of the tests (3D-IRCADb-01, CC BY-NC-ND 4.0) may not be published with something drawn on it, so the committed figures show
the abdominal CT of TotalSegmentator's tests (Apache-2.0). `--kidney-ct` draws the former, to be looked at.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from figures.picture_words import keep_words
from monai.data import MetaTensor
from monai.transforms import Spacing
from real_data import assemble_bundle, slab, unpack_kidney_ct

from SegHiResCAMLib.engine import EngineError, ExplainRequest, Explanation, explain, open_model, read_volume
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.inference.segmentation import segment
from SegHiResCAMLib.results import COMPARISON, write_explanation
from SegHiResCAMLib.scene.headless import headless_application

IMAGES = Path(__file__).parents[2] / "docs" / "images"
TRAINED_PIXELS = (0.75, 0.75, 3.0)
"""Millimetres, about those of the CTs that the kidney network was trained with."""


def main(arguments: Sequence[str]) -> None:
    data = Path(os.environ["SEGHIRESCAM_TEST_DATA"])
    kidney_ct = "--kidney-ct" in arguments
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if kidney_ct:
            ct = read_volume(unpack_kidney_ct(data, folder) / "PATIENT_DICOM")
            slices = slab(ct, 60, 61)
        else:
            ct = read_volume(data / "abdomen-ct" / "example_ct.nii.gz")
            slices = Spacing(pixdim=TRAINED_PIXELS, padding_mode="border")(slab(ct, 85, 86))
        images = Path("figures") if kidney_ct else IMAGES
        _draw(slices, assemble_bundle(data, folder, "kits19-unet2d"), "kidney", images / "methods-kidney.png")
        _draw(ct, assemble_bundle(data, folder, "spleen-unet3d"), "spleen", images / "methods-spleen.png")


def _draw(volume: MetaTensor, bundle: Path, name: str, path: Path) -> None:
    model = open_model(bundle)
    found = segment(model, volume)
    request = ExplainRequest.of(volume, model, name)
    explanations: list[Explanation] = []
    for method in ["seg-hires-grad-cam", *(one for one in METHODS if one != "seg-hires-grad-cam")]:
        try:
            explanations.append(explain(replace(request, question=replace(request.question, method=method)), found))
            print(f"{name}: {method} in {explanations[-1].timings['explanation']:.1f} s", flush=True)
        except EngineError as problem:
            print(f"{name}: {method} left out. {problem.message}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with headless_application() as application, tempfile.TemporaryDirectory() as scratch:
        write_explanation(application.scene, Path(scratch), volume, model, explanations)
        shutil.move(Path(scratch) / COMPARISON, path)
    keep_words(path, [one.method for one in explanations])
    print(f"Written: {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
