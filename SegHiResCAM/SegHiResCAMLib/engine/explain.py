"""An `ExplainRequest` gives an `Explanation`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import monai
import torch

from SegHiResCAMLib.engine.cam.layers import Layer, layer_named, suggest_layer
from SegHiResCAMLib.engine.cam.leaf import Target, find_layer, true_name
from SegHiResCAMLib.engine.cam.methods import Method, find_method
from SegHiResCAMLib.engine.cam.pixel_set_json import pixel_set_to_json
from SegHiResCAMLib.engine.cam.pixel_sets import Empty, Mask, PredictedSegment, Surroundings
from SegHiResCAMLib.engine.cam.placement import measure_placement
from SegHiResCAMLib.engine.cam.refine import refined
from SegHiResCAMLib.engine.cam.stitched import Question, stitched_maps
from SegHiResCAMLib.engine.device import choose_device
from SegHiResCAMLib.engine.diagnoses import Facts, diagnose, extent_of
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.memory import Workplace
from SegHiResCAMLib.engine.model_layers import model_layers, stack_spacing
from SegHiResCAMLib.engine.models.model import Label
from SegHiResCAMLib.engine.preprocessing import restore
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.engine.segmentation import Segmentation, predict_values, segment
from SegHiResCAMLib.engine.stack import Axis, from_stack, per_image, to_stack
from SegHiResCAMLib.engine.windows import Windows, plan_windows

SLICES_AT_ONCE = 4
"""Slices a 2D network explains in one call."""


def explain(
    request: ExplainRequest, segmentation: Segmentation | None = None, progress: Progress = silent
) -> Explanation:
    """The heat map of one segment.

    Args:
        request: What to explain.
        segmentation: Of the same model and volume, to save predicting again; None predicts first.
        progress: Called between windows; may raise `Cancelled`.

    Raises:
        EngineError: Unknown segment, method, option or layer; an empty pixel set; a model that does not fit the volume.
    """
    model = request.model
    label = model.label(request.segment)
    method = find_method(request.method).with_options(request.method_options)
    target = Target(label.channel, _contrast_channel(request), request.contrast_weight)
    for name in (request.layer, *request.refine_with):
        if name is not None:
            find_layer(model.network, name)
    device = choose_device(request.device, model.spatial_dims)
    timings: dict[str, float] = {}

    share = 0.0
    if segmentation is None:
        share = 0.4
        with _timed(timings, "segmentation"):
            segmentation = segment(
                model,
                request.volume,
                mode=request.mode,
                axis=request.axis,
                device=request.device,
                progress=part(progress, 0.0, share),
            )
    prepared, axis = segmentation.prepared, segmentation.axis
    pixel_set = _pixel_set(request, label, segmentation, part(progress, share, share + 0.1))
    per_slice = per_image(model, prepared.image, axis, pixel_set)
    stack = to_stack(model, prepared.image, axis)
    windows = plan_windows(tuple(stack.shape[2:]), model.window)
    spacing = stack_spacing(model, prepared, axis)
    layers, reason = _choose_layers(request, windows, spacing)
    with _timed(timings, "explanation"):
        network = model.network.to(device)
        (found,) = stitched_maps(
            Workplace(network, device, SLICES_AT_ONCE if model.spatial_dims == 2 else 1),
            stack,
            [Question(target, per_slice)],
            [layer.name for layer in layers],
            method,
            windows,
            progress=part(progress, share + 0.1, 0.95),
            placements=[
                measure_placement(network, layer.name, model.in_channels, windows.size, layer.grid) for layer in layers
            ],
        )
    progress(0.95, "Returning to the volume's grid")
    values = [torch.nan_to_num(one.values, nan=0.0, posinf=0.0, neginf=0.0) for one in found]
    combined = refined(values, request.refine) if len(values) > 1 else values[0]
    with _timed(timings, "restoring"):
        signed = restore(from_stack(model, prepared.image, axis, combined), model, prepared, "linear")
    facts = Facts(
        values=combined,
        not_finite=sum(int((~torch.isfinite(one.values)).sum()) for one in found),
        method=method,
        layers=tuple(layers),
        balances=tuple(one.gradient_balance for one in found),
        subject=label.name if isinstance(request.explained, PredictedSegment) else request.explained.title,
        extent_mm=extent_of(per_slice, spacing),
        score=found[0].score,
    )
    progress(1.0, "Explained")
    return Explanation(
        signed_map=signed,
        segmentation=segmentation,
        label=label,
        score=found[0].score,
        pixel_count=int((pixel_set != 0).sum()),
        layer=layers[0],
        layer_reason=reason,
        window_grid=found[0].grid,
        windows=found[0].windows,
        windows_touched=found[0].touched,
        timings=timings,
        provenance=_provenance(request, method, label, layers, axis),
        diagnoses=diagnose(facts),
    )


def _pixel_set(request: ExplainRequest, label: Label, segmentation: Segmentation, progress: Progress) -> torch.Tensor:
    """(x, y, z) on the model's grid."""
    model = request.model

    def predict(form: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        return predict_values(
            model, segmentation.prepared, form, axis=segmentation.axis, device=request.device, progress=progress
        )

    chosen = request.explained
    pixel_set = chosen.weights(Surroundings(model, label, segmentation, request.mask, predict))
    if pixel_set.any() or isinstance(chosen, Empty):
        return pixel_set
    if isinstance(chosen, PredictedSegment):
        sentence = (
            f"'{model.name}' found no {label.name} in this volume, so there is no outline to explain. "
            "Explain another segment, or give the voxels yourself as a mask."
        )
    elif isinstance(chosen, Mask):
        sentence = "The mask has no voxel inside the part of the volume that the model looks at. Check that it belongs to this volume."
    else:
        sentence = (
            f"The pixel set ({chosen.title}) holds no position of the part of the volume that the model looks at. "
            "Choose it larger, or elsewhere."
        )
    raise EngineError("pixel-set-empty", sentence)


def _contrast_channel(request: ExplainRequest) -> int | None:
    """The output channel of what the segment is set against; the background is channel 0 of a softmax that no label has."""
    if request.contrast is None:
        return None
    model = request.model
    free = model.activation == "softmax" and all(label.channel for label in model.labels)
    if request.contrast.casefold() == "background" and free:
        return 0
    channel = model.label(request.contrast).channel
    if channel == model.label(request.segment).channel:
        raise EngineError(
            "contrast-itself", f"'{request.segment}' cannot be set against itself. Choose another segment as contrast."
        )
    return channel


def _choose_layers(request: ExplainRequest, windows: Windows, spacing: tuple[float, ...]) -> tuple[list[Layer], str]:
    layers = model_layers(request.model, windows, spacing)
    if request.layer is None:
        layer, why = suggest_layer(layers)
        reason = f"suggested: {why}"
    else:
        layer, reason = layer_named(layers, true_name(request.model.network, request.layer)), "chosen by the user"
    others = (true_name(request.model.network, name) for name in request.refine_with)
    return [layer, *(layer_named(layers, name) for name in others)], reason


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
