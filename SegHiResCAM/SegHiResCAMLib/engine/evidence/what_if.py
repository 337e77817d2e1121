"""What if a region were not there? It is replaced by tissue of the same patient, and the model segments the edited volume.

The edit is made in the user's volume, before all preprocessing, so the result is that of segmenting the edited volume. Only windows whose input
differs are computed again; a preprocessing that depends on the whole volume (a mean, a range) changes every window, and then all are.
"""

from __future__ import annotations

from dataclasses import dataclass

import monai
import numpy as np
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.answer.measurements import ML_PER_MM3
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.evidence.changed_windows import ChangedWindows, forward_of, touched_box
from SegHiResCAMLib.engine.evidence.fills import fill
from SegHiResCAMLib.engine.evidence.probe import region_of
from SegHiResCAMLib.engine.images.resampling import is_same_grid, resample_onto
from SegHiResCAMLib.engine.inference.device import choose_device
from SegHiResCAMLib.engine.inference.engine_choice import OPENVINO
from SegHiResCAMLib.engine.inference.fitting import windows_of
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.preprocessing import prepare, restore
from SegHiResCAMLib.engine.inference.segmentation import (
    Segmentation,
    decide,
    largest_components,
    segment,
    segmentation_of,
)
from SegHiResCAMLib.engine.inference.slicing import from_stack, per_image, to_stack
from SegHiResCAMLib.engine.inference.windows import Box, at
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.records.evidence import SegmentChange, WhatIfRecord
from SegHiResCAMLib.records.explanation import ModelReference
from SegHiResCAMLib.records.map_check import Fill
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.question import Engine
from SegHiResCAMLib.records.regions import (
    Component,
    FalseNegative,
    FalsePositive,
    Mask,
    PredictedSegment,
    Probable,
    TruePositive,
)
from SegHiResCAMLib.version import VERSION


@dataclass(frozen=True)
class WhatIf:
    """The answer.

    Attributes:
        removed: What was replaced, on the volume's own grid: (1, i, j, k), uint8.
        edited: The volume without it: (C, i, j, k).
        before: What the model segments in the volume.
        after: What it segments in the edited one.
        record: The numbers.
    """

    removed: MetaTensor
    edited: MetaTensor
    before: Segmentation
    after: Segmentation
    record: WhatIfRecord


@dataclass(frozen=True)
class _Predicted:
    """Of the edited volume: its segmentation, scores of each label before and afterwards, and windows: all, touched, computed."""

    after: Segmentation
    scores: dict[int, tuple[float, float]]
    windows: int
    touched: int
    computed: int


def what_if(
    request: ExplainRequest,
    kind: Fill = "shell",
    *,
    seed: int = 0,
    segmentation: Segmentation | None = None,
    progress: Progress = silent,
) -> WhatIf:
    """Replace a region of the volume and segment it again.

    Args:
        request: Its region is replaced; of its question, what says how a model segments counts, and the segment where the region needs one.
        kind: What the region is replaced by, see `fill`.
        seed: Of the fill.
        segmentation: Of the same model and volume, to save predicting again.
        progress: Called between windows; may raise `Cancelled`.

    Raises:
        EngineError: `region-empty`, `region-everything`, or what the region cannot be found for.
    """
    model, before = request.model, segmentation or request.segmented(part(progress, 0.0, 0.4))
    progress(0.4, "Replacing the region")
    removed = removed_voxels(request, before)
    edited = without(request.volume, removed, kind, seed)
    predicted = _predict(request, edited, before, part(progress, 0.45, 0.95))
    progress(0.95, "Comparing")
    record = WhatIfRecord(
        model=ModelReference(model.name, model.sha256),
        region=_region_words(request),
        removed_ml=_millilitres(removed.as_tensor() > 0, removed),
        fill=kind,
        seed=seed,
        segments=tuple(_change(label, before, predicted) for label in model.labels),
        windows=predicted.windows,
        windows_touched=predicted.touched,
        windows_computed=predicted.computed,
        versions={"seghirescam": VERSION, "torch": torch.__version__, "monai": monai.__version__},
    )
    return WhatIf(removed, edited, before, predicted.after, record)


def _region_words(request: ExplainRequest) -> str:
    """For people: "tumour", "connected component of the tumour", "sphere"."""
    segment, region = request.question.segment, request.region
    if isinstance(region, PredictedSegment):
        return segment
    speaks_of_it = isinstance(region, Component | Probable | TruePositive | FalsePositive | FalseNegative)
    return f"{region.title} of the {segment}" if speaks_of_it else region.title


def removed_voxels(request: ExplainRequest, segmentation: Segmentation) -> MetaTensor:
    """The region of a request on the volume's own grid: (1, i, j, k), uint8.

    Raises:
        EngineError: `region-empty`, `region-everything`, or what the region cannot be found for.
    """
    model, volume = request.model, request.volume
    if isinstance(request.region, Mask) and request.mask is not None:
        chosen = resample_onto(request.mask, volume, "nearest") > 0
    else:
        label = model.label(request.question.segment)
        weights = (region_of(request, label, segmentation) > 0).to(torch.uint8)
        chosen = restore(weights, segmentation.prepared, "nearest").as_tensor()[0] > 0
    if not chosen.any():
        raise EngineError(
            "region-empty",
            f"There is nothing to remove: the region ({request.region.title}) has no voxel in this volume. Choose another one.",
        )
    if chosen.all():
        raise EngineError(
            "region-everything",
            "The region is the whole volume, so nothing is left to fill it with. Choose a smaller one.",
        )
    return MetaTensor(chosen.to(torch.uint8)[None], affine=volume.affine)


def without(volume: MetaTensor, removed: MetaTensor, kind: Fill, seed: int) -> MetaTensor:
    """A volume (C, i, j, k) whose removed voxels are filled; all other voxels are the same."""
    region = removed.numpy()[0] > 0
    axes = np.asarray(volume.affine, np.float64)[:3, :3]
    filled = torch.from_numpy(fill(kind, volume.numpy(), region, axes, seed))
    values = torch.where(removed.as_tensor() > 0, filled.to(volume.dtype), volume.as_tensor())
    return MetaTensor(values, meta=dict(volume.meta))


def _predict(request: ExplainRequest, edited: MetaTensor, before: Segmentation, progress: Progress) -> _Predicted:
    model, axis = request.model, before.axis
    engine: Engine = "openvino" if before.engine.startswith(OPENVINO) else "torch"  # both sides by the same
    prepared = prepare(model, edited, part(progress, 0.0, 0.1))
    if not is_same_grid(prepared.image, before.prepared.image):  # the preprocessing crops by intensity, say
        after = segment(
            model,
            edited,
            axis=axis,
            device=request.question.device,
            engine=engine,
            progress=progress,
            prepared=prepared,
        )
        stack = to_stack(model, prepared.image, axis)
        count = len(stack) * len(windows_of(model, tuple(stack.shape[2:])).boxes)
        return _Predicted(after, {}, count, count, count)
    unchanged, changed = (to_stack(model, one.image, axis, progress) for one in (before.prepared, prepared))
    windows = windows_of(model, tuple(unchanged.shape[2:]))
    labels = per_image(model, prepared.image, axis, before.model_labels).clone()
    touched = touched_box(unchanged, changed, windows)
    chosen, box = _asked(labels, (unchanged != changed).flatten(1).any(dim=1), touched, model.largest_component)
    device = choose_device(request.question.device, model.spatial_dims)
    workplace = Workplace(model.network.to(device), device, None)
    forward = forward_of(model, device, unchanged, windows, len(unchanged), engine)
    workplace.batch = forward.batch
    passes = ChangedWindows(workplace, unchanged[chosen], windows, box, forward.network)
    old = passes.predict(progress=part(progress, 0.1, 0.5))
    base = passes.computed
    new = passes.predict(changed[chosen], part(progress, 0.5, 1.0))
    own = labels[chosen][at(slice(None), *box)]
    scores = {one.value: _scores(own == one.value, one, old, new) for one in model.labels}
    if touched is not None:
        part_of = labels[chosen]
        part_of[at(slice(None), *box)] = decide(model, new)
        labels[chosen] = part_of
    found = from_stack(model, prepared.image, axis, labels)
    if model.largest_component and touched is not None:
        found = largest_components(found, progress)
    after = segmentation_of(found, prepared, axis)
    return _Predicted(after, scores, len(unchanged) * len(windows.boxes), passes.computed - base, passes.computed)


def _asked(
    labels: torch.Tensor, changed: torch.Tensor, touched: Box | None, everything: bool
) -> tuple[torch.Tensor, Box]:
    """Which images are predicted, and the box of each: all that the edit touches and all that is segmented, so that scores are known.

    Where labels keep their largest component only, what is left of the others must be known everywhere.
    """
    size = labels.shape[1:]
    if everything:
        return torch.arange(len(labels)), tuple(slice(0, length) for length in size)
    places = labels.nonzero()
    low, high = [*size], [0] * len(size)
    if len(places):
        low, high = (places.amin(0)[1:]).tolist(), (places.amax(0)[1:] + 1).tolist()
    if touched is not None:
        low = [min(one, along.start) for one, along in zip(low, touched, strict=True)]
        high = [max(one, along.stop) for one, along in zip(high, touched, strict=True)]
    images = (changed | (labels != 0).flatten(1).any(dim=1)).nonzero()[:, 0]
    if not len(images):  # nothing is segmented, and nothing has changed
        return torch.zeros(1, dtype=torch.int64), tuple(slice(0, 1) for _ in size)
    return images, tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))


def _scores(where: torch.Tensor, label: Label, old: torch.Tensor, new: torch.Tensor) -> tuple[float, float]:
    """Sums of a label's logits over the positions that it had before."""
    before, after = (float(logits[:, label.channel][where].double().sum()) for logits in (old, new))
    return before, after


def _change(label: Label, before: Segmentation, predicted: _Predicted) -> SegmentChange:
    old, new = (one.labels.as_tensor() == label.value for one in (before, predicted.after))
    sizes = int(old.count_nonzero()) + int(new.count_nonzero())
    scores = predicted.scores.get(label.value) if old.any() else None
    return SegmentChange(
        segment=label.name,
        before_ml=_millilitres(old, before.labels),
        after_ml=_millilitres(new, before.labels),
        dice=2 * int((old & new).count_nonzero()) / sizes if sizes else None,
        score_before=None if scores is None else scores[0],
        score_after=None if scores is None else scores[1],
    )


def _millilitres(mask: torch.Tensor, grid: MetaTensor) -> float:
    voxel_mm3 = abs(float(np.linalg.det(np.asarray(grid.affine, np.float64)[:3, :3])))
    return int(mask.count_nonzero()) * voxel_mm3 * ML_PER_MM3
