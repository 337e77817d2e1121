"""Networks as OpenVINO has read them, kept on disk for the next process: to read one from PyTorch takes seconds, to open what was kept a fifth of a second.

Whoever opens one compares it with PyTorch on windows of the job before it is used, as what was read just now.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.model_folders import cache_folder
from SegHiResCAMLib.version import VERSION

LIMIT = 2 * 2**30
"""Bytes of all that is kept; what was used least recently goes first."""

NETWORK = "network.xml"
"""OpenVINO's form: this file, and one with the weights beside it."""


def key_of(module: nn.Module, examples: Sequence[torch.Tensor], purpose: str) -> str:
    """What a conversion follows from, as a SHA-256: weights, classes and settings of all modules, sizes, purpose, and versions.

    Args:
        module: As it is.
        examples: The tensors that it takes.
        purpose: What of it is converted.
    """
    versions = [VERSION, *(version(name) for name in ("openvino", "torch", "monai"))]
    digest = hashlib.sha256(repr([purpose, [tuple(one.shape) for one in examples], versions]).encode())
    for name, one in module.named_modules():
        kind = type(one)
        settings = sorted((key, repr(value)) for key, value in vars(one).items() if _is_plain(value))
        code = str(one.inlined_graph) if isinstance(one, torch.jit.ScriptModule) and hasattr(one, "forward") else ""
        digest.update(repr([name, kind.__module__, kind.__qualname__, settings, code]).encode())
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        digest.update(repr([name, tensor.dtype, tuple(tensor.shape)]).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def kept(key: str) -> Any | None:
    """OpenVINO's model that was kept under this key.

    Raises:
        EngineError: `out-of-memory`.
    """
    import openvino

    folder = _folder()
    if folder is None or not (folder / key).is_dir():
        return None
    try:
        (folder / key).touch()
        core = openvino.Core()
        core.set_property({"ENABLE_MMAP": False})  # which would end the process if another one deletes the file
        return core.read_model(folder / key / NETWORK)
    except (OSError, RuntimeError) as error:  # damaged, or being deleted
        refuse_out_of_memory(error)
        shutil.rmtree(folder / key, ignore_errors=True)
        return None


def keep(key: str, model: Any) -> None:
    """Keep OpenVINO's model under this key, where that is possible: nothing depends on it."""
    import openvino

    folder = _folder()
    if folder is None:
        return
    with suppress(OSError, RuntimeError):
        beside = Path(tempfile.mkdtemp(dir=folder))
        try:
            openvino.save_model(model, beside / NETWORK, compress_to_fp16=False)
            if (size := _size(beside)) <= LIMIT:
                _make_room(folder, size, but=beside)
                beside.rename(folder / key)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _folder() -> Path | None:
    """The folder for them, which nobody but the user may write to: a file of somebody else's is not opened."""
    folder = cache_folder() / "converted"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    is_own = os.name == "nt" or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)
    return folder if is_own and folder.is_dir() and not folder.is_symlink() else None


def _make_room(folder: Path, size: int, but: Path) -> None:
    """Delete what was used least recently, until so many bytes more are within the limit."""
    others = [one for one in folder.iterdir() if one.is_dir() and one != but]
    total = size
    for one in sorted(others, key=lambda one: one.stat().st_mtime, reverse=True):
        total += _size(one)
        if total > LIMIT:
            shutil.rmtree(one, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(one.stat().st_size for one in folder.iterdir())


def _is_plain(value: object) -> bool:
    """Whether a value is one that says the same in every process."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
