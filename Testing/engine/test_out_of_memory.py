"""One place knows what it looks like when memory ran out, and every handler of any error asks there first."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Lambdad
from torch import nn

import SegHiResCAMLib
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.volume import write_volume
from SegHiResCAMLib.engine.inference.preprocessing import prepare
from SegHiResCAMLib.engine.models.model import SegmentationModel, WindowSettings
from SegHiResCAMLib.out_of_memory import is_out_of_memory, out_of_memory_message
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.worker.jobs import error_of

LIBRARY = Path(SegHiResCAMLib.__file__).parent

ON_THE_CPU = [
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4294967296 bytes. "
        "Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:83] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."
    ),
    RuntimeError("std::bad_alloc"),
    RuntimeError("bad allocation"),
    MemoryError(),
    MemoryError("Unable to allocate 2.33 GiB for an array with shape (512, 512, 1192) and data type float64"),
    RuntimeError(
        "Exception thrown in SimpleITK ImageFileReader_Execute: itkImportImageContainer.hxx:191: Failed to allocate memory for image."
    ),
    zlib.error("Error -4 while decompressing data"),
    OSError(12, "Cannot allocate memory"),
    OSError(22, "The paging file is too small for this operation to complete"),
]
ON_A_GPU = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB, max allowed: 18.1 GB)."),
]
OTHERS = [
    RuntimeError("shapes do not fit"),
    ValueError("the allocation of slices to series is ambiguous"),
    zlib.error("Error -3 while decompressing data: incorrect header check"),
    OSError(28, "No space left on device"),
]


@pytest.mark.parametrize("error", [*ON_THE_CPU, *ON_A_GPU], ids=str)
def test_memory_that_ran_out_is_known_by_the_words_of_every_library(error: Exception) -> None:
    assert is_out_of_memory(error)
    answer = error_of(error)
    assert answer.code == "memory"
    assert "emory" in answer.message
    assert ("--device cpu" in answer.message) == (error in ON_A_GPU)


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_are_not_about_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_memory_that_ran_out_is_known_behind_the_error_of_a_wrapper() -> None:
    wrapped = RuntimeError("applying transform Spacingd")
    wrapped.__cause__ = ON_THE_CPU[0]
    assert is_out_of_memory(wrapped)
    assert out_of_memory_message(wrapped).startswith("Out of memory.")


@pytest.mark.parametrize("error", ON_THE_CPU[:7], ids=str)
def test_preprocessing_that_runs_out_of_memory_says_that_and_nothing_of_the_volume(error: Exception) -> None:
    def fail(_image: object) -> object:
        raise error

    model = SegmentationModel(
        name="Case", network=nn.Identity(), spatial_dims=3, in_channels=1, labels=(Label("cyst", 1, 1, (0, 1, 0)),),
        activation="softmax", preprocessing=Compose([Lambdad("image", fail)]), window=WindowSettings(), sha256="0" * 64, source="here",
    )  # fmt: skip
    if isinstance(error, MemoryError):  # which MONAI lets through
        with pytest.raises((EngineError, MemoryError)) as raised:
            prepare(model, MetaTensor(torch.zeros(1, 4, 4, 4)))
        assert error_of(raised.value).code in ("memory", "out-of-memory")
        return
    with pytest.raises(EngineError, match="Out of memory") as raised:
        prepare(model, MetaTensor(torch.zeros(1, 4, 4, 4)))
    assert raised.value.code == "out-of-memory"


WITH_LITTLE_MEMORY = """
import os, resource, sys
from pathlib import Path
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Spacingd
from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.engine.inference.preprocessing import prepare
from SegHiResCAMLib.engine.models.model import SegmentationModel, WindowSettings
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.worker.jobs import error_of
model = SegmentationModel(
    "Case", torch.nn.Identity(), 3, 1, (Label("cyst", 1, 1, (0, 1, 0)),), "softmax",
    Compose([Spacingd("image", (0.02, 0.02, 0.02))]), WindowSettings(), "0" * 64, "here")
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * os.sysconf("SC_PAGE_SIZE") + 2**25
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for work in (lambda: read_volume(sys.argv[1]), lambda: prepare(model, MetaTensor(torch.rand(1, 32, 32, 32)))):
    try:
        work()
    except Exception as problem:
        print(error_of(problem).code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_reading_and_preparing_what_does_not_fit_is_about_memory_in_a_real_process(tmp_path: Path) -> None:
    write_volume(MetaTensor(torch.zeros(1, 256, 256, 256)), tmp_path / "zeros.mha")
    done = subprocess.run(
        [sys.executable, "-c", WITH_LITTLE_MEMORY, str(tmp_path / "zeros.mha")], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    codes = done.stdout.split()
    assert len(codes) == 2
    assert set(codes) <= {"memory", "out-of-memory", "volume-too-large"}


ASKS = {"refuse_out_of_memory", "is_out_of_memory", "preparing_failed", "unexpected", "error_of", "exec"}

NEED_NOT_ASK = {
    ("models/untrusted/pickled_names.py", "_pickle_in"),  # reads 64 MB at most, for a message about something else
    ("models/untrusted/pickled_names.py", "_names"),
    ("models/auto3dseg/auto3dseg.py", "_is_checkpoint"),  # reads names alone
    ("models/networks.py", "_used"),  # on the meta device, which takes no memory
    ("models/catalogue/download.py", "fetch"),  # hands errors on to the thread that waits
    ("models/catalogue/download.py", "_arriving"),
    ("inference/device.py", "repeatable"),  # passes on all but one error
}


def catch_alls() -> list[tuple[str, str, bool]]:
    """Every handler of any error in the engine: its file, its function, and whether it asks."""
    found = []
    for file in sorted((LIBRARY / "engine").rglob("*.py")):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            for handler in ast.walk(function):
                if isinstance(handler, ast.ExceptHandler):
                    caught = {
                        one.id for one in ast.walk(handler.type or ast.Name("Exception")) if isinstance(one, ast.Name)
                    }
                    called = {
                        one.func.id
                        for one in ast.walk(handler)
                        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)
                    }
                    if caught & {"Exception", "BaseException", "RuntimeError"}:
                        place = file.relative_to(LIBRARY / "engine").as_posix()
                        found.append((place, function.name, bool(called & ASKS)))
    return found


def test_every_handler_of_any_error_in_the_engine_asks_whether_memory_ran_out() -> None:
    silent = {(file, function) for file, function, asks in catch_alls() if not asks}
    assert silent - NEED_NOT_ASK == set()
    assert NEED_NOT_ASK - {(file, function) for file, function, _ in catch_alls()} == set(), "no longer there"


def test_what_is_allocated_here_is_what_numpy_refuses() -> None:
    with pytest.raises(MemoryError) as raised:
        np.empty((2**20, 2**20, 2**10))
    assert is_out_of_memory(raised.value)
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)
