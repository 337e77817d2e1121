"""What a request asks about: logits, and the positions whose logits count, on the model's grid and arranged as the network's stack of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.answer.mistakes import BACKGROUND, winner_of
from SegHiResCAMLib.engine.answer.pixel_sets import Rule, Surroundings, rule_of, weights_of
from SegHiResCAMLib.engine.cam.leaf import Target
from SegHiResCAMLib.engine.cam.passes import Place
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, decide, predict_values, segmentation_of
from SegHiResCAMLib.engine.inference.slicing import from_stack, per_image
from SegHiResCAMLib.engine.inference.windows import Windows
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.progress import Progress
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.question import Axis
from SegHiResCAMLib.records.regions import (
    Empty,
    FalseNegative,
    FalsePositive,
    Mask,
    PredictedSegment,
    Released,
    TruePositive,
)


def target_of(request: ExplainRequest, label: Label) -> Target:
    """The logit that is explained.

    Raises:
        EngineError: `contrast-itself`, or an unknown contrast.
    """
    weight = request.question.contrast_weight
    return Target(label.channel, _contrast_channel(request, label), weight)


def pixel_set_of(
    request: ExplainRequest,
    label: Label,
    prepared: PreparedVolume,
    axis: Axis,
    find_labels: Callable[[], torch.Tensor],
    progress: Progress,
) -> torch.Tensor:
    """How much each position counts, arranged as the stack is: (B, *spatial).

    Raises:
        EngineError: `region-empty`, or what a pixel set cannot be found for.
    """
    model = request.model

    def predict(form: Rule) -> torch.Tensor:
        how = request.question
        return predict_values(
            model, prepared, form, axis=axis, device=how.device, engine=how.segmenting_engine, progress=progress
        )

    around = Surroundings(model, label, prepared, find_labels, request.mask, predict, request.reference)
    pixel_set = weights_of(request.region, around)
    refuse_empty(request, label, pixel_set)
    return per_image(model, prepared.image, axis, pixel_set)


def against_winner(request: ExplainRequest, label: Label, segmentation: Segmentation) -> ExplainRequest:
    """The request about a false negative, contrasted with the class that most of its voxels got: why that one and not this?

    Raises:
        EngineError: `region-empty`, or what the region cannot be found for.
    """
    model, asked = request.model, request.about(label.name)
    around = Surroundings(
        model,
        label,
        segmentation.prepared,
        lambda: segmentation.model_labels,
        request.mask,
        lambda _rule: segmentation.model_labels,
        request.reference,
    )
    missed = weights_of(request.region, around)
    refuse_empty(request, label, missed)
    won = winner_of(segmentation.model_labels, missed, model)
    if won == BACKGROUND and model.background is None:  # its own logit, whose sign decides
        return asked
    return replace(asked, question=replace(asked.question, contrast=won))


def refuse_empty(request: ExplainRequest, label: Label, pixel_set: torch.Tensor) -> None:
    """Refuse where there is nothing to explain.

    Raises:
        EngineError: `region-empty`.
    """
    chosen, model = request.region, request.model
    if pixel_set.any() or isinstance(chosen, Empty):
        return
    if isinstance(chosen, PredictedSegment):
        message = (
            f"'{model.name}' found no '{label.name}' in this volume, so there is no segment to explain. "
            "Explain another segment, or give the voxels to explain as a mask."
        )
    elif isinstance(chosen, Mask):
        message = "The mask has no voxel inside the part of the volume that the model processes. Check that it belongs to this volume."
    elif isinstance(chosen, TruePositive | FalsePositive | FalseNegative):
        message = f"'{model.name}' and the reference have no {chosen.title} of the '{label.name}' in this volume. Explain another segment."
    else:
        message = (
            f"The explained region ({chosen.title}) has no voxel inside the part of the volume that the model processes. "
            "Make it larger, or move it."
        )
    raise EngineError("region-empty", message)


@dataclass(frozen=True)
class Revealed:
    """What the logits of the explanation's own forward pass decide, filled in window by window.

    Attributes:
        model: The model.
        windows: One to an image.
        labels: Label map (B, *spatial), int16.
        pixel_sets: (B, *spatial) each.
        rules: What decides each pixel set; none where they are known beforehand.
    """

    model: SegmentationModel
    windows: Windows
    labels: torch.Tensor
    pixel_sets: Sequence[torch.Tensor]
    rules: Sequence[Rule]

    def __call__(self, places: Sequence[Place], logits: torch.Tensor) -> None:
        """Take in some windows' logits (B, K, *window)."""
        decided = [(self.labels, decide(self.model, logits))]
        decided += [(into, rule(logits)) for into, rule in zip(self.pixel_sets, self.rules, strict=False)]
        for into, values in decided:
            for (image, _), one in zip(places, self.windows.crop(values), strict=True):
                into[image] = one.to(into)

    def segmentation(self, prepared: PreparedVolume, axis: Axis) -> Segmentation:
        """What the model segments, once every window has been taken in."""
        return segmentation_of(from_stack(self.model, prepared.image, axis, self.labels), prepared, axis)


def revealed_sets(
    request: ExplainRequest, labels: Sequence[Label], shape: tuple[int, ...]
) -> tuple[list[torch.Tensor], list[Rule]] | None:
    """Pixel sets (B, *spatial) still to be filled in, and their rules, where the logits decide them; else None."""
    rules = [rule for label in labels if (rule := rule_of(request.region, request.model, label)) is not None]
    if not rules:
        return None
    kind = torch.float32 if isinstance(request.region, Released) else torch.bool
    return [torch.zeros(shape, dtype=kind) for _ in labels], rules


def _contrast_channel(request: ExplainRequest, label: Label) -> int | None:
    """The output channel of the contrast class."""
    if request.question.contrast is None:
        return None
    model = request.model
    if request.question.contrast.casefold() == "background" and model.background is not None:
        return model.background
    channel = model.label(request.question.contrast).channel
    if channel == label.channel:
        raise EngineError(
            "contrast-itself", f"'{label.name}' cannot be its own contrast class. Choose another segment."
        )
    return channel
