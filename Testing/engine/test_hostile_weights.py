"""Weights files that two readers would read differently, or that would take time or memory out of all proportion, are refused before they are loaded."""

from __future__ import annotations

import io
import json
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from refusals import refusal
from tiny_bundle import unet_weights, write_bundle

from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.models.untrusted import pickled_content
from SegHiResCAMLib.engine.models.untrusted.checkpoint import read_checkpoint, read_weights
from SegHiResCAMLib.engine.models.untrusted.zip_layout import stored_files

END = struct.Struct("<4s4H2LH")


def saved(content: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def zipped(files: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def files_of(checkpoint: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_two_directories() -> bytes:
    """PyTorch finds a compressed storage of 50 MB, Python a checkpoint of 12 bytes."""
    small, large = (files_of(saved({"w": torch.zeros(count)})) for count in (3, 12_500_000))
    first, second = zipped(large, zipfile.ZIP_DEFLATED), zipped(small)
    ends = [END.unpack(archive[-END.size :]) for archive in (first, second)]
    directory = bytearray(second[ends[1][6] : -END.size])
    at = 0
    while (at := directory.find(b"PK\x01\x02", at)) >= 0:  # moved behind the first archive
        start = struct.unpack_from("<L", directory, at + 42)[0]
        struct.pack_into("<L", directory, at + 42, start + len(first))
        at += 4
    end = END.pack(b"PK\x05\x06", 0, 0, len(small), len(small), len(directory), ends[0][6], 0)
    return first + second[: ends[1][6]] + directory + end


def test_a_file_with_two_directories_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(with_two_directories())
    with zipfile.ZipFile(tmp_path / "w.pt") as archive:
        assert sum(entry.file_size for entry in archive.infolist()) < 10_000
    assert torch.load(tmp_path / "w.pt")["w"].numel() == 12_500_000, "the sample is harmless and proves nothing"
    assert refusal(lambda: read_weights(tmp_path / "w.pt")).code == "weights-damaged"


SOUND = saved({"w": torch.arange(3.0)})


def overlapping(sound: bytes) -> bytes:
    """A file of the directory starts where another does."""
    plain = bytearray(zipped(files_of(sound)))
    places = [at for at in range(len(plain)) if plain[at : at + 4] == b"PK\x01\x02"]
    plain[places[2] + 42 : places[2] + 46] = plain[places[1] + 42 : places[1] + 46]
    return bytes(plain)


def with_another_local_name(sound: bytes) -> bytes:
    plain = bytearray(zipped(files_of(sound)))
    plain[30:34] = b"else"
    return bytes(plain)


AMBIGUOUS: dict[str, Callable[[bytes], bytes]] = {
    "something before it": lambda sound: b"PK\x03\x04" + sound,
    "something behind it": lambda sound: sound + b"PK\x05\x06" + bytes(18),
    "a comment": lambda sound: sound[:-2] + b"\x04\x00abcd",
    "names that differ by case": lambda sound: zipped({**files_of(sound), "archive/DATA.pkl": b"x"}),
    "several disks": lambda sound: sound[:-26] + b"\x02\x00\x00\x00" + sound[-22:],
    "overlapping files": overlapping,
    "another name in its own header": with_another_local_name,
}


@pytest.mark.parametrize("how", AMBIGUOUS)
def test_a_file_that_two_readers_could_read_differently_is_refused(how: str, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(AMBIGUOUS[how](SOUND))
    assert refusal(lambda: read_weights(tmp_path / "w.pt")).code == "weights-damaged"


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_checkpoints_as_pytorch_writes_them_are_read(options: dict[str, Any], tmp_path: Path) -> None:
    weights = {
        "a": torch.ones(2, 3),
        "b": torch.zeros(0),
        "c": torch.arange(4).to(torch.int16)[::2],
        "d": torch.tensor(2.0).bfloat16(),
    }
    (tmp_path / "w.pt").write_bytes(saved(weights, **options))
    read = read_weights(tmp_path / "w.pt")
    assert all(torch.equal(read[name], tensor.to(read[name].dtype)) for name, tensor in weights.items())


def test_the_layout_is_that_of_pytorchs_own_reader() -> None:
    reader = torch._C.PyTorchFileReader(io.BytesIO(SOUND))
    for one in stored_files(io.BytesIO(SOUND)):
        name = one.name.decode().removeprefix("archive/")
        assert SOUND[one.offset : one.offset + one.size] == reader.get_record(name)


# Pickles


def with_pickle(code: bytes) -> bytes:
    return zipped({**files_of(SOUND), "archive/data.pkl": b"\x80\x02" + code + b"."})


def tensor_of(
    size: bytes, stride: bytes, count: bytes = b"K\x03", name: bytes = b"torch._utils\n_rebuild_tensor_v2"
) -> bytes:
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + count + b"tQ"
    return (
        b"}X\x01\x00\x00\x00wc"
        + name
        + b"\n("
        + storage
        + b"K\x00"
        + size
        + stride
        + b"\x89ccollections\nOrderedDict\n)RtRs"
    )


HUGE = b"\x8a\x06\x00\x00\x00\x00\x00\x10"  # LONG1 2^44
PICKLES: dict[str, bytes] = {
    "a key whose hash takes for ever": b"}" + b")" + b"q\x00h\x00\x86" * 60 + b"K\x01s",
    "a set member whose hash takes for ever": b"cbuiltins\nset\n(](" + b")" + b"q\x00h\x00\x86" * 60 + b"etR",
    "tuples nested 300,000 times": b")" + b"\x85" * 300_000,
    "a bytearray of sixteen terabytes": b"cbuiltins\nbytearray\n" + HUGE + b"\x85R",
    "a tensor of sixteen terabytes": b"ctorch\nFloatTensor\n" + HUGE + b"\x85R",
    "a tensor beyond its storage": tensor_of(b"K\x04\x85", b"K\x01\x85"),
    "a tensor that grows its storage": tensor_of(HUGE + b"\x85", b"K\x01\x85"),
    "a stride of zero": tensor_of(HUGE + b"\x85", b"K\x00\x85"),
    "a negative stride": tensor_of(b"K\x02\x85", b"J\xff\xff\xff\xff\x85"),
    "a storage larger than its file": tensor_of(b"K\x03\x85", b"K\x01\x85", HUGE),
    "a quantized tensor": tensor_of(b"K\x03\x85", b"K\x01\x85", name=b"torch._utils\n_rebuild_qtensor"),
    "a tensor that is set anew": b"ctorch\nTensor\n)\x81(K\x01tb",
}


@pytest.mark.parametrize("options", [True, False], ids=["zip", "before PyTorch 1.6"])
@pytest.mark.parametrize("what", PICKLES)
def test_a_pickle_that_takes_the_machine_is_refused_in_no_time(what: str, options: bool, tmp_path: Path) -> None:
    whole = with_pickle(PICKLES[what])
    if not options:
        old = io.BytesIO()
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(part, old, 2)
        whole = old.getvalue() + b"\x80\x02" + PICKLES[what] + b"."
    (tmp_path / "w.pt").write_bytes(whole)
    before, started = psutil.Process().memory_info().rss, time.process_time()
    error = refusal(lambda: read_checkpoint(tmp_path / "w.pt"))
    assert error.code in ("weights-large", "weights-damaged", "weights-code", "weights-unknown")
    assert time.process_time() - started < 30
    assert psutil.Process().memory_info().rss - before < 1 << 30


def test_more_tensors_or_parts_than_any_checkpoint_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.pt").write_bytes(saved({str(number): one for number, one in enumerate(torch.zeros(50).unbind())}))
    for limit in ("MAX_TENSORS", "MAX_OPERATIONS"):
        with monkeypatch.context() as patch:
            patch.setattr(pickled_content, limit, 49)
            assert refusal(lambda: read_weights(tmp_path / "w.pt")).code == "weights-large"
    assert len(read_weights(tmp_path / "w.pt")) == 50


def test_a_safetensors_file_of_more_tensors_than_any_network_has_is_refused(tmp_path: Path) -> None:
    header = {str(number): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(200_000)}
    text = json.dumps(header).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    started = time.process_time()
    assert refusal(lambda: read_weights(tmp_path / "w.safetensors")).code == "weights-large"
    assert time.process_time() - started < 30


def test_a_checkpoint_of_two_hundred_thousand_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(zipped({"a/data.pkl": b"", **{f"a/data/{n}": b"" for n in range(200_000)}}))
    started = time.process_time()
    assert refusal(lambda: read_weights(tmp_path / "w.pt")).code == "weights-damaged"
    assert time.process_time() - started < 30


def test_optimizer_states_scores_and_settings_beside_the_weights_are_read(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    content = {
        "state_dict": network.state_dict(), "optimizer": optimizer.state_dict(), "scores": [(1, 0.5), (2, None)], "dtype": torch.float32,
        "device": torch.device("cpu"), "size": torch.Size([1, 2]), ("fold", 0): True, "folds": {1, 2}, "parameter": torch.nn.Parameter(torch.ones(1)),
    }  # fmt: skip
    (tmp_path / "w.pt").write_bytes(saved(content))
    read = read_checkpoint(tmp_path / "w.pt")
    assert read["scores"] == content["scores"]
    assert read["folds"] == {1, 2}
    assert read["optimizer"]["state"][0]["exp_avg"].shape == (2, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"channels": [-1, 5500, 5500], "strides": [1, 1]},
        {"channels": [1, 5500, 5500], "strides": [1, 1]},
        {"strides": [0, 2]},
        {"kernel_size": -3},
        {"kernel_size": 9999},
        {"num_res_units": 9999},
        {"channels": [2, "x", 4]},
    ],
)
def test_a_network_that_cannot_be_measured_is_not_built(arguments: dict[str, Any], tmp_path: Path) -> None:
    network = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [2, 4, 8], "strides": [2, 2]}
    inference = {"network_def": {"_target_": "UNet", **network, **arguments}}
    folder = write_bundle(tmp_path / "bundle", inference, {}, unet_weights(network))
    before = psutil.Process().memory_info().rss
    assert refusal(lambda: open_model(folder)).code in ("bundle-network", "weights-mismatch")
    assert psutil.Process().memory_info().rss - before < 256 << 20
