"""Whatever bytes a reader gets, it reads them or says in a sentence why not; nothing else ever comes out of it.

A short run is part of the tests. A long one: `PYTHONPATH=Testing python Testing/engine/test_fuzz.py SECONDS`, which prints what fell out.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.networks import nets
from refusals import done_or_refused

from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.models.catalogue.catalogue import entries
from SegHiResCAMLib.engine.models.describe import describe_checkpoint
from SegHiResCAMLib.engine.models.untrusted.checkpoint import read_weights
from SegHiResCAMLib.engine.models.untrusted.config_file import read_config
from SegHiResCAMLib.engine.models.untrusted.resolver import Config
from SegHiResCAMLib.resources import resource

UNET: dict[str, Any] = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [2, 4], "strides": [2]}
PLAIN = {
    "network": {"class": "UNet", "arguments": UNET},
    "labels": [{"name": "kidney", "value": 1, "channel": 1, "color": [1, 2, 3], "snomed": "64033007"}],
    "orientation": "RAS",
    "spacing": [1, 1, None],
    "intensity": [{"step": "scale", "range": [0, 1], "to": [0, 1], "clip": True}, {"step": "z-score", "nonzero": True}],
    "window": {"size": [8, 8, 8], "overlap": 0.5},
}
CONFIG = {
    "a": {"b": [1, "@c", "%d", "$@c + 1", "$len('x')"]},
    "c": 2,
    "d": "@a::b::0",
    "e": {"_target_": "UNet", "x": "@e", "_disabled_": "$@c > 1"},
}


# Readers: each takes a folder, the bytes to read, and does all that opening such a file does.


def config(folder: Path, data: bytes) -> None:
    for name in ("fuzz.json", "fuzz.yaml"):
        (folder / name).write_bytes(data)
        with done_or_refused():
            read_config(folder / name)


def resolver(folder: Path, data: bytes) -> None:
    (folder / "fuzz.json").write_bytes(data)
    with done_or_refused():
        content = read_config(folder / "fuzz.json")
        resolved = Config(content, "fuzz.json")
        for key in content:
            with done_or_refused():
                resolved.need(resolved.resolve(key))
            with done_or_refused():
                resolved.steps(key)


def checkpoint(folder: Path, data: bytes) -> None:
    (folder / "fuzz.pt").write_bytes(data)
    with done_or_refused():
        read_weights(folder / "fuzz.pt")
    with done_or_refused():
        describe_checkpoint(folder / "fuzz.pt")


def safetensors(folder: Path, data: bytes) -> None:
    (folder / "fuzz.safetensors").write_bytes(data)
    with done_or_refused():
        describe_checkpoint(folder / "fuzz.safetensors")


def description(folder: Path, data: bytes) -> None:
    weights = folder / "plain.pt"
    if not weights.exists():
        torch.save(nets.UNet(**UNET).state_dict(), weights)
    (folder / "plain.json").write_bytes(data)
    with done_or_refused():
        open_model(weights)


def catalogue(folder: Path, data: bytes) -> None:
    (folder / "catalogue.json").write_bytes(data)
    with done_or_refused(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGHIRESCAM_CATALOGUE", str(folder / "catalogue.json"))
        entries()


def model_file(folder: Path, data: bytes) -> None:
    for name in ("fuzz.zip", "fuzz.pth"):
        (folder / name).write_bytes(data)
        with done_or_refused():
            open_model(folder / name)


def volume(folder: Path, data: bytes) -> None:
    (folder / "volume").write_bytes(data)
    with done_or_refused():
        read_volume(folder / "volume")


# Samples that are sound, to be changed from.


def json_of(value: object) -> bytes:
    return json.dumps(value).encode()


def torch_file(**options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(nets.UNet(**UNET).state_dict(), file, **options)
    return file.getvalue()


def safetensors_file() -> bytes:
    from safetensors.torch import save

    return save(nets.UNet(**UNET).state_dict())


def zip_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            "bundle/configs/inference.json", json_of({"network_def": {"_target_": "UNet", **UNET}, "preprocessing": []})
        )
        archive.writestr("bundle/configs/metadata.json", "{}")
        archive.writestr("bundle/models/model.pt", torch_file())
    return file.getvalue()


def nifti_file(*, two: bool = False) -> bytes:
    import nibabel as nib

    kind = nib.Nifti2Image if two else nib.Nifti1Image
    return kind(np.zeros((3, 4, 5), np.int16), np.diag([2.0, 2, 3, 1])).to_bytes()


NRRD = (
    b"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 3 4 5\n"
    b"space directions: (1,0,0) (0,1,0) (0,0,2)\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
    b"space origin: (0,0,0)\n\n" + bytes(120)
)
METAIMAGE = (
    b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
    b"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = 3 4 5\n"
    b"ElementType = MET_SHORT\nElementDataFile = LOCAL\n" + bytes(120)
)


def dicom_file() -> bytes:
    import pydicom
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.SeriesInstanceUID, data.StudyInstanceUID = generate_uid(), generate_uid()
    data.FrameOfReferenceUID = generate_uid()
    data.Modality, data.Rows, data.Columns = "CT", 4, 4
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [1, 1], 1
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation, data.SamplesPerPixel = 15, 1, 1
    data.PhotometricInterpretation, data.RescaleSlope, data.RescaleIntercept = "MONOCHROME2", 1, 0
    data.PixelData = bytes(32)
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


READERS: dict[str, tuple[Callable[[Path, bytes], None], Callable[[], list[bytes]]]] = {
    "config": (config, lambda: [json_of(CONFIG), b"a: &x [1, 2]\nb: *x\nc: !!timestamp 2020-01-01\n? [d]\n: 1\n"]),
    "resolver": (resolver, lambda: [json_of(CONFIG)]),
    "checkpoint": (
        checkpoint,
        lambda: [torch_file(), torch_file(_use_new_zipfile_serialization=False)],
    ),
    "safetensors": (safetensors, lambda: [safetensors_file()]),
    "description": (description, lambda: [json_of(PLAIN)]),
    "catalogue": (catalogue, lambda: [resource("Models", "catalogue.json").read_bytes()]),
    "model file": (model_file, lambda: [zip_file(), torch_file()]),
    "NIfTI": (volume, lambda: [nifti_file(), nifti_file(two=True), gzip.compress(nifti_file())]),
    "NRRD": (volume, lambda: [NRRD]),
    "MetaImage": (volume, lambda: [METAIMAGE]),
    "DICOM": (volume, lambda: [dicom_file()]),
}

INTERESTING = [0, 1, 0x7F, 0x80, 0xFF]
WORDS = [
    b"-1",
    b"0",
    b"nan",
    b"inf",
    b"1e999",
    b"99999999999",
    b"null",
    b"[]",
    b"{}",
    b'"@a"',
    b'"$1+1"',
    b"\0",
    b"\n",
    b"true",
    b"../",
]


def changed(sample: bytes, chance: random.Random) -> bytes:
    """A few bytes flipped, words put in, pieces cut out, moved or repeated, or the end cut off; mostly near the start, where headers are."""
    data = bytearray(sample)
    for _ in range(chance.choice([1, 1, 2, 3, 8])):
        reach = len(data) if chance.random() < 0.4 else min(len(data), 400)
        at = chance.randrange(reach) if reach else 0
        match chance.randrange(7):
            case 0 if data:
                data[at] = chance.choice([*INTERESTING, chance.randrange(256)])
            case 1 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                word = chance.choice(WORDS)
                data[at : at + chance.choice([0, len(word)])] = word
            case 3:
                del data[at : at + chance.randrange(1, 9)]
            case 4:
                data[at:at] = data[at : at + chance.randrange(1, 65)]
            case 5 if len(data) > 8:
                kind = chance.choice(["<h", "<i", "<q", "<f", ">i"])
                number = chance.choice(
                    [0, -1, 1, 2**15 - 1] if kind != "<f" else [float("nan"), float("inf"), 1e30, -1.0]
                )
                packed = struct.pack(kind, number)
                data[at : at + len(packed)] = packed
            case _:
                if chance.random() < 0.2:
                    del data[at:]
    return bytes(data)


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused_with_a_sentence(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    read, samples = READERS[reader]
    chance = random.Random(0)
    end = time.process_time() + 0.5
    for sample in samples():
        read(tmp_path, sample)
    while time.process_time() < end:
        read(tmp_path, changed(chance.choice(samples()), chance))


NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["@a", "%a", "$@a", "@a::0", "$[1] + @a", "$1/0", "@", "%", "$", "@a::a", "UNet", "$not @a", "%a.json::b"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["a", "b", "_target_", "_disabled_", "_mode_", "transforms", "0"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), NODES, max_size=3))
def test_every_mapping_is_resolved_or_refused_with_a_sentence(content: dict[str, Any]) -> None:
    resolved = Config(content, "fuzz.json")
    for key in content:
        with done_or_refused():
            resolved.need(resolved.resolve(key))
        with done_or_refused():
            resolved.steps(key)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(field=st.sampled_from(sorted(PLAIN)), value=NODES, inside=st.booleans())
def test_every_description_is_opened_or_refused_with_a_sentence(field: str, value: Any, inside: bool) -> None:
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
def test_every_state_dict_is_recognised_or_refused_with_a_sentence(shapes: dict[str, list[int]]) -> None:
    file = io.BytesIO()
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, file)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint(Path(folder), file.getvalue())


def long_run(seconds: float) -> None:
    """Every reader in turn, printing each new way in which something other than a sentence came out."""
    chance = random.Random(time.time())
    seen: set[str] = set()
    runs = dict.fromkeys(READERS, 0)
    samples = {name: make() for name, (_, make) in READERS.items()}
    end = time.process_time() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.process_time() < end:
            for name, (read, _) in READERS.items():
                for _ in range(50):
                    data = changed(chance.choice(samples[name]), chance)
                    started = time.process_time()
                    try:
                        read(Path(folder), data)
                    except Exception as error:  # noqa: BLE001 - whatever falls out
                        where = traceback.extract_tb(error.__traceback__)[-1]
                        what = f"{name}: {type(error).__name__} at {where.filename}:{where.lineno}"
                        if what not in seen:
                            seen.add(what)
                            kept = Path(tempfile.gettempdir()) / f"fuzz-{len(seen)}-{name.replace(' ', '-')}"
                            kept.write_bytes(data)
                            print(what, str(error)[:300], kept, flush=True)
                            traceback.print_exc()
                    if time.process_time() - started > 5:
                        print(f"{name}: took {time.process_time() - started:.1f} s", flush=True)
                    runs[name] += 1
    print(f"{sum(runs.values())} files, {len(seen)} ways to fall out; {runs}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    long_run(float(sys.argv[1]))
