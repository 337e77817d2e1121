"""An `ExplainRequest` gives an `Explanation`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import monai
import torch

from SegHiResCAMLib.engine.answer.diagnoses import Diagnosis, Facts, diagnose, extent_of
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation, voxels_of
from SegHiResCAMLib.engine.answer.measurements import measure
from SegHiResCAMLib.engine.answer.model_layers import check_layers, model_layers, stack_spacing
from SegHiResCAMLib.engine.answer.pixel_set_json import pixel_set_to_json
from SegHiResCAMLib.engine.answer.pixel_sets import Component, Mask, PredictedSegment
from SegHiResCAMLib.engine.answer.subject import Revealed, pixel_set_of, refuse_empty, revealed_sets, target_of
from SegHiResCAMLib.engine.cam.layers import Layer, layer_named, suggest_layer
from SegHiResCAMLib.engine.cam.leaf import find_layer, true_name
from SegHiResCAMLib.engine.cam.methods import Method, find_method
from SegHiResCAMLib.engine.cam.passes import Question
from SegHiResCAMLib.engine.cam.positions import Placement, measure_placement
from SegHiResCAMLib.engine.cam.refine import check_combination, refined
from SegHiResCAMLib.engine.cam.stitched import StitchedMap, stitched_maps
from SegHiResCAMLib.engine.images.findings import findings_of
from SegHiResCAMLib.engine.inference.device import choose_device, repeatable, short_type
from SegHiResCAMLib.engine.inference.fitting import windows_of
from SegHiResCAMLib.engine.inference.memory import FELL_BACK, Workplace
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume, prepare, restore
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, segment
from SegHiResCAMLib.engine.inference.slicing import Axis, check_mode, from_stack, to_stack
from SegHiResCAMLib.engine.inference.windows import Windows
from SegHiResCAMLib.engine.models.model import Label
from SegHiResCAMLib.engine.progress import Progress, part, silent


def explain(
    request: ExplainRequest,
    segmentation: Segmentation | None = None,
    progress: Progress = silent,
    *,
    outline: bool = True,
) -> Explanation:
    """The heat map of one segment; the arguments are those of `explain_segments`."""
    (found,) = explain_segments(request, [request.segment], segmentation, progress, outline=outline)
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
        outline: Whether the answer includes the model's segmentation even where the pixel set, say a mask, does not need it.

    Raises:
        EngineError: Unknown segment, method, option or layer; an empty pixel set; a model that does not fit the volume.
    """
    model = request.model
    _check(request)
    labels = [model.label(name) for name in segments]
    method = find_method(request.method).with_options(request.method_options)
    targets = [target_of(request, label) for label in labels]
    device = choose_device(request.device, model.spatial_dims)
    timings: dict[str, float] = {}

    progress(0.0, "Preparing the volume" if segmentation is None else "Preparing")
    prepared = (
        prepare(model, request.volume, part(progress, 0.0, 0.02)) if segmentation is None else segmentation.prepared
    )
    axis = request.axis if segmentation is None else segmentation.axis
    stack = to_stack(model, prepared.image, axis, part(progress, 0.0, 0.02))
    windows = windows_of(model, tuple(stack.shape[2:]))
    spacing = stack_spacing(model, prepared, axis)
    layers, reason = _choose_layers(request, windows, spacing)

    def segmented() -> Segmentation:
        nonlocal segmentation
        if segmentation is None:
            with _timed(timings, "segmentation"):
                segmentation = segment(
                    model,
                    request.volume,
                    mode=request.mode,
                    axis=axis,
                    device=request.device,
                    progress=part(progress, 0.0, 0.4),
                    prepared=prepared,
                )
        return segmentation

    final = len(windows.boxes) == 1 and not model.largest_component and request.precision == "full"
    shape = (len(stack), *windows.image)
    to_reveal = revealed_sets(request, labels, shape) if final and segmentation is None else None
    if to_reveal is not None:
        pixel_sets, rules = to_reveal
    else:
        predicted = partial(
            pixel_set_of, find_labels=lambda: segmented().model_labels, progress=part(progress, 0.4, 0.5)
        )
        pixel_sets, rules = [predicted(request, label, prepared, axis) for label in labels], []
        if outline and not final:
            segmented()
    revealed = None
    if segmentation is None and (rules or (outline and final)):
        revealed = Revealed(model, windows, torch.zeros(shape, dtype=torch.int16), pixel_sets, rules)

    start = 0.0 if revealed else 0.5
    with _timed(timings, "explanation"), repeatable(request.deterministic):
        workplace = Workplace(model.network.to(device), device, None, request.deterministic)
        found = stitched_maps(
            workplace,
            stack,
            [
                Question(target, pixel_set, model.activation)
                for target, pixel_set in zip(targets, pixel_sets, strict=True)
            ],
            [layer.name for layer in layers],
            method,
            windows,
            progress=part(progress, start, 0.95),
            placements=_placements(request, layers, windows, part(progress, start, start)),
            reveal=revealed,
            mixed=short_type(request.precision, device),
        )
    progress(0.95, "Returning to the volume's grid")
    if revealed is not None:
        for label, pixel_set in zip(labels, pixel_sets, strict=True):
            refuse_empty(request, label, pixel_set)
        with _timed(timings, "restoring the segmentation"):
            segmentation = revealed.segmentation(prepared, axis)
    del stack
    if segmentation is None:  # nobody asks for the image again
        prepared = prepared.without_values()
    notes = (*_of_reading(request), *_of_workplace(workplace), *_of_model(request))
    setting = _Setting(request, method, prepared, axis, spacing, layers, reason, timings, notes)
    explanations = [
        _explanation(
            setting,
            label,
            pixel_set,
            maps,
            segmentation,
            part(progress, 0.95 + 0.05 * number / len(labels), 0.95 + 0.05 * (number + 1) / len(labels)),
        )
        for number, (label, pixel_set, maps) in enumerate(zip(labels, pixel_sets, found, strict=True))
    ]
    progress(1.0, "Explained")
    return explanations


@dataclass(frozen=True)
class _Setting:
    """What the explanations of several segments share."""

    request: ExplainRequest
    method: Method
    prepared: PreparedVolume
    axis: Axis
    spacing: tuple[float, ...]
    layers: list[Layer]
    reason: str
    timings: dict[str, float]
    notes: tuple[Diagnosis, ...]


def _explanation(
    setting: _Setting,
    label: Label,
    pixel_set: torch.Tensor,
    maps: Sequence[StitchedMap],
    segmentation: Segmentation | None,
    progress: Progress,
) -> Explanation:
    progress(0.0, "Returning to the volume's grid")
    request, layers, chosen = setting.request, setting.layers, setting.request.explained
    not_finite = sum(_made_finite(one.values) for one in maps)
    combined = refined([one.values for one in maps], request.refine) if len(maps) > 1 else maps[0].values
    with _timed(setting.timings, "restoring"):
        values = from_stack(request.model, setting.prepared.image, setting.axis, combined)
        signed = restore(values, setting.prepared, "linear")
        voxels = None
        if not isinstance(chosen, PredictedSegment):
            places = from_stack(request.model, setting.prepared.image, setting.axis, pixel_set.bool().to(torch.uint8))
            voxels = restore(places, setting.prepared, "nearest")
    facts = Facts(
        values=combined,
        not_finite=not_finite,
        method=setting.method,
        layers=tuple(layers),
        balances=tuple(one.gradient_balance for one in maps),
        segment=label.name,
        region=label.name if isinstance(chosen, PredictedSegment) else chosen.title,
        extent_mm=extent_of(pixel_set, setting.spacing),
        score=maps[0].score,
        mean_probability=maps[0].mean_probability,
        activation=request.model.activation,
        contrast=request.contrast,
        is_predicted=isinstance(chosen, PredictedSegment | Component),
    )
    return Explanation(
        signed_map=signed,
        segmentation=segmentation,
        label=label,
        score=maps[0].score,
        mean_probability=maps[0].mean_probability,
        pixel_count=int(pixel_set.count_nonzero()),
        layer=layers[0],
        layer_reason=setting.reason,
        window_grid=maps[0].grid,
        windows=maps[0].windows,
        windows_touched=maps[0].touched,
        measurements=measure(signed, voxels_of(voxels, segmentation, label, signed), part(progress, 0.5, 1.0)),
        timings=setting.timings,
        provenance=_provenance(request, setting.method, label, layers, setting.axis),
        diagnoses=diagnose(facts) + setting.notes,
        chosen=voxels,
    )


def _made_finite(values: torch.Tensor) -> int:
    """How many values were NaN or infinite; they are 0 afterwards. Image by image and slab by slab, to need no second volume."""
    found = 0
    for image in values:
        for slab in image:
            found += int((~slab.isfinite()).sum())
            slab.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
    return found


def _of_reading(request: ExplainRequest) -> tuple[Diagnosis, ...]:
    """What was found when the volume and the mask were read."""
    read = [request.volume] if request.mask is None else [request.volume, request.mask]
    findings = dict.fromkeys(finding for one in read for finding in findings_of(one))
    return tuple(Diagnosis(finding.code, finding.sentence) for finding in findings)


def _of_workplace(workplace: Workplace) -> tuple[Diagnosis, ...]:
    return (Diagnosis("fell-back-to-cpu", FELL_BACK),) if workplace.fell_back else ()


def _of_model(request: ExplainRequest) -> tuple[Diagnosis, ...]:
    return tuple(Diagnosis("model-note", note) for note in request.model.notes)


def _check(request: ExplainRequest) -> None:
    """Refuse a mode, layers and combinations that there are not, before anything is computed."""
    check_layers(request.model)
    check_mode(request.model, request.mode)
    for name in (request.layer, *request.refine_with):
        if name is not None:
            find_layer(request.model.network, name)
    check_combination(request.refine)


def _choose_layers(request: ExplainRequest, windows: Windows, spacing: tuple[float, ...]) -> tuple[list[Layer], str]:
    layers = model_layers(request.model, windows, spacing)
    if request.layer is None:
        layer, why = suggest_layer(layers)
        reason = f"suggested: {why}"
    else:
        layer, reason = layer_named(layers, true_name(request.model.network, request.layer)), "chosen by the user"
    others = (true_name(request.model.network, name) for name in request.refine_with)
    return [layer, *(layer_named(layers, name) for name in others)], reason


def _placements(
    request: ExplainRequest, layers: Sequence[Layer], windows: Windows, progress: Progress
) -> list[Placement]:
    model, found = request.model, []
    for layer in layers:
        progress(0.0, "Locating the layer in the image")
        found.append(measure_placement(model.network, layer.name, model.in_channels, windows.size, layer.grid))
    return found


def _provenance(
    request: ExplainRequest, method: Method, label: Label, layers: list[Layer], axis: Axis
) -> dict[str, str]:
    model = request.model
    facts = {
        "model": model.name,
        "modelSha256": model.sha256,
        "segment": label.name,
        "method": method.title,
        "methodId": request.method,
        "layer": layers[0].name,
        "pixelSet": request.explained.title,
        "mode": "volumetric" if model.spatial_dims == 3 else f"slice-wise, {axis}",
        "units": "logit units" if len(layers) == 1 else "share of the maximum",
        "torch": torch.__version__,
        "monai": monai.__version__,
    }
    if request.precision != "full":
        facts["precision"] = request.precision
    if request.method_options:
        facts["methodOptions"] = json.dumps(dict(request.method_options), sort_keys=True)
    if request.contrast is not None:
        facts["contrast"] = f"rather than {request.contrast}, weight {request.contrast_weight:g}"
    if request.refine_with:
        facts["refinedBy"] = f"{request.refine} with {', '.join(layer.name for layer in layers[1:])}"
    if not isinstance(request.explained, Mask):
        facts["pixelSetJson"] = json.dumps(pixel_set_to_json(request.explained))
    return facts


@contextmanager
def _timed(timings: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[step] = round(time.perf_counter() - start, 3)
