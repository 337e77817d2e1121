"""An `ExplainRequest` gives an `Explanation`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import monai
import torch

from SegHiResCAMLib.engine.cam.layers import Layer, layer_named, list_layers, suggest_layer
from SegHiResCAMLib.engine.cam.leaf import find_layer
from SegHiResCAMLib.engine.cam.methods import find_method
from SegHiResCAMLib.engine.cam.placement import measure_placement
from SegHiResCAMLib.engine.cam.stitched import stitched_map
from SegHiResCAMLib.engine.device import choose_device
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.models.model import Label, SegmentationModel
from SegHiResCAMLib.engine.preprocessing import PreparedVolume, onto_model_grid, restore
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.engine.segmentation import Segmentation, segment
from SegHiResCAMLib.engine.stack import Axis, from_stack, per_image, slice_axis, to_stack
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
        EngineError: Unknown segment, method or layer; an empty pixel set; a model that does not fit the volume.
    """
    model = request.model
    label = model.label(request.segment)
    method = find_method(request.method)
    if request.layer is not None:
        find_layer(model.network, request.layer)
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
    pixel_set = _pixel_set(request, label, segmentation)
    stack = to_stack(model, prepared.image, axis)
    windows = plan_windows(tuple(stack.shape[2:]), model.window)
    layer, reason = _choose_layer(request, windows, prepared, axis)
    with _timed(timings, "explanation"):
        network = model.network.to(device)
        found = stitched_map(
            network,
            stack,
            per_image(model, prepared.image, axis, pixel_set),
            label.channel,
            layer.name,
            method,
            windows,
            device=device,
            progress=part(progress, share, 0.95),
            batch=SLICES_AT_ONCE if model.spatial_dims == 2 else 1,
            placement=measure_placement(network, layer.name, model.in_channels, windows.size, layer.grid),
        )
    progress(0.95, "Returning to the volume's grid")
    with _timed(timings, "restoring"):
        signed = restore(from_stack(model, prepared.image, axis, found.values), model, prepared, "linear")
    progress(1.0, "Explained")
    return Explanation(
        signed_map=signed,
        segmentation=segmentation,
        label=label,
        score=found.score,
        pixel_count=int((pixel_set != 0).sum()),
        layer=layer,
        layer_reason=reason,
        window_grid=found.grid,
        windows=found.windows,
        windows_touched=found.touched,
        timings=timings,
        provenance=_provenance(request, label, layer, axis),
    )


def model_layers(
    model: SegmentationModel, windows: Windows | None = None, spacing: tuple[float, ...] | None = None
) -> list[Layer]:
    """The layers of a model, for windows of a given plan or, without one, of the size its description names."""
    size = windows.size if windows else model.window.size or (nominal_size(model),) * model.spatial_dims
    return list_layers(model.network, model.in_channels, size, spacing)


def nominal_size(model: SegmentationModel) -> int:
    """Positions along an axis for a model whose window is the whole image: 128, rounded up to what the network takes."""
    return -(-128 // model.window.multiple) * model.window.multiple


def _pixel_set(request: ExplainRequest, label: Label, segmentation: Segmentation) -> torch.Tensor:
    """(x, y, z) on the model's grid."""
    if request.mask is not None:
        pixel_set = onto_model_grid(request.mask, segmentation.prepared)
        if not pixel_set.any():
            raise EngineError(
                "pixel-set-empty",
                "The mask has no voxel inside the part of the volume that the model looks at. Check that it belongs to this volume.",
            )
        return pixel_set
    pixel_set = segmentation.model_labels == label.value
    if not pixel_set.any():
        raise EngineError(
            "pixel-set-empty",
            f"'{request.model.name}' found no {label.name} in this volume, so there is no outline to explain. "
            "Explain another segment, or give the voxels yourself as a mask.",
        )
    return pixel_set


def _choose_layer(request: ExplainRequest, windows: Windows, prepared: PreparedVolume, axis: Axis) -> tuple[Layer, str]:
    layers = model_layers(request.model, windows, _stack_spacing(request.model, prepared, axis))
    if request.layer is None:
        layer, why = suggest_layer(layers)
        return layer, f"suggested: {why}"
    return layer_named(layers, request.layer), "chosen by the user"


def _stack_spacing(model: SegmentationModel, prepared: PreparedVolume, axis: Axis) -> tuple[float, ...]:
    """Millimetres between positions along each axis of the network's input."""
    spacing = list(prepared.spacing)
    if model.spatial_dims == 2:
        del spacing[slice_axis(prepared.image, axis)]
    return tuple(spacing)


def _provenance(request: ExplainRequest, label: Label, layer: Layer, axis: Axis) -> dict[str, str]:
    model = request.model
    return {
        "model": model.name,
        "modelSha256": model.sha256,
        "segment": label.name,
        "method": find_method(request.method).title,
        "methodId": request.method,
        "layer": layer.name,
        "pixelSet": "predicted segment" if request.mask is None else "mask given by the user",
        "mode": "volumetric" if model.spatial_dims == 3 else f"slice-wise, {axis}",
        "units": "logit units",
        "torch": torch.__version__,
        "monai": monai.__version__,
    }


@contextmanager
def _timed(timings: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[step] = round(time.perf_counter() - start, 3)
