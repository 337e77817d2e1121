"""What the worker and its client say to each other: one JSON object a line, arrays beside it as .npy files.

Where both see the same folder, the files are there; on another computer, the worker names those that it misses (`Wanted`), and they travel as
`Chunk` lines with bytes behind them (`frames.py`), in either direction.

A line is {"id": 3, "kind": "explain", "body": {...}}, where the body is the JSON form of one of the records here. Requests go to the worker's stdin, one at a time; it answers on its stdout with any
number of `Progress` and then one `Result` or `Error` of the same id. `Ready` comes first, unasked, with id 0. `Cancel` names no request of
its own: its id is that of the request to cancel.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from SegHiResCAMLib.out_of_memory import is_out_of_memory, out_of_memory_message
from SegHiResCAMLib.records.evidence import WhatIfRecord
from SegHiResCAMLib.records.explanation import ExplanationRecord, ModelReference
from SegHiResCAMLib.records.input_shares import InputShares
from SegHiResCAMLib.records.json_form import LOCAL, from_json, to_json
from SegHiResCAMLib.records.map_check import Fill, MapCheck
from SegHiResCAMLib.records.mistakes import Comparison
from SegHiResCAMLib.records.models import LayerList, MethodSummary, ModelSummary
from SegHiResCAMLib.records.question import Axis, Question, SegmentOptions
from SegHiResCAMLib.records.region_shares import RegionShare
from SegHiResCAMLib.worker.arrays import digest, go_on, save_array

VERSION = 8
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
    array: Any = field(default=None, metadata=LOCAL)
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
    """Download a model of the catalogue, as far as it is not there; answered by a `ModelPath`."""

    name: str


@dataclass(frozen=True)
class OpenModel:
    """Open a model; answered by a `ModelOpened`."""

    model: str


@dataclass(frozen=True)
class Layers:
    """List a model's layers, for a volume's own grid where one is given, with caveats for a segment of a size in mm where one is given."""

    model: str
    volume: Voxels | None = None
    axis: Axis = "auto"
    extent_mm: float | None = None


@dataclass(frozen=True)
class SegmentVolume:
    """Segment the volume with the model; answered by a `Segmented`, with the array "labels"."""

    model: str
    volume: Voxels
    options: SegmentOptions = field(default_factory=SegmentOptions)


@dataclass(frozen=True)
class AboutQuestion:
    """What every request about a question has.

    Attributes:
        model: Its path.
        volume: All channels.
        question: Points are in RAS millimetres.
        mask: Of the voxels that are asked about, where the question's region is a mask.
        reference: Label map, for regions that are mistakes.
        reference_names: Of the reference's values 1, 2 and so on, which are matched with the model's segments; none: it has the model's values.
    """

    model: str
    volume: Voxels
    question: Question
    mask: Voxels | None = None
    reference: Voxels | None = None
    reference_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explain(AboutQuestion):
    """Explain a segment; answered by an `Explained`, with the array "signed_map", for smooth maps also "deviation".

    Attributes:
        further: Segments that are explained in the same forward passes, with the arrays "signed_map_1", "deviation_1" and so on.
        whole: Whether the answer has the model's segmentation, too ("labels"), and what was explained where that is not simply a predicted segment
            ("explained", "explained_1" and so on).
    """

    further: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class CheckMap(AboutQuestion):
    """Check the map that an `Explain` of these fields gives; answered by a `MapChecked`.

    Attributes:
        seed: Of every draw.
    """

    seed: int = 0


@dataclass(frozen=True)
class MeasureRegions:
    """Measure how a map is spread over regions; answered by a `RegionsMeasured`.

    Attributes:
        signed_map: Of a heat map.
        regions: Label map, in any geometry.
        names: Of its values 1, 2 and so on.
    """

    signed_map: Voxels
    regions: Voxels
    names: tuple[str, ...]


@dataclass(frozen=True)
class MeasureOwnRegions:
    """Measure how a map is spread over what the model segments in the volume; answered by a `RegionsMeasured`."""

    model: str
    volume: Voxels
    signed_map: Voxels
    options: SegmentOptions = field(default_factory=SegmentOptions)


@dataclass(frozen=True)
class CompareSegmentation:
    """Compare what the model segments in the volume with a reference; answered by a `Compared`.

    Attributes:
        reference: Label map, in any geometry.
        names: Of its values 1, 2 and so on.
        segments: That are asked about, of the model; others are compared where the reference has them.
    """

    model: str
    volume: Voxels
    reference: Voxels
    names: tuple[str, ...]
    segments: tuple[str, ...] = ()
    options: SegmentOptions = field(default_factory=SegmentOptions)


@dataclass(frozen=True)
class RemoveRegion(AboutQuestion):
    """Replace a question's region and segment again; answered by a `RegionRemoved`, with the array "labels": what is segmented then."""

    fill: Fill = "shell"
    seed: int = 0


@dataclass(frozen=True)
class ShareInputs(AboutQuestion):
    """Divide the score of a question among the model's input images; answered by an `InputsShared`."""

    seed: int = 0


@dataclass(frozen=True)
class ModelFile:
    """A file of a model: its name with slashes, from the folder above the model's own; its bytes; its SHA-256, lower-case hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class SendModel:
    """Take a model from the client's computer, as far as it is not there; answered by a `ModelPath`, which the other requests take.

    Attributes:
        opened: Name of the file or folder to open, as the files' names are.
        files: All that there are.
    """

    opened: str
    files: tuple[ModelFile, ...]


@dataclass(frozen=True)
class Chunk:
    """A piece of a file; its bytes follow the line, compressed.

    Attributes:
        file: Name of the file, as the other end has asked for it.
        size: Of the whole file.
        start: Where the piece begins in it.
        length: Of what follows, in bytes.
    """

    file: str
    size: int
    start: int
    length: int


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
class Wanted:
    """The worker needs these files of the request, by their names in it, and does not have them."""

    files: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """How far a request is: fraction 0 to 1, a short text, and the seconds that remain where they can be estimated."""

    fraction: float
    text: str
    remaining: float | None = None


@dataclass(frozen=True)
class ModelPath:
    """Where a downloaded model lies."""

    kind: ClassVar = "path"
    path: str


@dataclass(frozen=True)
class ModelOpened:
    """What a model is, and the methods that can be applied to it."""

    kind: ClassVar = "opened"
    model: ModelSummary
    methods: tuple[MethodSummary, ...]


@dataclass(frozen=True)
class LayersListed:
    """A model's layers."""

    kind: ClassVar = "layers"
    layers: LayerList


@dataclass(frozen=True)
class Segmented:
    """Which model has segmented, what computed it, and why."""

    kind: ClassVar = "segmented"
    model: ModelSummary
    engine: str = ""


@dataclass(frozen=True)
class Explained:
    """A heat map, without its voxels, and those of further segments."""

    kind: ClassVar = "explained"
    record: ExplanationRecord
    further: tuple[ExplanationRecord, ...] = ()


@dataclass(frozen=True)
class MapChecked:
    """What was found when a map was checked.

    Attributes:
        check: It.
        record: Of the map, as it was made once more.
    """

    kind: ClassVar = "checked"
    check: MapCheck
    record: ExplanationRecord


@dataclass(frozen=True)
class RegionsMeasured:
    """How a map is spread over regions; of the model's own, which model that is."""

    kind: ClassVar = "regions"
    regions: tuple[RegionShare, ...]
    model: ModelReference | None = None


@dataclass(frozen=True)
class Compared:
    """How a model's segmentation differs from a reference."""

    kind: ClassVar = "compared"
    comparison: Comparison
    model: ModelReference


@dataclass(frozen=True)
class RegionRemoved:
    """What became of the segments, and what they are."""

    kind: ClassVar = "removed"
    record: WhatIfRecord
    model: ModelSummary


@dataclass(frozen=True)
class InputsShared:
    """How a score is divided among the model's input images."""

    kind: ClassVar = "shares"
    shares: InputShares
    model: ModelReference


Answer = (
    ModelPath
    | ModelOpened
    | LayersListed
    | Segmented
    | Explained
    | MapChecked
    | RegionsMeasured
    | Compared
    | RegionRemoved
    | InputsShared
)


@dataclass(frozen=True)
class Result:
    """A request is done.

    Attributes:
        answer: What was asked for.
        files: Names of the .npy files in the private folder that hold the answer's arrays, by the arrays' names.
        reused: What was kept from earlier requests: "model", "volume", "segmentation".
        arrays: At home, what was in the files.
    """

    answer: Answer
    files: Mapping[str, str] = field(default_factory=dict)
    reused: tuple[str, ...] = ()
    arrays: Mapping[str, Any] = field(default_factory=dict, metadata=LOCAL)


@dataclass(frozen=True)
class Error:
    """A request has failed.

    Attributes:
        code: For programs: the engine's codes, or "cancelled", "engine-missing", "memory", "disk", "internal" (a mistake in the program),
            "worker-missing", "worker-version", "worker-died", "worker-unexpected" (it sent what nobody asked for), "model-not-sent", or "closed" (the client was, before the request was done).
        message: For the user: what is wrong, where, and what to do.
        trace: For the log; empty where the message says it all.
    """

    code: str
    message: str
    trace: str = ""


Task = (
    GetModel
    | OpenModel
    | SendModel
    | Layers
    | SegmentVolume
    | Explain
    | CheckMap
    | MeasureRegions
    | MeasureOwnRegions
    | CompareSegmentation
    | RemoveRegion
    | ShareInputs
)
"""What is answered, by the type that `ANSWERED_BY` says."""

Request = Task | Cancel | Shutdown | Chunk
Event = Ready | Wanted | Chunk | Progress | Result | Error

ANSWERED_BY: dict[type[Any], type[Any]] = {
    GetModel: ModelPath,
    OpenModel: ModelOpened,
    SendModel: ModelPath,
    Layers: LayersListed,
    SegmentVolume: Segmented,
    Explain: Explained,
    CheckMap: MapChecked,
    MeasureRegions: RegionsMeasured,
    MeasureOwnRegions: RegionsMeasured,
    CompareSegmentation: Compared,
    RemoveRegion: RegionRemoved,
    ShareInputs: InputsShared,
}

KINDS: dict[str, type[Any]] = {
    "get_model": GetModel,
    "open_model": OpenModel,
    "layers": Layers,
    "segment": SegmentVolume,
    "explain": Explain,
    "check_map": CheckMap,
    "measure_regions": MeasureRegions,
    "measure_own_regions": MeasureOwnRegions,
    "compare": CompareSegmentation,
    "remove_region": RemoveRegion,
    "share_inputs": ShareInputs,
    "send_model": SendModel,
    "chunk": Chunk,
    "cancel": Cancel,
    "shutdown": Shutdown,
    "ready": Ready,
    "wanted": Wanted,
    "progress": Progress,
    "result": Result,
    "error": Error,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


class NotAMessage(ValueError):  # noqa: N818 - a finding, not a failure: libraries print what they like
    """A line that is not a message of this protocol.

    Args:
        line: It.
        identifier: Of the request or event that it was meant to be, where that can be read.
    """

    def __init__(self, line: str, identifier: int | None = None) -> None:
        super().__init__(line)
        self.identifier = identifier


def result_file(identifier: int, array: str) -> str:
    """The file in the private folder that holds an array of the answer to this request."""
    return f"result-{identifier}-{array}.npy"


def encode(identifier: int, message: Request | Event) -> str:
    """One line of JSON with its line break. `Voxels` must be stored."""
    line = {"id": identifier, "kind": _NAMES[type(message)], "body": to_json(message)}
    return json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n"


def decode(line: str) -> tuple[int, Any]:
    """The id and the message of a line.

    Raises:
        NotAMessage: It is not one.
    """
    identifier = None
    try:
        envelope = json.loads(line)
        identifier = int(envelope["id"])
        return identifier, from_json(KINDS[envelope["kind"]], envelope["body"])
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as problem:
        raise NotAMessage(line.rstrip(), identifier) from problem


def numbered(name: str, count: int) -> tuple[str, ...]:
    """Names of one array for each of several segments: "map", "map_1", "map_2"."""
    return tuple(name if number == 0 else f"{name}_{number}" for number in range(count))


def unexpected(problem: BaseException) -> Error:
    """What is reported of a problem that nobody has foreseen, or of memory that ran out."""
    trace = "".join(traceback.format_exception(problem))
    if is_out_of_memory(problem):
        return Error("memory", out_of_memory_message(problem), trace)
    return Error(
        "internal",
        f"An unexpected error occurred ({type(problem).__name__}: {problem}). The log has the details.",
        trace,
    )
