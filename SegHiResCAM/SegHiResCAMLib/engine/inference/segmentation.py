"""A model and a volume give a label map."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.inference.device import choose_device
from SegHiResCAMLib.engine.inference.engine_choice import choose_forward, spread
from SegHiResCAMLib.engine.inference.fitting import windows_of
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume, prepare, restore
from SegHiResCAMLib.engine.inference.slicing import check_mode, from_stack, prepare_slices, unprepared_stack
from SegHiResCAMLib.engine.inference.windows import at, predict_windows
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.output import main_output
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.engine.window_settings import Network
from SegHiResCAMLib.records.question import Axis, Device, Engine, Mode


@dataclass(frozen=True)
class Segmentation:
    """What a model segments in a volume.

    Attributes:
        labels: Label map (1, i, j, k), int16, on the volume's own grid; values as in `SegmentationModel.labels`.
        model_labels: The same (x, y, z) on the model's grid, where the network decided it.
        prepared: The volume as the network saw it.
        axis: How a 2D network sliced it.
        engine: What computed it, and why; empty where it was not computed by itself.
    """

    labels: MetaTensor
    model_labels: torch.Tensor
    prepared: PreparedVolume
    axis: Axis
    engine: str = ""


def segment(
    model: SegmentationModel,
    volume: MetaTensor,
    *,
    mode: Mode = "auto",
    axis: Axis = "auto",
    device: Device = "auto",
    engine: Engine = "auto",
    progress: Progress = silent,
    prepared: PreparedVolume | None = None,
) -> Segmentation:
    """Outline in `volume` (C, i, j, k) what `model` knows.

    Args:
        model: From `open_model`.
        volume: From `read_volume`.
        mode: "auto" is slice-wise for 2D networks and volumetric for 3D ones.
        axis: The direction of slices for 2D networks, in patient space whatever the volume's own axes are; "auto" is the model's own.
        device: Where the network runs.
        engine: What computes it on a CPU.
        progress: Called between windows; may raise `Cancelled`.
        prepared: The volume on the model's grid, where that has been done.

    Raises:
        EngineError: The model does not fit the volume or the mode.
    """
    check_mode(model, mode)
    prepared = prepared or prepare(model, volume, part(progress, 0.0, 0.05))
    predicted = _predict_labels(model, prepared, axis=axis, device=device, engine=engine, progress=progress)
    found = replace(segmentation_of(predicted.values, prepared, axis), engine=predicted.engine)
    progress(1.0, "Segmented")
    return found


def segmentation_of(model_labels: torch.Tensor, prepared: PreparedVolume, axis: Axis) -> Segmentation:
    """The segmentation that a label map (x, y, z) on the model's grid makes."""
    return Segmentation(restore(model_labels, prepared, "nearest"), model_labels, prepared, axis)


@dataclass(frozen=True)
class Predicted:
    """Values (x, y, z) on the model's grid, and what computed the logits they were made of."""

    values: torch.Tensor
    engine: str


def _predict_labels(
    model: SegmentationModel,
    prepared: PreparedVolume,
    *,
    axis: Axis,
    device: Device,
    engine: Engine,
    progress: Progress,
) -> Predicted:
    """Label map, int16."""
    found = predict(model, prepared, partial(decide, model), axis=axis, device=device, engine=engine, progress=progress)
    return replace(found, values=largest_components(found.values, progress)) if model.largest_component else found


@torch.no_grad()
def predict(
    model: SegmentationModel,
    prepared: PreparedVolume,
    form: Callable[[torch.Tensor], torch.Tensor],
    *,
    axis: Axis,
    device: Device,
    engine: Engine,
    progress: Progress,
) -> Predicted:
    """Values made by `form` of stitched logits: (B, K, *spatial) -> (B, *spatial)."""
    stack = unprepared_stack(model, prepared.image, axis)
    windows = windows_of(model, tuple(stack.shape[2:]))
    count = len(stack) * len(windows.boxes)
    target = choose_device(device, model.spatial_dims)
    model.network.to(target)

    def examples() -> Iterator[torch.Tensor]:
        for image, box in (divmod(number, len(windows.boxes)) for number in spread(count)):
            images = prepare_slices(model, stack[image : image + 1])
            yield windows.pad_images(images[at(..., *windows.source(windows.boxes[box]))])

    forward = choose_forward(model, target, count, examples, partial(decide, model), engine)
    workplace = Workplace(model.network, target, forward.batch)
    predictor = _Counted(forward.network, count, progress)

    def compute(chunk: Sequence[int], where: torch.device, _layout: torch.memory_format) -> torch.Tensor:
        images = prepare_slices(model, stack[chunk[0] : chunk[-1] + 1]).to(where)
        return form(predict_windows(predictor, images, windows, len(chunk))).cpu()

    values: torch.Tensor | None = None
    for chunk, found in workplace.run(range(len(stack)), model.spatial_dims, compute):
        if values is None:
            values = found.new_empty(len(stack), *found.shape[1:])
        values[chunk[0] : chunk[-1] + 1] = found
    assert values is not None  # an image has slices
    return Predicted(from_stack(model, prepared.image, axis, values), forward.engine)


def predict_values(
    model: SegmentationModel,
    prepared: PreparedVolume,
    form: Callable[[torch.Tensor], torch.Tensor],
    *,
    axis: Axis,
    device: Device,
    engine: Engine,
    progress: Progress,
) -> torch.Tensor:
    """The values that `predict` finds."""
    return predict(model, prepared, form, axis=axis, device=device, engine=engine, progress=progress).values


def decide(model: SegmentationModel, logits: torch.Tensor) -> torch.Tensor:
    """Label values (B, *spatial), int16, of logits (B, K, *spatial).

    Softmax: the channel with the highest logit. Sigmoid: among the channels with a probability above the model's threshold, the highest,
    or the last one where the model paints them one over another.
    """
    if model.painted:
        labels = torch.zeros_like(logits[:, 0], dtype=torch.int16)
        for label in sorted(model.labels, key=lambda one: one.channel):
            labels[logits[:, label.channel] > model.threshold_logit] = label.value
        return labels
    values = torch.zeros(logits.shape[1], dtype=torch.int16, device=logits.device)
    for label in model.labels:
        values[label.channel] = label.value
    best, channel = logits.max(dim=1)
    labels = values[channel]
    return labels if model.activation == "softmax" else labels.where(best > model.threshold_logit, labels.new_zeros(()))


class _Counted:
    """The network, reporting its progress (and so letting itself be cancelled) before each call."""

    def __init__(self, network: Network, windows: int, progress: Progress) -> None:
        self._network, self._windows, self._progress, self._done = network, windows, progress, 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, *window) of windows (B, C, *window)."""
        done, windows = self._done, self._windows
        self._progress(min(done / windows, 1.0), f"Segmenting: window {min(done + 1, windows)} of {windows}")
        self._done += len(images)
        return main_output(self._network(images))


def largest_components(labels: torch.Tensor, progress: Progress) -> torch.Tensor:
    """Every label reduced to its largest connected component (neighbours share a face, an edge or a corner)."""
    import SimpleITK as sitk  # takes half a second, and most models want all components

    kept = np.zeros(labels.shape, dtype=np.int16)
    for value in np.unique(labels.numpy()):
        progress(1.0, "Keeping the largest component of each label")
        if value == 0:
            continue
        mask = sitk.GetImageFromArray((labels.numpy() == value).astype(np.uint8))
        by_size = sitk.RelabelComponent(sitk.ConnectedComponent(mask, True))
        kept[sitk.GetArrayViewFromImage(by_size) == 1] = value
    return torch.from_numpy(kept)
