"""Whatever bytes a reader gets, it reads them or says in a message why not; nothing else ever comes out of it.

A short run in child processes, so that a crash is a failed test. `fuzzing/harness.py` says how to start a long one.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzzing import dicom_readers, harness, model_readers, volume_readers
from fuzzing.harness import Child, hunt
from fuzzing.model_readers import PLAIN, checkpoint, description
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import done_or_refused

from SegHiResCAMLib.engine.models.untrusted.resolver import Config


@pytest.fixture(scope="module")
def models() -> Iterator[Child]:
    with closing(Child("fuzzing.model_readers")) as child:
        yield child


@pytest.fixture(scope="module")
def volumes() -> Iterator[Child]:
    with closing(Child("fuzzing.volume_readers")) as child:
        yield child


@pytest.fixture(scope="module")
def dicom() -> Iterator[Child]:
    with closing(Child("fuzzing.dicom_readers")) as child:
        yield child


@pytest.mark.parametrize("reader", model_readers.READERS)
def test_damaged_model_files_are_read_or_refused_with_a_message(reader: str, models: Child, tmp_path: Path) -> None:
    found = hunt(models, reader, model_readers.READERS[reader][1](), seconds=0.4, keep=tmp_path)
    assert not found.findings, [file.read_text() for file in tmp_path.glob("*.txt")]


@pytest.mark.parametrize("reader", volume_readers.READERS)
def test_damaged_volumes_are_read_or_refused_with_a_message(reader: str, volumes: Child, tmp_path: Path) -> None:
    found = hunt(volumes, reader, volume_readers.READERS[reader][1](), seconds=0.4, keep=tmp_path)
    assert not found.findings, [file.read_text() for file in tmp_path.glob("*.txt")]


@pytest.mark.parametrize("reader", dicom_readers.READERS)
def test_damaged_dicom_is_read_or_refused_with_a_message(reader: str, dicom: Child, tmp_path: Path) -> None:
    found = hunt(dicom, reader, dicom_readers.READERS[reader][1](), seconds=0.4, keep=tmp_path)
    assert not found.findings, [file.read_text() for file in tmp_path.glob("*.txt")]


def test_a_reader_that_dies_or_takes_the_memory_is_a_finding_and_the_hunt_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(harness, "MEMORY", 256 << 20)
    with closing(Child("fuzzing.failing_readers")) as child:
        assert child.read("dies", b"").problem.startswith("dies with exit code")
        assert child.read("raises", b"").problem.startswith("ValueError at failing_readers.py")
        assert child.read("takes memory", b"").problem == "takes too much memory"
        assert not child.read("reads", b"").problem


NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["@a", "%a", "$@a", "@a::0", "$[1] + @a", "$1/0", "@", "%", "$", "@a::a", "UNet", "$not @a", "%a.json::b"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["a", "b", "_target_", "_disabled_", "_mode_", "transforms", "0"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), NODES, max_size=3))
def test_every_mapping_is_resolved_or_refused_with_a_message(content: dict[str, Any]) -> None:
    resolved = Config(content, "fuzz.json")
    for key in content:
        with done_or_refused():
            resolved.need(resolved.resolve(key))
        with done_or_refused():
            resolved.steps(key)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(field=st.sampled_from(sorted(PLAIN)), value=NODES, inside=st.booleans())
def test_every_description_is_opened_or_refused_with_a_message(field: str, value: Any, inside: bool) -> None:
    content = json.loads(json.dumps(PLAIN))
    if inside and isinstance(content[field], dict):
        content[field][min(content[field])] = value
    elif inside and isinstance(content[field], list):
        content[field][0] = value
    else:
        content[field] = value
    with tempfile.TemporaryDirectory() as folder:
        description(Path(folder), json.dumps(content).encode())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from([
            "model.0.conv.weight", "model.2.conv.weight", "model.1.submodule.conv.weight", "conv_0.conv_0.conv.weight",
            "convInit.conv.weight", "encoder.conv_init.weight", "in_tr.conv_block.conv.weight", "out_tr.conv2.weight",
            "vit.patch_embedding.position_embeddings", "encoder1.layer.conv1.conv.weight", "vit.blocks.0.mlp.linear1.weight",
            "out.conv.conv.weight", "swinViT.patch_embed.proj.weight", "upconv.weight", "final_layer.2.conv_block.0.weight",
            "encoder.0.conv_block_without_pool.0.weight", "x",
        ]),
        st.lists(st.integers(0, 4), max_size=5),
        min_size=1,
    )
)  # fmt: skip
def test_every_state_dict_is_recognised_or_refused_with_a_message(shapes: dict[str, list[int]]) -> None:
    file = io.BytesIO()
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, file)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint(Path(folder), file.getvalue())
