"""The contract of both ends: what a line looks like, and that its words are the engine's."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from SegHiResCAMLib.worker.protocol import (
    KINDS,
    VERSION,
    Cancel,
    Error,
    Explain,
    GetModel,
    Layers,
    NotAMessage,
    OpenModel,
    Progress,
    Ready,
    Result,
    Segment,
    Shutdown,
    Voxels,
    decode,
    encode,
)

EYE = tuple(map(tuple, np.eye(4).tolist()))
STORED = Voxels(EYE, file="volume-1.npy")

# The wire of version 3, word for word: whoever changes a line here raises VERSION.
LINES = [
    (GetModel("m"), "get_model", {"name": "m"}),
    (OpenModel("m"), "open_model", {"model": "m"}),
    (
        Layers("m", STORED),
        "layers",
        {
            "model": "m",
            "volume": {"file": "volume-1.npy", "affine": np.eye(4).tolist()},
            "axis": "auto",
            "extent_mm": None,
        },
    ),
    (
        Segment("m", STORED, mode="slice-wise", device="cpu"),
        "segment",
        {
            "model": "m",
            "volume": {"file": "volume-1.npy", "affine": np.eye(4).tolist()},
            "mode": "slice-wise",
            "axis": "auto",
            "device": "cpu",
        },
    ),
    (
        Explain("m", STORED, "tumour"),
        "explain",
        {
            "model": "m",
            "volume": {"file": "volume-1.npy", "affine": np.eye(4).tolist()},
            "segment": "tumour",
            "method": "seg-hires-grad-cam",
            "layer": None,
            "mode": "auto",
            "axis": "auto",
            "device": "auto",
            "mask": None,
            "pixel_set": None,
            "method_options": {},
            "contrast": None,
            "contrast_weight": 1.0,
            "refine_with": [],
            "refine": "product",
            "precision": "full",
            "deterministic": False,
        },
    ),
    (Cancel(), "cancel", {}),
    (Shutdown(), "shutdown", {}),
    (Ready(VERSION), "ready", {"version": 3}),
    (Progress(0.5, "½ done", 3.0), "progress", {"fraction": 0.5, "text": "½ done", "remaining": 3.0}),
    (
        Result({"score": 1.5}, {"labels": "result-1-labels.npy"}),
        "result",
        {"facts": {"score": 1.5}, "arrays": {"labels": "result-1-labels.npy"}},
    ),
    (
        Error("disk", "No space.\nNone.", "Traceback"),
        "error",
        {"code": "disk", "sentence": "No space.\nNone.", "trace": "Traceback"},
    ),
]


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
        "[" * 100_000,
    ],
)
def test_anything_else_is_not_a_message(line: str) -> None:
    with pytest.raises(NotAMessage):
        decode(line)


@pytest.mark.engine
def test_the_words_of_an_explanation_are_those_of_the_engine() -> None:
    from SegHiResCAMLib.engine.answer.explanation import ExplainRequest

    engine = {field.name: field.default for field in fields(ExplainRequest)}
    for field in fields(Explain):
        assert field.name in engine
        assert field.default == engine[field.name]


@pytest.mark.engine
def test_an_explanation_can_be_asked_for_with_everything_the_engine_knows() -> None:
    from SegHiResCAMLib.engine.answer.explanation import ExplainRequest

    assert {field.name for field in fields(Explain)} == {field.name for field in fields(ExplainRequest)}


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
