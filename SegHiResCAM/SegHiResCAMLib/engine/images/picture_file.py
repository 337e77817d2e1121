"""Pictures: PNG, JPEG, TIFF and BMP, decoded by SimpleITK in a process of its own, so that a decoder that crashes is a message."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.data.utils import orientation_ras_lps

from SegHiResCAMLib import child_process
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import free_memory
from SegHiResCAMLib.engine.images.volume_files import MAX_VALUES, FloatArray, damaged, time_points
from SegHiResCAMLib.engine.images.voxels import DEFLATE_RATIO, PLAUSIBLE, PLAUSIBLE_RATIO, Stored, read_voxels
from SegHiResCAMLib.engine.progress import Progress
from SegHiResCAMLib.engine.regular_files import open_regular
from SegHiResCAMLib.writing.temporary import temporary_folder

READERS = {"png": "PNGImageIO", "jpeg": "JPEGImageIO", "tiff": "TIFFImageIO", "bmp": "BMPImageIO"}
"""SimpleITK's, by kind."""

BLANK = 2**25
"""Values that the shortest file may hold: a blank page of 5800 x 5800 pixels."""

DECODER = 3 * 2**29
"""Bytes of address space that the decoder needs for itself, libraries and all."""

PATIENCE = 20.0
BYTES_A_SECOND = 2e6
"""Seconds that a decoder may take, and what a slow one decodes in one."""

UNUSABLE = "it is damaged or incomplete, or a rare variant of its format"


def read_picture(path: Path, name: str, kind: str, progress: Progress) -> tuple[npt.NDArray[np.float32], FloatArray]:
    """The values (C, i, j, k) and the RAS affine: pixels of 1 mm, whatever their print resolution says.

    Raises:
        EngineError: `file-damaged`, `volume-too-large`, `picture-not-decoded` (no process can be started), those of `read_voxels`.
        Cancelled: By `progress`.
    """
    with open_regular(path, name) as file:
        length = file.seek(0, 2)
        if kind == "bmp":
            file.seek(0)
            check_bmp(file.read(54), length, name)
    with temporary_folder("picture") as folder:
        out = folder / "voxels"
        facts = _decode(path, out, READERS[kind], length, name, progress)
        size, channels = facts["size"], facts["channels"]
        if len(size) > 3 and size[3] > 1:
            raise time_points(name, size[3])
        stored = Stored((out,), (channels, *(*size, 1, 1)[:3]), (3, 2, 1, 0), np.dtype(facts["dtype"]), "raw")
        values = read_voxels(stored, name, progress)
    # Grey with alpha, or colour with alpha: the alpha channel is no measurement.
    values = values[:-1] if channels in (2, 4) else values
    # Grey stored as colour is grey.
    if len(values) > 1 and all(np.array_equal(values[0], other) for other in values[1:]):
        values = values[:1].copy()
    return values, orientation_ras_lps(np.eye(4))


def _decode(path: Path, out: Path, reader: str, length: int, name: str, progress: Progress) -> dict[str, Any]:
    """What the decoder answers when it has written the values."""
    most, memory = bounds(length)
    command = [
        _python(name),
        "-m",
        "SegHiResCAMLib.picture_decoder",
        str(Path.cwd() / path),
        reader,
        str(out),
        str(most),
        str(memory),
    ]
    try:
        process = child_process.start(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise _not_decoded(name, f"a process for it cannot be started ({error.strerror})") from error
    end = time.monotonic() + PATIENCE + length / BYTES_A_SECOND
    try:
        while _is_running(process):
            progress(0.0, "Reading")
            if time.monotonic() > end:
                raise damaged(name, f"decoding it took more than {PATIENCE + length / BYTES_A_SECOND:.0f} s")
        assert process.stdout
        answer = process.stdout.read(10_000)
    finally:
        if process.poll() is None:
            child_process.kill(process)
            process.wait()
        if process.stdout:
            process.stdout.close()
    if process.returncode == 1 and not answer:
        raise _not_decoded(name, "the Python that should decode it has no SimpleITK")
    facts: dict[str, Any] = json.loads(answer) if process.returncode == 0 and answer else {"too_large": False}
    if facts.get("too_large"):
        claimed = f" ({facts['values']:.3g} values)" if "values" in facts else ""
        raise EngineError(
            "volume-too-large",
            f"{name} claims to hold an image{claimed} that is too large for its {length / 2**20:.3g} MiB or for the memory. Crop or resample it.",
        )
    if "size" not in facts:
        raise damaged(name, UNUSABLE)
    return facts


def bounds(length: int) -> tuple[int, int]:
    """How many values a picture of that many bytes may hold, and how many bytes of memory its decoder may take."""
    most = min(MAX_VALUES, max(BLANK, DEFLATE_RATIO * length), max(PLAUSIBLE, PLAUSIBLE_RATIO * length) // 4)
    return most, DECODER + 4 * length + min(8 * most, 2**31, free_memory())


def _is_running(process: subprocess.Popen[str]) -> bool:
    try:
        process.wait(0.02)
    except subprocess.TimeoutExpired:
        return True
    return False


def _python(name: str) -> str:
    """A Python to decode with."""
    python = child_process.python_executable()
    if not python:
        raise _not_decoded(name, "there is no Python beside this program that could decode it")
    return python


def _not_decoded(name: str, problem: str) -> EngineError:
    return EngineError("picture-not-decoded", f"{name} was not read: {problem}. Convert it to NRRD or NIfTI.")


def check_bmp(head: bytes, length: int, name: str) -> None:
    """Refuse a bitmap whose header claims more than its file holds, or whose pixels are packed, which no decoder here reads soundly."""
    if len(head) < 54:
        raise damaged(name, "its header is truncated")
    start, size, width, height, _, bits, packing = struct.unpack_from("<IIiiHHI", head, 10)
    if size < 40 or packing not in (0, 3) or bits not in (8, 16, 24, 32) or width < 1 or height == 0:
        raise damaged(name, UNUSABLE)
    expected = math.ceil(width * bits / 32) * 4 * abs(height)
    if length - start < expected:
        raise damaged(name, f"it holds {max(length - start, 0)} of {expected} bytes of pixels")
