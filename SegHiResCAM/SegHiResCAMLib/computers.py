"""Where an answer is computed: in this process, or by a worker on another computer. Whoever asks does not know which.

Files are read and written on this computer either way; what travels are voxels, affines, the question, and a model that is not there yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from monai.data import MetaTensor
from monai.utils import SpaceKeys

from SegHiResCAMLib.engine.answer import explain, model_layers, model_summary
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.errors import Cancelled, EngineError
from SegHiResCAMLib.engine.evidence import map_check
from SegHiResCAMLib.engine.images.findings import findings_of
from SegHiResCAMLib.engine.inference import segmentation
from SegHiResCAMLib.engine.inference.preprocessing import prepare
from SegHiResCAMLib.engine.inference.segmentation import Segmentation
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.engine.models.catalogue.catalogue import entries
from SegHiResCAMLib.engine.progress import Progress, silent
from SegHiResCAMLib.engine.window_settings import WindowSettings
from SegHiResCAMLib.records.explanation import ExplanationRecord, Finding
from SegHiResCAMLib.records.map_check import MapCheck
from SegHiResCAMLib.records.models import LayerList, ModelSummary
from SegHiResCAMLib.records.question import Axis, SegmentOptions
from SegHiResCAMLib.worker.client import Client
from SegHiResCAMLib.worker.protocol import (
    CheckMap,
    Error,
    Explain,
    Explained,
    Layers,
    LayersListed,
    MapChecked,
    ModelOpened,
    OpenModel,
    Result,
    Segmented,
    SegmentVolume,
    Task,
    Voxels,
    numbered,
)

if TYPE_CHECKING:
    from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume


class Computer(Protocol):
    """What can be asked, with the arguments and errors of the engine's functions of these names."""

    def open_model(self, path: str) -> SegmentationModel:
        """The model at a path: on another computer its description, whose network can compute nothing here."""

    def summary(self, model: SegmentationModel) -> ModelSummary:
        """All that there is to know of it."""

    def layers(
        self,
        model: SegmentationModel,
        volume: MetaTensor | None,
        axis: Axis,
        extent_mm: float | None,
        progress: Progress,
    ) -> LayerList:
        """Its layers, on a volume's own grid where one is given."""

    def segment(
        self, model: SegmentationModel, volume: MetaTensor, options: SegmentOptions, progress: Progress
    ) -> Segmentation:
        """What it segments."""

    def explain_segments(
        self,
        request: ExplainRequest,
        segments: Sequence[str],
        segmentation: Segmentation | None = None,
        progress: Progress = silent,
    ) -> list[Explanation]:
        """Why it segmented them."""

    def check_map(
        self,
        request: ExplainRequest,
        explanation: Explanation,
        segmentation: Segmentation | None = None,
        *,
        seed: int = 0,
        progress: Progress = silent,
    ) -> MapCheck:
        """Whether the map can be believed."""


@contextmanager
def computer(on: str | None) -> Iterator[Computer]:
    """The computer called `on`, None for this one; the connection ends with the block.

    Raises:
        AddressError: `on` is not the address of a computer.
    """
    if not on:
        yield ThisComputer()
        return
    client = Client(on=on)
    try:
        yield OtherComputer(client)
    finally:
        client.close()


class ThisComputer:
    """The engine in this process."""

    def open_model(self, path: str) -> SegmentationModel:
        """See `Computer`."""
        return open_model(path)

    def summary(self, model: SegmentationModel) -> ModelSummary:
        """See `Computer`."""
        return model_summary.summary_of(model)

    def layers(
        self,
        model: SegmentationModel,
        volume: MetaTensor | None,
        axis: Axis,
        extent_mm: float | None,
        progress: Progress,
    ) -> LayerList:
        """See `Computer`."""
        if volume is None:
            return model_summary.nominal_layers(model, extent_mm)
        found = model_layers.volume_layers(model, prepare(model, volume, progress), axis)
        return model_summary.layers_of(model, found, extent_mm)

    def segment(
        self, model: SegmentationModel, volume: MetaTensor, options: SegmentOptions, progress: Progress
    ) -> Segmentation:
        """See `Computer`."""
        how = options
        return segmentation.segment(
            model, volume, mode=how.mode, axis=how.axis, device=how.device, engine=how.engine, progress=progress
        )

    def explain_segments(
        self,
        request: ExplainRequest,
        segments: Sequence[str],
        segmentation: Segmentation | None = None,
        progress: Progress = silent,
    ) -> list[Explanation]:
        """See `Computer`."""
        return explain.explain_segments(request, segments, segmentation, progress)

    def check_map(
        self,
        request: ExplainRequest,
        explanation: Explanation,
        segmentation: Segmentation | None = None,
        *,
        seed: int = 0,
        progress: Progress = silent,
    ) -> MapCheck:
        """See `Computer`."""
        return map_check.check_map(request, explanation, segmentation, seed=seed, progress=progress)


class OtherComputer:
    """A worker, which keeps model, volume and segmentation for the next question.

    Args:
        client: Of the worker.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._summaries: dict[str, ModelSummary] = {}

    def open_model(self, path: str) -> SegmentationModel:
        """See `Computer`."""
        entry = None if Path(path).exists() else entries().get(path)
        source = str(entry.location) if entry is not None and entry.is_present else path
        answer = self._ask(OpenModel(source), silent).answer
        assert isinstance(answer, ModelOpened)
        self._summaries[source] = answer.model
        return _described(answer.model, source)

    def summary(self, model: SegmentationModel) -> ModelSummary:
        """See `Computer`."""
        return self._summaries[model.source]

    def layers(
        self,
        model: SegmentationModel,
        volume: MetaTensor | None,
        axis: Axis,
        extent_mm: float | None,
        progress: Progress,
    ) -> LayerList:
        """See `Computer`."""
        voxels = None if volume is None else _voxels(volume)
        answer = self._ask(Layers(model.source, voxels, axis, extent_mm), progress).answer
        assert isinstance(answer, LayersListed)
        return answer.layers

    def segment(
        self, model: SegmentationModel, volume: MetaTensor, options: SegmentOptions, progress: Progress
    ) -> Segmentation:
        """See `Computer`."""
        result = self._ask(SegmentVolume(model.source, _voxels(volume), options), progress)
        assert isinstance(result.answer, Segmented)
        found = _segmentation(result.arrays["labels"], volume, options.axis)
        return replace(found, engine=result.answer.engine)

    def explain_segments(
        self,
        request: ExplainRequest,
        segments: Sequence[str],
        segmentation: Segmentation | None = None,  # noqa: ARG002 - the worker has kept it
        progress: Progress = silent,
    ) -> list[Explanation]:
        """See `Computer`."""
        volume, model, (first, *further) = request.volume, request.model, segments
        question = replace(request.question, segment=first)
        mask, reference = (None if one is None else _voxels(one) for one in (request.mask, request.reference))
        asked = Explain(model.source, _voxels(volume), question, mask, reference, further=tuple(further), whole=True)
        result = self._ask(asked, progress)
        assert isinstance(result.answer, Explained)
        records = [result.answer.record, *result.answer.further]
        labels = result.arrays.get("labels")
        found = None if labels is None else _segmentation(labels, volume, question.axis)
        kinds = ("signed_map", "explained", "deviation")
        names = zip(*(numbered(name, len(records)) for name in kinds), strict=True)
        arrays = ({kind: result.arrays.get(name) for kind, name in zip(kinds, row, strict=True)} for row in names)
        return [_explanation(request, *one, found) for one in zip(records, arrays, strict=True)]

    def check_map(
        self,
        request: ExplainRequest,
        explanation: Explanation,
        segmentation: Segmentation | None = None,  # noqa: ARG002 - the worker has kept it
        *,
        seed: int = 0,
        progress: Progress = silent,
    ) -> MapCheck:
        """See `Computer`; the map is made there once more, which takes less than the check."""
        question = replace(explanation.question, region=request.question.region)
        mask, reference = (None if one is None else _voxels(one) for one in (request.mask, request.reference))
        asked = CheckMap(request.model.source, _voxels(request.volume), question, mask, reference, seed=seed)
        answer = self._ask(asked, progress).answer
        assert isinstance(answer, MapChecked)
        return answer.check

    def _ask(self, request: Task, progress: Progress) -> Result:
        answer = self._client.wait(self._client.submit(request), lambda event: progress(event.fraction, event.text))
        if isinstance(answer, Error):
            raise Cancelled if answer.code == "cancelled" else EngineError(answer.code, answer.message)
        return answer


class _Elsewhere(torch.nn.Module):
    """Stands for a network that is on another computer."""

    def forward(self, *_inputs: Any) -> torch.Tensor:
        raise EngineError(
            "computed-elsewhere", "This cannot be computed on another computer yet. Leave out --on to compute it here."
        )


def _described(summary: ModelSummary, source: str) -> SegmentationModel:
    return SegmentationModel(
        name=summary.name,
        network=_Elsewhere(),
        spatial_dims=3 if summary.spatial_dims == 3 else 2,
        in_channels=summary.in_channels,
        labels=summary.labels,
        activation=summary.activation,
        preprocessing=None,
        window=WindowSettings(None),
        sha256=summary.sha256,
        source=source,
        inputs=summary.inputs,
        layers_hidden=summary.layers_hidden,
        licence=summary.licence,
        description=summary.description,
        weights_file=summary.weights_file,
        notes=summary.notes,
    )


def _voxels(volume: MetaTensor) -> Voxels:
    values = volume.numpy()
    return Voxels.of(values[0] if len(values) == 1 else values, volume.affine.numpy())


def _on_grid_of(volume: MetaTensor, values: Any) -> MetaTensor:
    return MetaTensor(torch.from_numpy(values)[None], affine=volume.affine.clone(), meta={"space": SpaceKeys.RAS})


def _segmentation(labels: Any, volume: MetaTensor, axis: Axis) -> Segmentation:
    found = _on_grid_of(volume, labels)
    # The model's grid is known there alone, and so is what leads to it.
    return Segmentation(found, found.as_tensor()[0], cast("PreparedVolume", None), axis)


def _explanation(
    request: ExplainRequest, record: ExplanationRecord, arrays: dict[str, Any], found: Segmentation | None
) -> Explanation:
    maps = {kind: None if one is None else _on_grid_of(request.volume, one) for kind, one in arrays.items()}
    names = {one.name for one in fields(record)}
    same: dict[str, Any] = {one.name: getattr(record, one.name) for one in fields(Explanation) if one.name in names}
    other = {
        "signed_map": maps["signed_map"],
        "deviation": maps["deviation"],
        "segmentation": found,
        "label": request.model.label(record.question.segment),
        "score": math.nan if record.score is None else record.score,
        "timings": dict(record.timings_s),
        "findings": _with_reading(record.findings, request),
        "chosen": maps["explained"],
        "versions": dict(record.versions),
    }
    return Explanation(**(same | other))


def _with_reading(findings: tuple[Finding, ...], request: ExplainRequest) -> tuple[Finding, ...]:
    """With what was found when the files were read on this computer, at the place that it has where all is computed here."""
    read = [findings_of(one) for one in (request.volume, request.mask) if one is not None]
    own = tuple(dict.fromkeys(finding for one in read for finding in one))
    last = [number for number, one in enumerate(findings) if one.code in explain.NOTES]
    place = last[0] if last else len(findings)
    return (*findings[:place], *own, *findings[place:])
