"""Descriptions that would take the machine, and files that are not files, are refused before anything waits, grows or is built."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from refusals import refusal
from tiny_bundle import NETWORK, unet_weights, write_bundle, write_tiny_bundle

from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.models.untrusted.config_file import MAX_YAML, read_config
from SegHiResCAMLib.engine.regular_files import referred_to

STEPS: dict[str, list[dict[str, Any]]] = {
    "a window of 10001": [{"_target_": "SavitzkyGolaySmoothd", "window_length": 10001, "order": 3}],
    "forty zooms": [{"_target_": "Zoomd", "zoom": 1.5}] * 40,
    "zooms that grow and shrink": [{"_target_": "Zoomd", "zoom": 4.0}, {"_target_": "Zoomd", "zoom": 0.25}] * 20,
    "a zoom of a thousand": [{"_target_": "Zoomd", "zoom": [1, 1, 1000]}],
    "a size of a billion": [{"_target_": "Resized", "spatial_size": [4000, 4000, 4000]}],
    "padding": [{"_target_": "SpatialPadd", "spatial_size": [4096, 4096, 4096]}],
    "a border": [{"_target_": "BorderPadd", "spatial_border": 100_000}],
    "a multiple": [{"_target_": "DivisiblePadd", "k": 100_000}],
    "a spacing of a micrometre": [{"_target_": "Spacingd", "pixdim": [0.001, 0.001, 0.001]}],
    "a median of 201 voxels": [{"_target_": "MedianSmoothd", "radius": 100}],
    "a wide Gaussian": [{"_target_": "GaussianSmoothd", "sigma": 10_000.0}],
    "many channels": [{"_target_": "RepeatChanneld", "repeats": 1_000_000}],
    "a billion bins": [{"_target_": "HistogramNormalized", "num_bins": 1_000_000_000}],
    "a thousand steps": [{"_target_": "Flipd", "spatial_axis": 0}] * 1000,
}


def bundle_with(steps: list[dict[str, Any]], folder: Path) -> Path:
    network = {"spatial_dims": 3, **NETWORK}
    inference = {
        "network_def": {"_target_": "UNet", **network},
        "preprocessing": {"_target_": "Compose", "transforms": [{**step, "keys": "image"} for step in steps]},
    }
    return write_bundle(folder, inference, {}, unet_weights(network))


@pytest.mark.parametrize("what", STEPS)
def test_preprocessing_out_of_all_proportion_is_refused_before_it_is_built(what: str, tmp_path: Path) -> None:
    folder = bundle_with(STEPS[what], tmp_path / "bundle")
    assert refusal(lambda: open_model(folder)).code == "bundle-transform"


def test_preprocessing_of_real_models_is_within_the_limits(tmp_path: Path) -> None:
    steps = [
        {"_target_": "Spacingd", "pixdim": [0.5, 0.5, 1.0]},
        {"_target_": "Resized", "spatial_size": [512, 512, -1]},
        {"_target_": "Zoomd", "zoom": 2.0},
        {"_target_": "GaussianSmoothd", "sigma": 2.0},
        {"_target_": "SavitzkyGolaySmoothd", "window_length": 11, "order": 3},
        {"_target_": "MedianSmoothd", "radius": 1},
        {"_target_": "DivisiblePadd", "k": 32},
    ]
    assert len(open_model(bundle_with(steps, tmp_path / "bundle")).preprocessing.transforms) == len(steps)


YAML = {
    "lists in lists": b"[" * MAX_YAML,
    "blocks in blocks": b"- " * (MAX_YAML // 2),
    "mappings in lists": b"a: " + b"[{a: " * (MAX_YAML // 6),
    "aliases of aliases": b"".join(b"a%d: &a%d [%s]\n" % (n, n, b"*a%d," % (n - 1) * 10 if n else b"1") for n in range(40)),
    "many aliases": b"a: &a [1, 2, 3, 4, 5]\nb: [" + b"*a," * (MAX_YAML // 4) + b"]",
    "half a megabyte": b"a: [" + b"1," * 250_000 + b"]",
    "a long number": b"a: " + b"1" * (MAX_YAML - 10),
    "many numbers": b"a: [" + b"1," * (MAX_YAML // 3) + b"]",
}  # fmt: skip


@pytest.mark.parametrize("what", YAML)
def test_yaml_takes_seconds_at_most(what: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(YAML[what])
    started = time.process_time()
    if what == "many numbers":
        assert len(read_config(tmp_path / "a.yaml")["a"]) == MAX_YAML // 3
    else:
        assert refusal(lambda: read_config(tmp_path / "a.yaml")).code == "config-unreadable"
    assert time.process_time() - started < 30


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs on this system")
@pytest.mark.parametrize("name", ["configs/inference.json", "configs/metadata.json", "models/model.pt"])
@pytest.mark.parametrize("what", ["a pipe", "a device"])
def test_a_model_of_pipes_and_devices_is_refused_without_waiting(name: str, what: str, tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "bundle")
    (folder / name).unlink()
    if what == "a pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("/dev/zero")
    assert refusal(lambda: open_model(folder)).code in ("file-not-regular", "bundle-incomplete", "weights-damaged")


def test_a_model_whose_files_are_links_into_a_cache_is_opened(tmp_path: Path) -> None:
    """As download caches lay them out: a link beside others, to a file named by its hash."""
    folder = write_tiny_bundle(tmp_path / "bundle")
    (tmp_path / "blobs").mkdir()
    (folder / "models/model.pt").replace(tmp_path / "blobs/0123")
    (folder / "models/model.pt").symlink_to("../../blobs/0123")
    (tmp_path / "link").symlink_to(folder)
    assert open_model(tmp_path / "link").name == "Tiny network"


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "/etc/passwd", "../model.pt", "x" * 300, "\ud800", "a:b"])
def test_a_name_that_is_not_a_file_name_leads_nowhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"weights": name}), encoding="utf-8")
    assert refusal(lambda: open_model(tmp_path / "model.json")).code == "weights-absent"
    assert refusal(lambda: referred_to(tmp_path / "model.json", name, "'model.json'")).code == "reference-refused"
