"""What OpenVINO has read is kept for the next process: only the same network for the same windows, within a limit, in a folder of the user's own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from SegHiResCAMLib.engine.inference import converted_files, openvino_network
from SegHiResCAMLib.engine.inference.converted_files import NETWORK, key_of
from SegHiResCAMLib.engine.inference.openvino_network import OpenVinoNetwork

pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGHIRESCAM_CACHE", str(tmp_path))
    return tmp_path / "converted"


def a_network(seed: int = 0, act: str = "relu") -> nn.Module:
    torch.manual_seed(seed)
    return BasicUNet(2, 1, 3, features=(4, 4, 8, 8, 16, 4), act=act).eval().requires_grad_(False)


def windows(size: int = 32) -> torch.Tensor:
    return torch.randn(2, 1, size, size, generator=torch.Generator().manual_seed(1))


def answer(network: nn.Module, size: int = 32) -> torch.Tensor:
    images = windows(size)
    with torch.no_grad():
        return OpenVinoNetwork(network, images[:1])(images)


def read_again(*_: object) -> None:
    raise AssertionError("it was kept")


def test_what_was_kept_answers_bit_for_bit_and_is_not_read_from_pytorch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answer(a_network())
    assert [len(list(one.iterdir())) for one in folder.iterdir()] == [2]
    monkeypatch.setattr(openvino_network, "_read", read_again)
    assert torch.equal(answer(a_network()), first)


def test_another_process_finds_the_same_key() -> None:
    code = "from engine.test_converted_files import *; print(key_of(a_network(), [windows()], 'prediction'))"
    room = Path(__file__).parents[1]
    paths = os.pathsep.join([str(room), str(room.parent / "SegHiResCAM")])
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == key_of(a_network(), [windows()], "prediction")


@pytest.mark.parametrize(
    ("network", "size", "purpose"),
    [
        (a_network(1), 32, "prediction"),
        (a_network(act="elu"), 32, "prediction"),
        (a_network(), 48, "prediction"),
        (a_network(), 32, "head down_1"),
        (torch.jit.script(a_network()), 32, "prediction"),
        (torch.jit.trace(a_network(), windows()), 32, "prediction"),
    ],
    ids=["weights", "setting", "size", "purpose", "script", "trace"],
)
def test_whatever_else_is_converted_is_kept_apart(network: nn.Module, size: int, purpose: str) -> None:
    keys = {key_of(a_network(), [windows()], "prediction"), key_of(network, [windows(size)], purpose)}
    assert len(keys) == 2


def test_scripts_that_compute_something_else_with_the_same_weights_are_kept_apart() -> None:
    scripts = [torch.jit.trace(a_network(act=act), windows()) for act in ("relu", "elu")]
    assert len({key_of(one, [windows()], "prediction") for one in scripts}) == 2


def test_what_was_used_least_recently_makes_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    for number, size in enumerate((32, 48, 64)):
        answer(a_network(), size)
        known = {one.name: one for one in folder.iterdir()}
        sizes.append(next(name for name in known if name not in sizes))
        os.utime(known[sizes[-1]], (1000 + number, 1000 + number))
    answer(a_network(), 32)  # used
    assert (folder / sizes[0]).stat().st_mtime > time.time() - 600
    each = sum(one.stat().st_size for one in (folder / sizes[0]).iterdir())
    monkeypatch.setattr(converted_files, "LIMIT", 3.5 * each)
    answer(a_network(), 80)
    left = {one.name for one in folder.iterdir()}
    assert len(left) == 3
    assert {sizes[0], sizes[2]} < left


def test_what_is_larger_than_the_limit_is_not_kept_and_drives_nothing_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(a_network(), 32)
    before = sorted(folder.iterdir())
    monkeypatch.setattr(converted_files, "LIMIT", 1000)
    answer(a_network(), 48)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("content", [b"", b"<net name='x' version='11'>", b"\0" * 1000])
def test_a_damaged_file_is_read_from_pytorch_again(folder: Path, content: bytes) -> None:
    first = answer(a_network())
    (one,) = folder.iterdir()
    (one / NETWORK).write_bytes(content)
    assert torch.equal(answer(a_network()), first)
    assert (one / NETWORK).stat().st_size > 1000


def test_weights_that_are_cut_off_are_read_from_pytorch_again(folder: Path) -> None:
    first = answer(a_network())
    (one,) = folder.iterdir()
    weights = (one / NETWORK).with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:100])
    assert torch.equal(answer(a_network()), first)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_folder_that_others_may_write_to_is_not_used(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    answer(a_network())
    assert not list(folder.iterdir())


def test_a_link_to_another_folder_is_not_used(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    folder.symlink_to(other, target_is_directory=True)
    answer(a_network())
    assert not list(other.iterdir())


def test_without_a_place_for_it_nothing_is_kept_and_nothing_fails(folder: Path) -> None:
    folder.write_text("a file", encoding="utf-8")
    assert answer(a_network()).isfinite().all()


def test_a_full_disk_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    def full(_model: object, path: Path, **_options: object) -> None:
        Path(path).write_bytes(b"<half")
        raise RuntimeError("cannot write")

    monkeypatch.setattr(openvino, "save_model", full)
    answer(a_network())
    assert not list(folder.iterdir())
