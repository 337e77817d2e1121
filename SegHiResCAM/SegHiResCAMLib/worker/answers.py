"""Requests answered by the engine; the model, the last volume and its segmentation are kept for the next one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from monai.data import MetaTensor

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.answer.model_layers import model_layers, volume_layers
from SegHiResCAMLib.engine.answer.pixel_set_json import pixel_set_from_json
from SegHiResCAMLib.engine.answer.subject import has_background
from SegHiResCAMLib.engine.cam.layers import suggest_layer
from SegHiResCAMLib.engine.cam.methods import METHODS, Method
from SegHiResCAMLib.engine.images.volume import volume_from_array
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume, prepare
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, segment
from SegHiResCAMLib.engine.inference.slicing import Axis
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.engine.models.catalogue import catalogue
from SegHiResCAMLib.engine.progress import Progress
from SegHiResCAMLib.worker.arrays import load_array
from SegHiResCAMLib.worker.protocol import Explain, GetModel, Layers, OpenModel, Segment, Voxels

Arrays = dict[str, npt.NDArray[Any]]
Answer = tuple[dict[str, Any], Arrays]
Kind = TypeVar("Kind")


class Kept:
    """The last model, volume and segmentation, each under a key that changes when its content does.

    Args:
        folder: Where arrays arrive.

    Attributes:
        reused: What the present request did not have to make again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reused: list[str] = []
        self._made: list[str] = []
        self._items: dict[str, tuple[Hashable, Any]] = {}

    def begin(self) -> None:
        """A new request begins."""
        self.reused, self._made = [], []

    def get(self, what: str, key: Hashable, make: Callable[[], Kind]) -> Kind:
        """What is kept under this key, or else made now."""
        if (held := self.held(what, key)) is not None:
            return cast("Kind", held)
        self._items.pop(what, None)  # first, since the memory may not hold two
        self.keep(what, key, made := make())
        return made

    def held(self, what: str, key: Hashable) -> Any:
        """What is kept under this key; None for nothing."""
        if what not in self._items or self._items[what][0] != key:
            return None
        if what not in self._made + self.reused:
            self.reused.append(what)
        return self._items[what][1]

    def keep(self, what: str, key: Hashable, made: object) -> None:
        """Keep what has been made."""
        self._made.append(what)
        self._items[what] = (key, made)

    def forget(self, *what: str) -> None:
        """Keep these no more."""
        for one in what:
            self._items.pop(one, None)


def answer(request: Any, kept: Kept, progress: Progress) -> Answer:
    """Facts, ready for JSON, and arrays.

    Raises:
        EngineError: What the user can mend.
        Cancelled: The user cancelled.
    """
    kept.begin()
    progress(0.0, "Starting")
    facts, arrays = ANSWERS[type(request)](request, kept, progress)
    return facts | {"reused": kept.reused}, arrays


def _get_model(request: GetModel, _kept: Kept, progress: Progress) -> Answer:
    return {"path": str(catalogue.get(request.name, progress))}, {}


def _open_model(request: OpenModel, kept: Kept, _progress: Progress) -> Answer:
    return _model_facts(_model(request.model, kept)), {}


def _layers(request: Layers, kept: Kept, progress: Progress) -> Answer:
    model = _model(request.model, kept)
    if request.volume is None:
        layers = model_layers(model)
    else:
        prepared = _prepared(request, request.volume, model, kept, progress)
        layers = volume_layers(model, prepared, cast("Axis", request.axis))
    suggested, reason = suggest_layer(layers)
    listed = [layer.as_dict(request.extent_mm) for layer in layers]
    return {"layers": listed, "suggested": suggested.name, "reason": reason}, {}


def _segment(request: Segment, kept: Kept, progress: Progress) -> Answer:
    model = _model(request.model, kept)
    found = _segmentation(request, model, kept, progress)
    progress(1.0, "Segmented")
    return {"model": _model_facts(model)}, {"labels": found.labels.numpy()[0]}


def _explain(request: Explain, kept: Kept, progress: Progress) -> Answer:
    model = _model(request.model, kept)
    model.label(request.segment)  # a wrong name is refused before minutes of computing
    passed_on = {one.name: getattr(request, one.name) for one in fields(request)}
    question = ExplainRequest(
        **passed_on
        | {
            "volume": _volume(request.volume, kept, progress),
            "model": model,
            "mask": request.mask and _load(request.mask, kept.folder, "The mask", progress),
            "pixel_set": request.pixel_set and pixel_set_from_json(request.pixel_set),
        }
    )
    of = _segmentation_key(request)
    found = kept.held("segmentation", of)
    explanation = explain(question, found, progress, outline=False)
    if found is None and explanation.segmentation is not None:
        kept.keep("segmentation", of, explanation.segmentation)
    return explanation.as_dict(), {"signed_map": explanation.signed_map.numpy()[0].astype(np.float32, copy=False)}


ANSWERS: dict[type, Callable[[Any, Kept, Progress], Answer]] = {
    GetModel: _get_model,
    OpenModel: _open_model,
    Layers: _layers,
    Segment: _segment,
    Explain: _explain,
}


def _model(path: str, kept: Kept) -> SegmentationModel:
    def reopen() -> SegmentationModel:
        kept.forget("prepared", "segmentation")  # the way back from a grid is known to the very object that led there
        return open_model(path)

    return kept.get("model", _fingerprint(Path(path)), reopen)


def _fingerprint(path: Path) -> Hashable:
    """Changes when any file of the model does."""
    files = [path, *path.glob("*"), *path.glob("*/*")] if path.is_dir() else [path]
    stats = [(str(file), file.stat()) for file in sorted(files) if file.is_file()]
    return str(path), tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _volume(voxels: Voxels, kept: Kept, progress: Progress) -> MetaTensor:
    return kept.get("volume", voxels.key, lambda: _load(voxels, kept.folder, "The volume", progress))


def _load(voxels: Voxels, folder: Path, name: str, progress: Progress) -> MetaTensor:
    array = load_array(folder / voxels.file, lambda: progress(0.0, "Receiving the voxels"))
    return volume_from_array(array, np.array(voxels.affine), name)


def _segmentation(request: Segment, model: SegmentationModel, kept: Kept, progress: Progress) -> Segmentation:
    volume = _volume(request.volume, kept, progress)
    options: dict[str, Any] = {name: getattr(request, name) for name in ("mode", "axis", "device")}
    found = kept.get(
        "segmentation", _segmentation_key(request), lambda: segment(model, volume, progress=progress, **options)
    )
    kept.keep("prepared", (_fingerprint(Path(request.model)), request.volume.key), found.prepared)
    return found


def _segmentation_key(request: Segment | Explain) -> Hashable:
    return _fingerprint(Path(request.model)), request.volume.key, request.mode, request.axis, request.device


def _prepared(
    request: Layers, voxels: Voxels, model: SegmentationModel, kept: Kept, progress: Progress
) -> PreparedVolume:
    volume = _volume(voxels, kept, progress)
    of = _fingerprint(Path(request.model)), voxels.key
    return kept.get("prepared", of, lambda: prepare(model, volume, progress))


def _model_facts(model: SegmentationModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "spatial_dims": model.spatial_dims,
        "in_channels": model.in_channels,
        "labels": [asdict(label) for label in model.labels],
        "has_background": has_background(model),
        "licence": model.licence,
        "description": model.description,
        "sha256": model.sha256,
        "methods": {name: _method_facts(method) for name, method in METHODS.items()},
    }


def _method_facts(method: Method) -> dict[str, Any]:
    return {
        "title": method.title,
        "summary": method.summary,
        "ignores_class": method.ignores_class,
        "options": [asdict(option) for option in method.described_options],
    }
