"""What the worker and its client say to each other: one JSON object a line, arrays beside it as .npy files.

A line is {"id": 3, "kind": "explain", "body": {...}}. Requests go to the worker's stdin, one at a time; it answers on its stdout with any
number of `Progress` and then one `Result` or `Error` of the same id. `Ready` comes first, unasked, with id 0. `Cancel` names no request of
its own: its id is that of the request to cancel.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from SegHiResCAMLib.out_of_memory import is_out_of_memory, out_of_memory_message
from SegHiResCAMLib.worker.arrays import digest, go_on, save_array

VERSION = 3
"""Raised whenever a message changes its meaning; client and worker of different versions do not talk."""


@dataclass(frozen=True)
class Voxels:
    """An array and where it lies. On its way it is a file, and `array` is None; at home it is an array, and `file` is empty.

    Attributes:
        affine: 4x4 rows, from voxel indices (i, j, k) to RAS millimetres.
        array: (i, j, k) or (C, i, j, k); or a function that gives it, where that takes time.
        file: Name of the .npy file in the private folder. It is made of the content, so equal names hold equal voxels.
    """

    affine: tuple[tuple[float, ...], ...]
    array: Any = None
    file: str = ""

    @classmethod
    def of(cls, array: npt.NDArray[Any] | Callable[[], npt.NDArray[Any]], affine: npt.NDArray[np.float64]) -> Voxels:
        """From numpy arrays."""
        return cls(tuple(tuple(float(value) for value in row) for row in affine), array)

    def stored(self, folder: Path, check: Callable[[], None] = go_on) -> Voxels:
        """The same as a file in `folder`, which is written only where it is not there yet; what `check` raises stops it.

        Raises:
            OSError: It cannot be written; `DiskFull` where there is no room.
        """
        array = np.asarray(self.array() if callable(self.array) else self.array)
        check()
        name = f"volume-{digest(array, check)}.npy"
        if not (folder / name).exists():
            save_array(array, folder / name, check)
        return Voxels(self.affine, file=name)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal voxels at equal places."""
        return self.file, self.affine


@dataclass(frozen=True)
class GetModel:
    """Download a model of the catalogue, as far as it is not there; the result says where it lies, as "path"."""

    name: str


@dataclass(frozen=True)
class OpenModel:
    """Open a model; the result says what it is and which methods there are."""

    model: str


@dataclass(frozen=True)
class Layers:
    """List a model's layers, for a volume's own grid where one is given, and marked for a segment of a size in mm where one is given."""

    model: str
    volume: Voxels | None = None
    axis: str = "auto"
    extent_mm: float | None = None


@dataclass(frozen=True)
class Segment:
    """Segment the volume with the model; the result has the array "labels"."""

    model: str
    volume: Voxels
    mode: str = "auto"
    axis: str = "auto"
    device: str = "auto"


@dataclass(frozen=True)
class Explain:
    """Explain a segment; the result has the array "signed_map".

    Fields mean what they mean in the engine's `ExplainRequest`; the pixel set is in its JSON form, points in RAS millimetres.
    """

    model: str
    volume: Voxels
    segment: str
    method: str = "seg-hires-grad-cam"
    layer: str | None = None
    mode: str = "auto"
    axis: str = "auto"
    device: str = "auto"
    mask: Voxels | None = None
    pixel_set: dict[str, Any] | None = None
    method_options: dict[str, Any] = field(default_factory=dict)
    contrast: str | None = None
    contrast_weight: float = 1.0
    refine_with: tuple[str, ...] = ()
    refine: str = "product"
    precision: str = "full"
    deterministic: bool = False


@dataclass(frozen=True)
class Cancel:
    """Cancel the request of this id."""


@dataclass(frozen=True)
class Shutdown:
    """End. So does closing the worker's stdin."""


@dataclass(frozen=True)
class Ready:
    """The worker is there and speaks this version."""

    version: int


@dataclass(frozen=True)
class Progress:
    """How far a request is: fraction 0 to 1, a short text, and the seconds that remain where they can be estimated."""

    fraction: float
    text: str
    remaining: float | None = None


@dataclass(frozen=True)
class Result:
    """A request is done.

    Attributes:
        facts: Ready for JSON. "reused" lists what was kept from earlier requests: "model", "volume", "segmentation".
        arrays: By name; on the way the name of the .npy file in the private folder.
    """

    facts: dict[str, Any]
    arrays: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Error:
    """A request has failed.

    Attributes:
        code: For programs: the engine's codes, or "cancelled", "engine-missing", "memory", "disk", "internal" (a mistake in the program),
            "worker-missing", "worker-version", "worker-died", or "closed" (the client was, before the request was done).
        sentence: For the user: what is wrong, where, and what to do.
        trace: For the log; empty where the sentence says it all.
    """

    code: str
    sentence: str
    trace: str = ""


Request = GetModel | OpenModel | Layers | Segment | Explain | Cancel | Shutdown
Event = Ready | Progress | Result | Error

KINDS: dict[str, type[Any]] = {
    "get_model": GetModel,
    "open_model": OpenModel,
    "layers": Layers,
    "segment": Segment,
    "explain": Explain,
    "cancel": Cancel,
    "shutdown": Shutdown,
    "ready": Ready,
    "progress": Progress,
    "result": Result,
    "error": Error,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


class NotAMessage(ValueError):  # noqa: N818 - a finding, not a failure: libraries print what they like
    """A line that is no message of this protocol."""


def encode(identifier: int, message: Request | Event) -> str:
    """One line of JSON with its line break. `Voxels` must be stored."""
    body = {one.name: _plain(getattr(message, one.name)) for one in fields(message)}
    line = json.dumps(
        {"id": identifier, "kind": _NAMES[type(message)], "body": body}, allow_nan=False, default=_of_numpy
    )
    return line + "\n"


def decode(line: str) -> tuple[int, Any]:
    """The id and the message of a line.

    Raises:
        NotAMessage: It is none.
    """
    try:
        envelope = json.loads(line)
        body = {name: _from_plain(name, value) for name, value in envelope["body"].items()}
        return int(envelope["id"]), KINDS[envelope["kind"]](**body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise NotAMessage(line.rstrip()) from problem


def unexpected(problem: Exception) -> Error:
    """What is reported of a problem that nobody has foreseen, or of memory that ran out."""
    trace = "".join(traceback.format_exception(problem))
    if is_out_of_memory(problem):
        return Error("memory", out_of_memory_message(problem), trace)
    return Error(
        "internal",
        f"An unexpected error occurred ({type(problem).__name__}: {problem}). The log has the details.",
        trace,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Voxels):
        return {"file": value.file, "affine": value.affine}
    return dict(value) if isinstance(value, Mapping) else value


def _of_numpy(value: Any) -> Any:
    """Positions and options that a script has computed."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{value!r} cannot be written as JSON")


def _from_plain(name: str, value: Any) -> Any:
    if name in ("volume", "mask") and value:
        return Voxels(tuple(map(tuple, value["affine"])), file=value["file"])
    return tuple(value) if name == "refine_with" else value
