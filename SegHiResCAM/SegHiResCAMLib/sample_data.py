"""What Slicer's module Sample Data offers for trying the extension: a made-up patient that comes with it, so nothing is downloaded; needs 3D Slicer."""

from __future__ import annotations

import importlib

from SegHiResCAMLib.resources import resource

CATEGORY = "SegHiResCAM"
NAME = "KidneyPhantom"
CHECKSUM = "SHA256:c3c450259174a89cad5bb79e41ffac6db6d564ea84ac7ce162c691ce5dd3eb78"


def register_sample_data() -> None:
    """Add the patient to Sample Data; called once 3D Slicer has started."""
    logic = importlib.import_module("SampleData").SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # since 3D Slicer 5.12
        logic.registerCustomSampleDataCategory(CATEGORY, title=CATEGORY)
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        uris=resource("SampleData", f"{NAME}.nrrd").as_uri(),
        fileNames=f"{NAME}.nrrd",
        checksums=CHECKSUM,
        nodeNames="Kidney phantom",
        thumbnailFileName=str(resource("Icons", f"{NAME}.png")),
    )
