"""The evidence beside a map of a real CT by a real network, for kidney and spleen: the figures of docs/evidence.md.

    make figures

Each figure has three parts, which the command writes: the map with the shares of its regions, its check, and what happens when the region
outside the segment with the largest share is removed. Needs SEGHIRESCAM_TEST_DATA; takes some minutes.

The regions are the labels that TotalSegmentator's tests have for the upper 30 slices of their abdominal CT (Apache-2.0). The kidney CT of the
tests (3D-IRCADb-01, CC BY-NC-ND 4.0) may not be published with something drawn on it: `--kidney-ct` draws it, into figures/, to be looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Spacing
from PIL import Image
from real_data import assemble_bundle, slab, unpack_kidney_ct

from SegHiResCAMLib.engine import read_volume, write_volume
from SegHiResCAMLib.seg_nrrd import StoredSegment, write_segmentation_nrrd

IMAGES = Path(__file__).parents[2] / "docs" / "images"
TRAINED_PIXELS = (0.75, 0.75, 3.0)
"""Millimetres, about those of the CTs that the kidney network was trained with."""

KIDNEY_SLICES, FIRST_LABELLED = (84, 92), 82
ORGANS = {1: "spleen", 2: "right kidney", 3: "left kidney", 4: "gallbladder", 5: "liver", 6: "stomach", 7: "pancreas"}
"""Of TotalSegmentator's classes, those that are named; all others are one region."""


def main(arguments: Sequence[str]) -> None:
    data = Path(os.environ["SEGHIRESCAM_TEST_DATA"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if "--kidney-ct" in arguments:
            ct = slab(read_volume(unpack_kidney_ct(data, folder) / "PATIENT_DICOM"), 56, 64)
            _figure(folder, ct, assemble_bundle(data, folder, "kits19-unet2d"), "kidney", None, Path("figures"))
            return
        ct = read_volume(data / "abdomen-ct" / "example_ct.nii.gz")
        slices = Spacing(pixdim=TRAINED_PIXELS, padding_mode="border")(slab(ct, *KIDNEY_SLICES))
        labels = read_volume(data / "abdomen-ct" / "example_seg.nii.gz")
        regions = _named(labels, ct, folder / "organs.seg.nrrd")
        _figure(folder, slices, assemble_bundle(data, folder, "kits19-unet2d"), "kidney", regions, IMAGES)
        _figure(folder, ct, assemble_bundle(data, folder, "spleen-unet3d"), "spleen", regions, IMAGES)


def _named(labels: MetaTensor, ct: MetaTensor, path: Path) -> Path:
    """The labels as named segments, where they lie in the whole CT."""
    values = labels.numpy()[0].astype(np.int16)
    other = max(ORGANS) + 1
    known = np.where(values == 0, 0, np.where(np.isin(values, list(ORGANS)), values, other)).astype(np.int16)
    affine = np.asarray(ct.affine, np.float64).copy()
    affine[:3, 3] += affine[:3, 2] * FIRST_LABELLED
    names = {**ORGANS, other: "other labelled tissue"}
    segments = [StoredSegment(name, value, (0.5, 0.5, 0.5)) for value, name in names.items() if (known == value).any()]
    write_segmentation_nrrd(path, [known], affine, segments)
    return path


def _figure(folder: Path, volume: MetaTensor, bundle: Path, segment: str, regions: Path | None, images: Path) -> None:
    source, answer, changed = folder / f"{segment}.nii.gz", folder / segment, folder / f"{segment}-what-if"
    write_volume(volume, source)
    asked = ["-m", str(bundle), "-s", segment, "-o", str(answer), "--check", "--score-explained"]
    _command("explain", str(source), *asked, "--regions", str(regions) if regions else "model")
    shares = json.loads((answer / "explanation.json").read_text(encoding="utf-8"))["regions"]
    removed = ["--region", "segment", "-s", segment]
    if regions is not None:
        outside = [one for one in shares if one["part"] == "region" and segment not in one["name"]]
        most = max(outside, key=lambda one: one["positive"] or 0.0)
        removed = ["--mask", str(regions), "--mask-segment", most["name"]]
        print(f"{segment}: {most['name']} has {100 * (most['positive'] or 0):.1f} % of the positive evidence")
    _command("what-if", str(source), "-m", str(bundle), "-o", str(changed), *removed)
    images.mkdir(exist_ok=True)
    _below_each_other(
        [answer / "overlay.png", answer / "check.png", changed / "what-if.png"], images / f"evidence-{segment}.png"
    )


def _command(*arguments: str) -> None:
    print("seghirescam", " ".join(arguments), flush=True)
    subprocess.run([sys.executable, "-m", "SegHiResCAMLib", *arguments], check=True)


def _below_each_other(files: Sequence[Path], path: Path) -> None:
    parts = [Image.open(file).convert("RGB") for file in files]
    page = Image.new("RGB", (max(one.width for one in parts), sum(one.height for one in parts)))
    top = 0
    for one in parts:
        page.paste(one, (0, top))
        top += one.height
    page.save(path, optimize=True)
    print(f"Written: {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
