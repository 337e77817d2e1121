"""The sample patient, a made-up one that comes with the product, so nothing is downloaded: its file, and its place in Slicer's module Sample Data."""

from __future__ import annotations

import importlib
from pathlib import Path

from SegHiResCAMLib.resources import resource

CATEGORY = "SegHiResCAM"
NAME = "KidneyPhantom"
CHECKSUM = "SHA256:c3c450259174a89cad5bb79e41ffac6db6d564ea84ac7ce162c691ce5dd3eb78"


def sample_volume() -> Path:
    """The file of its CT."""
    return resource("SampleData", f"{NAME}.nrrd")


def register_sample_data() -> None:
    """Add the patient to Sample Data; called once 3D Slicer has started."""
    logic = importlib.import_module("SampleData").SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # since 3D Slicer 5.12
        logic.registerCustomSampleDataCategory(CATEGORY, title=CATEGORY)
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        uris=sample_volume().as_uri(),
        fileNames=f"{NAME}.nrrd",
        checksums=CHECKSUM,
        nodeNames="Kidney phantom",
        thumbnailFileName=str(resource("Icons", f"{NAME}.png")),
    )
