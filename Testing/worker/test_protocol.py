"""The contract of both ends: what a line looks like, and that its words are the engine's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from a_record import a_record

from SegHiResCAMLib.records.evidence import SegmentChange, WhatIfRecord
from SegHiResCAMLib.records.explanation import ModelReference
from SegHiResCAMLib.records.input_shares import InputShare, InputShares
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.map_check import FillTrial, MapCheck, NoiseTest, RemovalTest
from SegHiResCAMLib.records.mistakes import Comparison, Mistake
from SegHiResCAMLib.records.models import Label, LayerList, LayerSummary, MethodSummary, ModelSummary
from SegHiResCAMLib.records.question import Question, SegmentOptions
from SegHiResCAMLib.records.region_shares import RegionShare
from SegHiResCAMLib.records.regions import Sphere
from SegHiResCAMLib.worker.protocol import (
    KINDS,
    VERSION,
    Answer,
    Cancel,
    CheckMap,
    Chunk,
    Compared,
    CompareSegmentation,
    Error,
    Explain,
    Explained,
    GetModel,
    InputsShared,
    Layers,
    LayersListed,
    MapChecked,
    MeasureOwnRegions,
    MeasureRegions,
    ModelFile,
    ModelOpened,
    ModelPath,
    NotAMessage,
    OpenModel,
    Progress,
    Ready,
    RegionRemoved,
    RegionsMeasured,
    RemoveRegion,
    Result,
    Segmented,
    SegmentVolume,
    SendModel,
    ShareInputs,
    Shutdown,
    Voxels,
    Wanted,
    decode,
    encode,
)

EYE = tuple(map(tuple, np.eye(4).tolist()))
STORED = Voxels(EYE, file="volume-1.npy")

VOXELS = {"affine": np.eye(4).tolist(), "file": "volume-1.npy"}
MODEL = ModelSummary("Net", 3, 1, (Label("kidney", 1, 1, (1.0, 0.0, 0.0)),), "softmax", "00")
CHECK = MapCheck(
    removal=RemovalTest((FillTrial("blur", 0.5),), deletion=(0.5, 0.25)),
    weights=None,
    noise=NoiseTest((2.0,), (0.5,), (0.75,)),
)
REFERENCE = ModelReference("Net", "00")
RECORD = a_record("CAM", "tumour", "Net")
QUESTION = Question(segment="tumour", region=Sphere((1.0, 2.0, 3.0), 4.0))

ASKED = {
    "model": "m",
    "volume": VOXELS,
    "question": to_json(QUESTION),
    "mask": None,
    "reference": None,
    "reference_names": [],
}
OPTIONS = {"mode": "auto", "axis": "auto", "device": "auto", "engine": "auto"}

# The wire of version 8, word for word but for records, which have tests of their own: whoever changes a line here raises VERSION.
LINES = [
    (GetModel("m"), "get_model", {"name": "m"}),
    (OpenModel("m"), "open_model", {"model": "m"}),
    (Layers("m", STORED), "layers", {"model": "m", "volume": VOXELS, "axis": "auto", "extent_mm": None}),
    (
        SegmentVolume("m", STORED, SegmentOptions(mode="slice-wise", device="cpu")),
        "segment",
        {
            "model": "m",
            "volume": VOXELS,
            "options": {"mode": "slice-wise", "axis": "auto", "device": "cpu", "engine": "auto"},
        },
    ),
    (
        Explain("m", STORED, QUESTION, STORED),
        "explain",
        {
            "model": "m",
            "volume": VOXELS,
            "question": to_json(QUESTION),
            "mask": VOXELS,
            "reference": None,
            "further": [],
            "whole": False,
            "reference_names": [],
        },
    ),
    (
        CheckMap("m", STORED, QUESTION, seed=3),
        "check_map",
        ASKED | {"seed": 3},
    ),
    (
        MeasureRegions(STORED, STORED, ("liver",)),
        "measure_regions",
        {"signed_map": VOXELS, "regions": VOXELS, "names": ["liver"]},
    ),
    (
        MeasureOwnRegions("m", STORED, STORED),
        "measure_own_regions",
        {"model": "m", "volume": VOXELS, "signed_map": VOXELS, "options": OPTIONS},
    ),
    (
        CompareSegmentation("m", STORED, STORED, ("kidney",), ("tumour",)),
        "compare",
        {
            "model": "m",
            "volume": VOXELS,
            "reference": VOXELS,
            "names": ["kidney"],
            "segments": ["tumour"],
            "options": OPTIONS,
        },
    ),
    (RemoveRegion("m", STORED, QUESTION, fill="blur"), "remove_region", ASKED | {"fill": "blur", "seed": 0}),
    (ShareInputs("m", STORED, QUESTION, seed=3), "share_inputs", ASKED | {"seed": 3}),
    (
        SendModel("tiny", (ModelFile("tiny/model.pt", 3, "00"),)),
        "send_model",
        {"opened": "tiny", "files": [{"name": "tiny/model.pt", "size": 3, "sha256": "00"}]},
    ),
    (Chunk("f", 9, 4, 5), "chunk", {"file": "f", "size": 9, "start": 4, "length": 5}),
    (Wanted(("f",)), "wanted", {"files": ["f"]}),
    (Cancel(), "cancel", {}),
    (Shutdown(), "shutdown", {}),
    (Ready(VERSION), "ready", {"version": 8}),
    (Progress(0.5, "½ done", 3.0), "progress", {"fraction": 0.5, "text": "½ done", "remaining": 3.0}),
    (
        Result(ModelPath("/models/m"), {"labels": "result-1-labels.npy"}, ("model",)),
        "result",
        {
            "answer": {"kind": "path", "path": "/models/m"},
            "files": {"labels": "result-1-labels.npy"},
            "reused": ["model"],
        },
    ),
    (
        Error("disk", "No space.\nNone.", "Traceback"),
        "error",
        {"code": "disk", "message": "No space.\nNone.", "trace": "Traceback"},
    ),
]
ANSWERS = [
    ModelPath("/models/m"),
    ModelOpened(MODEL, (MethodSummary("cam", "CAM", "what"),)),
    LayersListed(LayerList((LayerSummary("up", "Conv3d"),), "up", "why")),
    Segmented(MODEL, "PyTorch: as chosen"),
    Explained(RECORD),
    MapChecked(CHECK, RECORD),
    RegionsMeasured((RegionShare("liver", "region", 2.0, 0.5, 0.25, None, 0.5),)),
    Compared(Comparison((), (Mistake("kidney", "false-positive", 1.0, (1.0, 2.0, 3.0), True, "tumour"),)), REFERENCE),
    RegionRemoved(
        WhatIfRecord(
            model=REFERENCE,
            region="sphere",
            removed_ml=2.0,
            fill="blur",
            seed=0,
            segments=(SegmentChange("kidney", 2.0, 1.0, 0.5, None, None),),
            windows=4,
            windows_touched=1,
            windows_computed=2,
        ),
        MODEL,
    ),
    InputsShared(InputShares((InputShare("T1", 2.0, 1.0, 3.0, 1.0),), 3.0, 1.0, "shell", 2), REFERENCE),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda one: one.kind)
def test_every_answer_comes_back_the_same(answer: object) -> None:
    assert decode(encode(7, Result(answer))) == (7, Result(answer))
    assert {type(one) for one in ANSWERS} == set(get_args(Answer))


def test_arrays_stay_at_home() -> None:
    assert "array" not in encode(7, Result(ModelPath("m"), arrays={"labels": np.zeros(3)}))


@pytest.mark.parametrize(("message", "kind", "body"), LINES, ids=[kind for _, kind, _ in LINES])
def test_a_message_is_one_line_and_comes_back_the_same(message: object, kind: str, body: object) -> None:
    line = encode(7, message)
    assert line.count("\n") == 1
    assert json.loads(line) == {"id": 7, "kind": kind, "body": body}
    assert decode(line) == (7, message)


def test_every_kind_of_message_has_its_line_here() -> None:
    assert {kind for _, kind, _ in LINES} == set(KINDS)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "Loading weights...",
        "[]",
        "null",
        "7",
        '{"id": 1}',
        '{"id": 1, "kind": "progress", "body": []}',
        '{"id": 1, "kind": "progress", "body": {}}',
        '{"id": "one", "kind": "cancel", "body": {}}',
        '{"id": 1, "kind": ["cancel"], "body": {}}',
        '{"id": 1, "kind": "explain", "body": {"volume": 3}}',
        '{"id": Infinity, "kind": "cancel", "body": {}}',
        "[" * 100_000,
    ],
)
def test_anything_else_is_not_a_message(line: str) -> None:
    with pytest.raises(NotAMessage):
        decode(line)


def test_a_request_that_is_malformed_says_whose_it_is() -> None:
    with pytest.raises(NotAMessage) as raised:
        decode('{"id": 3, "kind": "explain", "body": {"model": "m"}}')
    assert raised.value.identifier == 3


def test_equal_voxels_are_stored_once_under_the_same_name(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    given = (array, array.copy(), array + 1, lambda: array)
    names = [Voxels.of(one, np.eye(4)).stored(tmp_path).file for one in given]
    assert names[0] == names[1] == names[3] != names[2]
    assert np.array_equal(np.load(tmp_path / names[2]), array + 1)


def test_equal_bytes_of_another_shape_or_type_are_other_voxels(tmp_path: Path) -> None:
    array = np.zeros((2, 3, 4), np.int16)
    names = {
        Voxels.of(one, np.eye(4)).stored(tmp_path).file
        for one in (array, array.reshape(3, 2, 4), array.view(np.uint16), np.asfortranarray(array))
    }
    assert len(names) == 4


@pytest.mark.engine
@pytest.mark.parametrize(
    ("elapsed", "fraction", "remaining"), [(0.5, 0.5, None), (10, 0.01, None), (10, 0.25, 30.0), (8, 1.0, 0.0)]
)
def test_what_remains_is_told_from_what_has_passed(elapsed: float, fraction: float, remaining: float | None) -> None:
    from SegHiResCAMLib.worker.jobs import remaining_seconds

    assert remaining_seconds(elapsed, fraction) == remaining


def test_the_client_loads_neither_torch_nor_the_engine() -> None:
    code = (
        "import sys; import SegHiResCAMLib.worker.client\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'monai', 'vtk', 'slicer') or 'engine' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
