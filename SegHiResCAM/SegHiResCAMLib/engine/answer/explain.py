"""An `ExplainRequest` gives an `Explanation`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.answer.cut_choice import choose_cut
from SegHiResCAMLib.engine.answer.diagnoses import Facts, diagnose, extent_of
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation, voxels_of
from SegHiResCAMLib.engine.answer.measurements import measure
from SegHiResCAMLib.engine.answer.model_layers import check_layers, model_layers, stack_spacing
from SegHiResCAMLib.engine.answer.score_explained import is_measured, score_explained
from SegHiResCAMLib.engine.answer.subject import (
    Revealed,
    against_winner,
    pixel_set_of,
    refuse_empty,
    revealed_sets,
    target_of,
)
from SegHiResCAMLib.engine.cam import passes
from SegHiResCAMLib.engine.cam.layers import Layer, attention_layers, layer_named, suggest_layer
from SegHiResCAMLib.engine.cam.leaf import Target, find_layer, true_name
from SegHiResCAMLib.engine.cam.methods import Method, find_method
from SegHiResCAMLib.engine.cam.positions import Placement, measure_placement
from SegHiResCAMLib.engine.cam.refine import check_combination, together
from SegHiResCAMLib.engine.cam.smooth import Noise, smooth_maps
from SegHiResCAMLib.engine.cam.stitched import StitchedMap, stitched_maps
from SegHiResCAMLib.engine.images.findings import findings_of
from SegHiResCAMLib.engine.inference.device import choose_device, repeatable, short_type
from SegHiResCAMLib.engine.inference.fitting import windows_of
from SegHiResCAMLib.engine.inference.memory import FELL_BACK, Workplace
from SegHiResCAMLib.engine.inference.openvino_network import forget_converted
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume, prepare, restore
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, segment
from SegHiResCAMLib.engine.inference.slicing import check_mode, from_stack, to_stack
from SegHiResCAMLib.engine.inference.windows import Windows
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.kept_memory import release_memory
from SegHiResCAMLib.records.explanation import Finding, MapLayer, ModelReference
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.question import Axis
from SegHiResCAMLib.records.regions import Component, FalseNegative, PredictedSegment, Rim

NOTES = ("fell-back-to-cpu", "model-note")
"""Codes of the findings that come last: of where it was computed, and of the model."""


def explain(
    request: ExplainRequest,
    segmentation: Segmentation | None = None,
    progress: Progress = silent,
    *,
    outline: bool = True,
) -> Explanation:
    """The heat map of one segment; the arguments are those of `explain_segments`."""
    (found,) = explain_segments(request, [request.question.segment], segmentation, progress, outline=outline)
    return found


def explain_segments(
    request: ExplainRequest,
    segments: Sequence[str],
    segmentation: Segmentation | None = None,
    progress: Progress = silent,
    *,
    outline: bool = True,
) -> list[Explanation]:
    """The heat maps of several segments, from the same forward passes: a further segment costs the backward passes where it is.

    Where one window holds a whole image (a slice, say), its prediction is final at once, and segmenting and explaining are one pass.

    Args:
        request: What to explain; `segments` stand in for its segment.
        segments: Names of the model's labels.
        segmentation: Of the same model and volume, to save predicting again; None predicts it where it is needed.
        progress: Called between windows; may raise `Cancelled`.
        outline: Whether the answer includes the model's segmentation even where the region, say a mask, does not need it.

    Raises:
        EngineError: Unknown segment, method, option or layer; an empty region; a model that does not fit the volume.
    """
    if isinstance(request.region, FalseNegative) and request.question.contrast is None:
        return _explain_missed(request, segments, segmentation, progress)
    return _explain_all(request, segments, segmentation, progress, outline=outline)


def _explain_all(
    request: ExplainRequest,
    segments: Sequence[str],
    segmentation: Segmentation | None,
    progress: Progress,
    *,
    outline: bool,
) -> list[Explanation]:
    setting, stack = _set_up(request, segments, segmentation, progress)
    prediction = _Prediction(setting, segmentation, part(progress, 0.0, 0.4))
    pixel_sets, revealed = _choose_locations(setting, prediction, outline, part(progress, 0.4, 0.5))
    start = 0.0 if revealed else 0.5
    maps, workplace, engine = _compute(setting, stack, pixel_sets, revealed, part(progress, start, 0.95))
    del stack
    release_memory()  # what the passes were computed in seldom fits a volume
    progress(0.95, "Returning to the volume's grid")
    found = prediction.found if revealed is None else _revealed_segmentation(setting, pixel_sets, revealed)
    if found is None:  # nobody asks for the image again
        setting = replace(setting, prepared=setting.prepared.without_values())
    notes = (*_of_reading(request), *_of_workplace(workplace), *_of_model(request))
    explanations, step = [], 0.05 / len(setting.labels)
    for number, (label, pixel_set, of_layers) in enumerate(zip(setting.labels, pixel_sets, maps, strict=True)):
        report = part(progress, 0.95 + step * number, 0.95 + step * (number + 1))
        explanations.append(_explanation(setting, label, pixel_set, of_layers, found, notes, report, engine))
    progress(1.0, "Explained")
    return explanations


def _explain_missed(
    request: ExplainRequest, segments: Sequence[str], segmentation: Segmentation | None, progress: Progress
) -> list[Explanation]:
    """False negatives, each against the class that won there."""
    found = segmentation or request.segmented(part(progress, 0.0, 0.4))
    explanations = []
    for number, name in enumerate(segments):
        asked = against_winner(request, request.model.label(name), found)
        share = [0.4 + 0.6 * (number + end) / len(segments) for end in (0, 1)]
        explanations += _explain_all(asked, [name], found, part(progress, *share), outline=True)
    return explanations


@dataclass(frozen=True)
class _Setting:
    """What the explanations of several segments share."""

    request: ExplainRequest
    labels: list[Label]
    targets: list[Target]
    method: Method
    device: torch.device
    prepared: PreparedVolume
    axis: Axis
    images: int
    windows: Windows
    spacing: tuple[float, ...]
    layers: list[Layer]
    reason: str
    timings: dict[str, float]

    @property
    def is_final_at_once(self) -> bool:
        """Whether the logits of a window are the final ones of a whole image."""
        one_window, question = len(self.windows.boxes) == 1, self.request.question
        exact = question.precision == "full" and not question.smooth
        return one_window and exact and not self.request.model.largest_component

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a region: (B, *spatial)."""
        return (self.images, *self.windows.image)


def _set_up(
    request: ExplainRequest, segments: Sequence[str], segmentation: Segmentation | None, progress: Progress
) -> tuple[_Setting, torch.Tensor]:
    """Everything that is known before anything is computed, and the network's input (B, C, *spatial)."""
    model, question = request.model, request.question
    _check(request)
    labels = [model.label(name) for name in segments]
    method = find_method(question.method).with_options(question.method_options)
    targets = [target_of(request, label) for label in labels]
    device = choose_device(question.device, model.spatial_dims)
    progress(0.0, "Preparing the volume" if segmentation is None else "Preparing")
    if segmentation is None:
        prepared, axis = prepare(model, request.volume, part(progress, 0.0, 0.02)), question.axis
    else:
        prepared, axis = segmentation.prepared, segmentation.axis
    stack = to_stack(model, prepared.image, axis, part(progress, 0.0, 0.02))
    windows = windows_of(model, tuple(stack.shape[2:]))
    spacing = stack_spacing(model, prepared, axis)
    layers, reason = _choose_layers(request, windows, spacing)
    setting = _Setting(
        request, labels, targets, method, device, prepared, axis, len(stack), windows, spacing, layers, reason, {}
    )
    return setting, stack


class _Prediction:
    """The model's segmentation, computed when it is first asked for.

    Attributes:
        found: It, once it is there.
    """

    def __init__(self, setting: _Setting, found: Segmentation | None, progress: Progress) -> None:
        self.found = found
        self._setting, self._progress = setting, progress

    def segmentation(self) -> Segmentation:
        """It, computed now where it is not there."""
        if self.found is None:
            setting, question = self._setting, self._setting.request.question
            with _timed(setting.timings, "segmentation"):
                self.found = segment(
                    setting.request.model,
                    setting.request.volume,
                    mode=question.mode,
                    axis=setting.axis,
                    device=question.device,
                    engine=question.segmenting_engine,
                    progress=self._progress,
                    prepared=setting.prepared,
                )
        return self.found

    def labels(self) -> torch.Tensor:
        """Label map (x, y, z) on the model's grid."""
        return self.segmentation().model_labels


def _choose_locations(
    setting: _Setting, prediction: _Prediction, outline: bool, progress: Progress
) -> tuple[Sequence[torch.Tensor], Revealed | None]:
    """What counts of each segment (B, *spatial), and what is still to be filled in by the explanation's own forward pass."""
    request, labels, is_final = setting.request, setting.labels, setting.is_final_at_once
    to_reveal = revealed_sets(request, labels, setting.shape) if is_final and prediction.found is None else None
    if to_reveal is not None:
        pixel_sets, rules = to_reveal
    else:
        pixel_sets, rules = [], []
        for label in labels:
            pixel_sets.append(pixel_set_of(request, label, setting.prepared, setting.axis, prediction.labels, progress))
        if outline and not is_final:
            prediction.segmentation()
    if prediction.found is None and (rules or (outline and is_final)):
        undecided = torch.zeros(setting.shape, dtype=torch.int16)
        return pixel_sets, Revealed(request.model, setting.windows, undecided, pixel_sets, rules)
    return pixel_sets, None


def _compute(
    setting: _Setting,
    stack: torch.Tensor,
    pixel_sets: Sequence[torch.Tensor],
    revealed: Revealed | None,
    progress: Progress,
) -> tuple[list[list[StitchedMap]], Workplace, str]:
    """For each segment a map of each layer, where they were computed, and by what."""
    request, model, question = setting.request, setting.request.model, setting.request.question
    with _timed(setting.timings, "explanation"), repeatable(question.deterministic):
        workplace = Workplace(model.network.to(setting.device), setting.device, None, question.deterministic)
        placements = _placements(request, setting.layers, setting.windows, part(progress, 0.0, 0.0))

        activation = None if isinstance(request.region, Rim) else model.activation
        questions = [
            passes.ScoreQuestion(target, pixel_set, activation)
            for target, pixel_set in zip(setting.targets, pixel_sets, strict=True)
        ]

        names = [layer.name for layer in setting.layers]
        cut, engine = None, "PyTorch"
        if revealed is None:
            asked = passes.Asked(workplace, stack, questions, setting.windows)
            cut, engine = choose_cut(question, setting.method, names, asked)
        if cut is None:
            forget_converted(model.network)
        release_memory()  # what the image was segmented in

        def compute(images: torch.Tensor, report: Progress) -> list[list[StitchedMap]]:
            return stitched_maps(
                workplace,
                images,
                questions,
                names,
                setting.method,
                setting.windows,
                progress=report,
                placements=placements,
                reveal=revealed,
                mixed=None if cut else short_type(question.precision, setting.device),
                cut=cut,
                score_change=is_measured(setting.method, question),
            )

        if question.smooth:
            noise = Noise(question.smooth, question.smooth_noise, question.smooth_seed)
            maps = smooth_maps(compute, stack, noise, progress)
        else:
            maps = compute(stack, progress)
    return maps, workplace, engine


def _revealed_segmentation(setting: _Setting, pixel_sets: Sequence[torch.Tensor], revealed: Revealed) -> Segmentation:
    """The segmentation that the explanation's own forward pass has decided."""
    for label, pixel_set in zip(setting.labels, pixel_sets, strict=True):
        refuse_empty(setting.request, label, pixel_set)
    with _timed(setting.timings, "restoring the segmentation"):
        return revealed.segmentation(setting.prepared, setting.axis)


def _explanation(
    setting: _Setting,
    label: Label,
    pixel_set: torch.Tensor,
    maps: Sequence[StitchedMap],
    segmentation: Segmentation | None,
    notes: tuple[Finding, ...],
    progress: Progress,
    engine: str,
) -> Explanation:
    progress(0.0, "Returning to the volume's grid")
    request, region, first = setting.request, setting.request.region, maps[0]
    model = request.model
    not_finite = sum(_made_finite(one.values) for one in maps)
    combined = together([one.values for one in maps], request.question)
    with _timed(setting.timings, "restoring"):
        values = from_stack(model, setting.prepared.image, setting.axis, combined)
        signed = restore(values, setting.prepared, "linear")
        deviation = _deviation(setting, maps)
        voxels = None
        if not isinstance(region, PredictedSegment):
            places = from_stack(model, setting.prepared.image, setting.axis, pixel_set.bool().to(torch.uint8))
            voxels = restore(places, setting.prepared, "nearest")
    return Explanation(
        signed_map=signed,
        segmentation=segmentation,
        label=label,
        question=replace(request.question, segment=label.name, region=region),
        model=ModelReference(model.name, model.sha256),
        method=setting.method.title,
        mode="volumetric" if model.spatial_dims == 3 else f"slice-wise, {setting.axis}",
        layer=_map_layer(setting.layers[0], first.grid, setting.reason),
        score=first.score,
        mean_probability=first.mean_probability,
        voxel_count=int(pixel_set.count_nonzero()),
        windows=first.windows,
        windows_touched=first.touched,
        score_explained=score_explained(setting.method, request.question, first),
        path_integral=first.path_integral,
        measurements=measure(signed, voxels_of(voxels, segmentation, label, signed), part(progress, 0.5, 1.0)),
        timings=setting.timings,
        segmented_by=segmentation.engine if segmentation else "",
        explained_by=engine,
        findings=diagnose(_facts(setting, label, pixel_set, maps, combined, not_finite)) + notes,
        chosen=voxels,
        deviation=deviation,
    )


def _deviation(setting: _Setting, maps: Sequence[StitchedMap]) -> MetaTensor | None:
    """The standard deviation of a smooth map on the volume's own grid; None for others, and for the maps of several layers."""
    spread = maps[0].deviation
    if spread is None or len(maps) > 1:
        return None
    _made_finite(spread)  # it is not where the map is not, which is reported
    of_volume = from_stack(setting.request.model, setting.prepared.image, setting.axis, spread)
    return restore(of_volume, setting.prepared, "linear")


def _facts(
    setting: _Setting,
    label: Label,
    pixel_set: torch.Tensor,
    maps: Sequence[StitchedMap],
    combined: torch.Tensor,
    not_finite: int,
) -> Facts:
    region = setting.request.region
    return Facts(
        values=combined,
        not_finite=not_finite,
        method=setting.method,
        layers=tuple(setting.layers),
        balances=tuple(one.gradient_balance for one in maps),
        segment=label.name,
        region=label.name if isinstance(region, PredictedSegment) else region.title,
        extent_mm=extent_of(pixel_set, setting.spacing),
        score=maps[0].score,
        mean_probability=maps[0].mean_probability,
        activation=setting.request.model.activation,
        contrast=setting.request.question.contrast,
        is_predicted=isinstance(region, PredictedSegment | Component),
        path_integral=maps[0].path_integral,
    )


def _map_layer(layer: Layer, grid: tuple[int, ...], reason: str) -> MapLayer:
    return MapLayer(layer.name, layer.kind, layer.channels, grid, layer.mm, reason)


def _made_finite(values: torch.Tensor) -> int:
    """How many values were NaN or infinite; they are 0 afterwards. Image by image and slab by slab, to need no second volume."""
    found = 0
    for image in values:
        for slab in image:
            found += int((~slab.isfinite()).count_nonzero())
            slab.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
    return found


def _of_reading(request: ExplainRequest) -> tuple[Finding, ...]:
    """What was found when the volume and the mask were read."""
    read = [request.volume] if request.mask is None else [request.volume, request.mask]
    return tuple(dict.fromkeys(finding for one in read for finding in findings_of(one)))


def _of_workplace(workplace: Workplace) -> tuple[Finding, ...]:
    return (Finding(NOTES[0], FELL_BACK),) if workplace.fell_back else ()


def _of_model(request: ExplainRequest) -> tuple[Finding, ...]:
    return tuple(Finding(NOTES[1], note) for note in request.model.notes)


def _check(request: ExplainRequest) -> None:
    """Refuse a mode, layers and combinations that there are not, before anything is computed."""
    check_layers(request.model)
    check_mode(request.model, request.question.mode)
    for name in (request.question.layer, *request.question.refine_with):
        if name is not None:
            find_layer(request.model.network, name)
    check_combination(request.question.refine)


def _choose_layers(request: ExplainRequest, windows: Windows, spacing: tuple[float, ...]) -> tuple[list[Layer], str]:
    layers, chosen = model_layers(request.model, windows, spacing), request.question.layer
    if chosen is None and find_method(request.question.method).of_attention:
        found = attention_layers(layers, request.model.name)
        return found, f"the mean over the attention of all {len(found)} blocks"
    if chosen is None:
        layer, why = suggest_layer(layers)
        reason = f"suggested: {why}"
    else:
        layer, reason = layer_named(layers, true_name(request.model.network, chosen)), "chosen by the user"
    others = (true_name(request.model.network, name) for name in request.question.refine_with)
    return [layer, *(layer_named(layers, name) for name in others)], reason


def _placements(
    request: ExplainRequest, layers: Sequence[Layer], windows: Windows, progress: Progress
) -> list[Placement]:
    model, found = request.model, []
    for layer in layers:
        progress(0.0, "Locating the layer in the image")
        found.append(measure_placement(model.network, layer.name, model.in_channels, windows.size, layer.grid))
    return found


@contextmanager
def _timed(timings: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[step] = round(time.perf_counter() - start, 3)
