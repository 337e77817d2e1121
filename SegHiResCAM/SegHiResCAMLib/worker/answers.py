"""Requests answered by the engine; the model, the last volume and its segmentation are kept for the next one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.answer.explain import explain_segments
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.answer.mistakes import compare_with_reference, reference_labels
from SegHiResCAMLib.engine.answer.model_layers import volume_layers
from SegHiResCAMLib.engine.answer.model_summary import layers_of, nominal_layers, summary_of
from SegHiResCAMLib.engine.answer.region_shares import predicted_regions, share_by_region
from SegHiResCAMLib.engine.cam.methods import method_summaries
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.evidence.input_shares import input_shares
from SegHiResCAMLib.engine.evidence.map_check import check_map
from SegHiResCAMLib.engine.evidence.what_if import what_if
from SegHiResCAMLib.engine.images.region_files import Regions
from SegHiResCAMLib.engine.images.volume import volume_from_array
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume, prepare
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, segment
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.engine.models.catalogue import catalogue
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.records.explanation import ModelReference
from SegHiResCAMLib.records.question import SegmentOptions
from SegHiResCAMLib.worker.arrays import load_array
from SegHiResCAMLib.worker.protocol import (
    AboutQuestion,
    Answer,
    CheckMap,
    Compared,
    CompareSegmentation,
    Explain,
    Explained,
    GetModel,
    InputsShared,
    Layers,
    LayersListed,
    MapChecked,
    MeasureOwnRegions,
    MeasureRegions,
    ModelOpened,
    ModelPath,
    OpenModel,
    RegionRemoved,
    RegionsMeasured,
    RemoveRegion,
    Segmented,
    SegmentVolume,
    ShareInputs,
    Voxels,
    numbered,
)

Arrays = dict[str, npt.NDArray[Any]]
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


def answer(request: Any, kept: Kept, progress: Progress) -> tuple[Answer, Arrays]:
    """What was asked for, and its arrays.

    Raises:
        EngineError: What the user can mend.
        Cancelled: The user cancelled.
    """
    kept.begin()
    progress(0.0, "Starting")
    return ANSWERS[type(request)](request, kept, progress)


def _get_model(request: GetModel, _kept: Kept, progress: Progress) -> tuple[ModelPath, Arrays]:
    return ModelPath(str(catalogue.get(request.name, progress))), {}


def _open_model(request: OpenModel, kept: Kept, _progress: Progress) -> tuple[ModelOpened, Arrays]:
    return ModelOpened(summary_of(_model(request.model, kept)), method_summaries()), {}


def _layers(request: Layers, kept: Kept, progress: Progress) -> tuple[LayersListed, Arrays]:
    model = _model(request.model, kept)
    if request.volume is None:
        return LayersListed(nominal_layers(model, request.extent_mm)), {}
    prepared = _prepared(request.model, request.volume, model, kept, progress)
    layers = volume_layers(model, prepared, request.axis)
    return LayersListed(layers_of(model, layers, request.extent_mm)), {}


def _segment(request: SegmentVolume, kept: Kept, progress: Progress) -> tuple[Segmented, Arrays]:
    model = _model(request.model, kept)
    found = _segmentation(request.model, request.volume, request.options, model, kept, progress)
    progress(1.0, "Segmented")
    return Segmented(summary_of(model), found.engine), {"labels": found.labels.numpy()[0]}


def _explain(request: Explain, kept: Kept, progress: Progress) -> tuple[Explained, Arrays]:
    asked = _asked(request, kept, progress)
    segments = [request.question.segment, *request.further]
    first, *further = explanations = _explanations(request, asked, segments, kept, progress, whole=request.whole)
    answer = Explained(first.record(), tuple(one.record() for one in further))
    return answer, _arrays_of(explanations, whole=request.whole)


def _check_map(request: CheckMap, kept: Kept, progress: Progress) -> tuple[MapChecked, Arrays]:
    asked = _asked(request, kept, progress)
    segments = [request.question.segment]
    (found,) = _explanations(request, asked, segments, kept, part(progress, 0.0, 0.3), whole=True)
    checked = check_map(asked, found, found.segmentation, seed=request.seed, progress=part(progress, 0.3, 1.0))
    return MapChecked(checked, found.record()), {}


def _measure_regions(request: MeasureRegions, kept: Kept, progress: Progress) -> tuple[RegionsMeasured, Arrays]:
    signed = _load(request.signed_map, kept.folder, "The heat map", progress)
    regions = _regions(request.regions, request.names, "The segmentation", kept, progress)
    return RegionsMeasured(share_by_region(signed, regions, progress)), {}


def _measure_own(request: MeasureOwnRegions, kept: Kept, progress: Progress) -> tuple[RegionsMeasured, Arrays]:
    model = _model(request.model, kept)
    signed = _load(request.signed_map, kept.folder, "The heat map", progress)
    found = _segmentation(request.model, request.volume, request.options, model, kept, part(progress, 0.0, 0.8))
    shares = share_by_region(signed, predicted_regions(model, found), part(progress, 0.8, 1.0))
    return RegionsMeasured(shares, ModelReference(model.name, model.sha256)), {}


def _compare(request: CompareSegmentation, kept: Kept, progress: Progress) -> tuple[Compared, Arrays]:
    model = _model(request.model, kept)
    reference = _reference(request.reference, request.names, model, kept, progress)
    found = _segmentation(request.model, request.volume, request.options, model, kept, part(progress, 0.0, 0.8))
    comparison = compare_with_reference(found.labels, reference, model, request.segments, part(progress, 0.8, 1.0))
    return Compared(comparison, ModelReference(model.name, model.sha256)), {}


def _remove_region(request: RemoveRegion, kept: Kept, progress: Progress) -> tuple[RegionRemoved, Arrays]:
    asked = _asked(request, kept, progress)
    how = request.question
    before = _segmentation(request.model, request.volume, how, asked.model, kept, part(progress, 0.0, 0.4))
    report = part(progress, 0.4, 1.0)
    found = what_if(asked, request.fill, seed=request.seed, segmentation=before, progress=report)
    return RegionRemoved(found.record, summary_of(asked.model)), {"labels": found.after.labels.numpy()[0]}


def _share_inputs(request: ShareInputs, kept: Kept, progress: Progress) -> tuple[InputsShared, Arrays]:
    asked = _asked(request, kept, progress)
    model, how = asked.model, request.question
    found = _segmentation(request.model, request.volume, how, model, kept, part(progress, 0.0, 0.5))
    shares = input_shares(asked, found, seed=request.seed, progress=part(progress, 0.5, 1.0))
    return InputsShared(shares, ModelReference(model.name, model.sha256)), {}


def _reference(
    voxels: Voxels, names: Sequence[str], model: SegmentationModel, kept: Kept, progress: Progress
) -> MetaTensor:
    """A reference in the model's values; one without a voxel is that of a healthy patient."""
    return reference_labels(Regions(_labels(voxels, "The reference", kept, progress), dict(enumerate(names, 1))), model)


def _regions(voxels: Voxels, names: Sequence[str], what: str, kept: Kept, progress: Progress) -> Regions:
    """The regions of a label map that have a voxel.

    Raises:
        EngineError: `regions-empty`, none has one.
    """
    labels = _labels(voxels, what, kept, progress)
    there = {value: name for value, name in enumerate(names, start=1) if bool((labels.as_tensor() == value).any())}
    if not there:
        raise EngineError("regions-empty", f"{what} has no voxel in any segment. Choose another one.")
    return Regions(labels, there)


def _labels(voxels: Voxels, what: str, kept: Kept, progress: Progress) -> MetaTensor:
    loaded = _load(voxels, kept.folder, what, progress)
    return MetaTensor(loaded.as_tensor().to(torch.int16), affine=loaded.affine)


def _asked(request: AboutQuestion, kept: Kept, progress: Progress) -> ExplainRequest:
    model = _model(request.model, kept)
    model.label(request.question.segment)  # a wrong name is refused before minutes of computing
    volume = _volume(request.volume, kept, progress)
    mask = request.mask and _load(request.mask, kept.folder, "The mask", progress)
    reference = None
    if request.reference is not None and request.reference_names:
        reference = _reference(request.reference, request.reference_names, model, kept, progress)
    elif request.reference is not None:
        reference = _load(request.reference, kept.folder, "The reference", progress)
    return ExplainRequest(volume, model, request.question, mask, reference)


def _explanations(
    request: AboutQuestion,
    asked: ExplainRequest,
    segments: list[str],
    kept: Kept,
    progress: Progress,
    *,
    whole: bool,
) -> list[Explanation]:
    """The explanations, and their segmentation kept for the next request."""
    of = _segmentation_key(request.model, request.volume, request.question)
    found = kept.held("segmentation", of)
    explanations = explain_segments(asked, segments, found, progress, outline=whole)
    if found is None and explanations[0].segmentation is not None:
        kept.keep("segmentation", of, explanations[0].segmentation)
    return explanations


def _arrays_of(explanations: Sequence[Explanation], *, whole: bool) -> Arrays:
    count = len(explanations)
    maps = (one.signed_map.numpy()[0].astype(np.float32, copy=False) for one in explanations)
    arrays = dict(zip(numbered("signed_map", count), maps, strict=True))
    for name, one in zip(numbered("deviation", count), explanations, strict=True):
        if one.deviation is not None:
            arrays[name] = one.deviation.numpy()[0].astype(np.float32, copy=False)
    if whole:
        if explanations[0].segmentation is not None:
            arrays["labels"] = explanations[0].segmentation.labels.numpy()[0]
        for name, one in zip(numbered("explained", count), explanations, strict=True):
            if one.chosen is not None:
                arrays[name] = one.chosen.numpy()[0]
    return arrays


ANSWERS: dict[type, Callable[[Any, Kept, Progress], tuple[Answer, Arrays]]] = {
    GetModel: _get_model,
    OpenModel: _open_model,
    Layers: _layers,
    SegmentVolume: _segment,
    Explain: _explain,
    CheckMap: _check_map,
    MeasureRegions: _measure_regions,
    MeasureOwnRegions: _measure_own,
    CompareSegmentation: _compare,
    RemoveRegion: _remove_region,
    ShareInputs: _share_inputs,
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


def _segmentation(
    path: str, voxels: Voxels, how: SegmentOptions, model: SegmentationModel, kept: Kept, progress: Progress
) -> Segmentation:
    volume = _volume(voxels, kept, progress)

    def make() -> Segmentation:
        return segment(
            model, volume, mode=how.mode, axis=how.axis, device=how.device, engine=how.engine, progress=progress
        )

    found = kept.get("segmentation", _segmentation_key(path, voxels, how), make)
    kept.keep("prepared", (_fingerprint(Path(path)), voxels.key), found.prepared)
    return found


def _segmentation_key(model: str, volume: Voxels, how: SegmentOptions) -> Hashable:
    return _fingerprint(Path(model)), volume.key, how.mode, how.axis, how.device, how.engine


def _prepared(path: str, voxels: Voxels, model: SegmentationModel, kept: Kept, progress: Progress) -> PreparedVolume:
    volume = _volume(voxels, kept, progress)
    of = _fingerprint(Path(path)), voxels.key
    return kept.get("prepared", of, lambda: prepare(model, volume, progress))
