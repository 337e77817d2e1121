"""Heat maps that version 1 has written are read: samples of an attribute, of the command's file and of the panel's file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from SegHiResCAMLib.records.explanation import Finding
from SegHiResCAMLib.records.files import explanation_text, read_explanation
from SegHiResCAMLib.records.json_form import MalformedError
from SegHiResCAMLib.records.previous import record_of_facts, record_of_texts
from SegHiResCAMLib.records.regions import Mask, Sphere

PROVENANCE = {
    "model": "Tiny network",
    "modelSha256": "cab4f562",
    "segment": "tumour",
    "method": "Seg-HiRes-Grad CAM",
    "methodId": "seg-hires-grad-cam",
    "layer": "model.1.submodule",
    "pixelSet": "sphere",
    "mode": "volumetric",
    "units": "share of the maximum",
    "torch": "2.13.0+cpu",
    "monai": "1.6.1",
    "contrast": "rather than kidney, weight 0.5",
    "refinedBy": "product with model.0",
    "pixelSetJson": '{"kind": "sphere", "centre": [10.0, 10.0, 15.0], "radius": 8.0}',
}
TEXTS = PROVENANCE | {
    "score": "43.053789138793945",
    "maximum": "0.3114757537841797",
    "minimum": "0.0",
    "peakRas": "12.000 12.000 12.000",
    "pixelCount": "314",
    "meanProbability": "0.35357629751923086",
    "diagnoses": '["Choose another layer."]',
}
MEASURED = {
    "share_inside": 0.4965503555350355,
    "share_within_5_mm": 0.9663152079054965,
    "share_within_10_mm": 1.0,
    "peak": 0.3114757537841797,
    "peak_ras_mm": [12.0, 12.0, 12.0],
    "effective_volume_ml": 0.3171886441499361,
    "segment_volume_ml": 2.1195000000000004,
}
OF_THE_COMMAND: dict[str, Any] = {
    "segment": "tumour",
    "method": "seg-hires-grad-cam",
    "score": 43.053789138793945,
    "mean_probability": 0.35357629751923086,
    "pixel_count": 314,
    "maximum": 0.3114757537841797,
    "minimum": 0.0,
    "peak_ras_mm": [12.0, 12.0, 12.0],
    "measurements": MEASURED,
    "layer": {
        "name": "model.1.submodule",
        "kind": "Convolution",
        "channels": 8,
        "grid": [8, 8, 8],
        "mm": [3.0, 3.0, 6.0],
        "reason": "suggested: the deepest block",
    },
    "windows": 8,
    "windows_touched": 8,
    "timings_s": {"segmentation": 0.011},
    "provenance": PROVENANCE,
    "diagnoses": [{"code": "all-zero", "sentence": "Choose another layer."}],
    "files": ["explanation.json", "heatmap.nrrd"],
}
OF_THE_PANEL = {
    "name": "Seg-HiRes-Grad CAM, tumour, Tiny network",
    "peak_ras_mm": [12.0, 12.0, 12.0],
    "provenance": {name: text for name, text in TEXTS.items() if name != "diagnoses"},
    "diagnoses": ["Choose another layer."],
    "measurements": MEASURED,
}


@pytest.mark.parametrize(
    "record",
    [record_of_texts(TEXTS), record_of_facts(OF_THE_COMMAND), read_explanation(json.dumps(OF_THE_PANEL))],
    ids=["attributes", "command", "panel"],
)
def test_what_version_1_said_is_said_by_the_record(record: Any) -> None:
    question = record.question
    assert (question.segment, question.method, question.layer) == ("tumour", "seg-hires-grad-cam", "model.1.submodule")
    assert question.region == Sphere((10.0, 10.0, 15.0), 8.0)
    assert (question.contrast, question.contrast_weight) == ("kidney", 0.5)
    assert (question.refine, question.refine_with) == ("product", ("model.0",))
    assert (record.model.name, record.model.sha256) == ("Tiny network", "cab4f562")
    assert (record.method, record.layer.name, record.region) == ("Seg-HiRes-Grad CAM", "model.1.submodule", "sphere")
    assert (record.mode, record.units) == ("volumetric", "share of the maximum")
    assert (record.score, record.mean_probability) == (43.053789138793945, 0.35357629751923086)
    assert (record.voxel_count, record.maximum, record.minimum) == (314, 0.3114757537841797, 0.0)
    assert record.peak_ras_mm == (12.0, 12.0, 12.0)
    assert [one.message for one in record.findings] == ["Choose another layer."]
    assert record.versions == {"torch": "2.13.0+cpu", "monai": "1.6.1"}
    assert read_explanation(explanation_text(record)) == record


def test_the_file_of_the_command_says_more() -> None:
    record = record_of_facts(OF_THE_COMMAND | {"compared_with": [OF_THE_COMMAND]})
    assert record.findings == (Finding("all-zero", "Choose another layer."),)
    assert (record.layer.kind, record.layer.grid, record.windows) == ("Convolution", (8, 8, 8), 8)
    assert record.measurements is not None
    assert record.measurements.share_within_10_mm == 1.0
    assert record.compared_with == (record_of_facts(OF_THE_COMMAND),)


def test_a_mask_of_version_1_is_a_mask() -> None:
    told = {name: text for name, text in TEXTS.items() if name != "pixelSetJson"}
    assert record_of_texts(told | {"pixelSet": "mask given by the user"}).question.region == Mask()


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("text", ["", "nan", "1e999", "[", "null", "{}", "\x00" * 10])
def test_a_text_that_cannot_be_read_is_taken_for_not_said(name: str, text: str) -> None:
    record = record_of_texts(TEXTS | {name: text})
    assert read_explanation(explanation_text(record)) == record


@pytest.mark.parametrize("text", ["", "[", "[]", "7", '{"schemaVersion": 3}', '{"schemaVersion": 2}', "[" * 10**5])
def test_what_is_not_an_explanation_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of the JSON, or of the record
        read_explanation(text)


def test_a_later_version_is_refused_by_its_number() -> None:
    with pytest.raises(MalformedError, match="schemaVersion must be 2 or absent, not 3"):
        read_explanation('{"schemaVersion": 3}')
