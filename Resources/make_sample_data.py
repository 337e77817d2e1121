"""Makes the sample patient that the extension brings, and its thumbnail. `python Resources/make_sample_data.py` writes both where they are used."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "Testing"))

from phantom import TUMOUR, sample_patient

from SegHiResCAMLib.engine.images.volume import write_volume
from SegHiResCAMLib.sample_data import sample_volume

RESOURCES = Path(__file__).parents[1] / "SegHiResCAM/Resources"
THUMBNAIL = (260, 280)
WINDOW = (-110, 240)
"""Hounsfield units, black to white."""


def main() -> None:
    """Write them."""
    patient = sample_patient()
    sample_volume().parent.mkdir(exist_ok=True)
    write_volume(patient.volume.round().to(torch.int16), sample_volume())
    j = round(float(np.argwhere(patient.labels.numpy()[0] == TUMOUR)[:, 1].mean()))
    coronal = patient.volume.numpy()[0, :, j].T[::-1, ::-1]  # the head on top, the right side on the left
    grey = np.clip((coronal - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), 0, 1) * 255
    spacing = patient.volume.pixdim.numpy()
    picture = Image.fromarray(grey.astype(np.uint8))
    high = round(THUMBNAIL[0] * coronal.shape[0] * spacing[2] / (coronal.shape[1] * spacing[0]))
    page = Image.new("L", THUMBNAIL)
    page.paste(picture.resize((THUMBNAIL[0], high), Image.Resampling.BICUBIC), (0, (THUMBNAIL[1] - high) // 2))
    page.save(RESOURCES / "Icons/KidneyPhantom.png", optimize=True)


if __name__ == "__main__":
    main()
