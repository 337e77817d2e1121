"""Which positions are explained: the pixel set M of S = sum over v in M of the logit of v.

Every kind is defined in patient space (RAS millimetres) or by the model's own output, and says exactly which positions of the model's grid
belong to it: a position belongs to a sphere if its centre lies inside. The kinds themselves are plain records (`records/regions.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from scipy import ndimage

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume, onto_model_grid
from SegHiResCAMLib.engine.inference.segmentation import decide
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.regions import (
    Background,
    Box,
    Component,
    Empty,
    FalseNegative,
    FalsePositive,
    Mask,
    Point,
    Points,
    PredictedSegment,
    Probable,
    Region,
    Released,
    Rim,
    Sphere,
    TruePositive,
    WholeImage,
)


@dataclass(frozen=True)
class Surroundings:
    """What a pixel set is found in.

    Attributes:
        model: The model.
        label: The label that is explained.
        prepared: The volume on the model's grid.
        find_labels: Gives the label map (x, y, z) on the model's grid; called only where it is needed, since it may have to be predicted.
        mask: Given by the user, (1, i, j, k) in any geometry; None for none.
        reference: Label map in the model's values, (1, i, j, k) in any geometry; None for none.
        predict: Logits of windows (B, K, *spatial) -> values (B, *spatial), for the whole volume: (x, y, z).
    """

    model: SegmentationModel
    label: Label
    prepared: PreparedVolume
    find_labels: Callable[[], torch.Tensor]
    mask: MetaTensor | None
    predict: Callable[[Callable[[torch.Tensor], torch.Tensor]], torch.Tensor]
    reference: MetaTensor | None = None

    @property
    def affine(self) -> np.ndarray:
        """From the model's grid to RAS millimetres."""
        return np.asarray(self.prepared.image.affine.numpy(), dtype=np.float64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the model's grid."""
        return tuple(self.prepared.image.shape[1:])

    @property
    def segment(self) -> torch.Tensor:
        """The positions (x, y, z) that the model gave the label."""
        return self.find_labels() == self.label.value

    @property
    def reference_segment(self) -> torch.Tensor:
        """The positions (x, y, z) that have the label in the reference.

        Raises:
            EngineError: `reference-missing`.
        """
        if self.reference is None:
            raise EngineError(
                "reference-missing", "Mistakes are found by a reference, but none was given. Give one with --reference."
            )
        return onto_model_grid(self.reference, self.prepared) == self.label.value


Rule = Callable[[torch.Tensor], torch.Tensor]
"""Logits (B, K, *spatial) -> how much each location counts (B, *spatial)."""


def weights_of(region: Region, around: Surroundings) -> torch.Tensor:
    """How much each location of the model's grid counts: (x, y, z), boolean or float.

    Raises:
        EngineError: The region cannot be found here.
    """
    return WEIGHTS[type(region)](region, around)


def rule_of(region: Region, model: SegmentationModel, label: Label) -> Rule | None:
    """What decides the region location by location, where the logits do; else None."""
    decide_by = RULES.get(type(region))
    return None if decide_by is None else decide_by(region, model, label)


def _predicted(_region: PredictedSegment, around: Surroundings) -> torch.Tensor:
    return around.segment


def _predicted_rule(_region: PredictedSegment, model: SegmentationModel, label: Label) -> Rule:
    return lambda logits: decide(model, logits) == label.value


def _by_rule(region: Region, around: Surroundings) -> torch.Tensor:
    return around.predict(RULES[type(region)](region, around.model, around.label))


def _probable_rule(region: Probable, model: SegmentationModel, label: Label) -> Rule:
    softmax = model.activation == "softmax"
    return lambda logits: (logits.softmax(1) if softmax else logits.sigmoid())[:, label.channel] > region.above


def _released_rule(_region: Released, _model: SegmentationModel, label: Label) -> Rule:
    return lambda logits: released_weights(logits, label.channel)


def _masked(_region: Mask, around: Surroundings) -> torch.Tensor:
    if around.mask is None:
        raise EngineError("mask-missing", "A mask is to be explained, but none was given. Give one with --mask.")
    weights = onto_model_grid(around.mask, around.prepared)
    if not torch.isfinite(weights).all():
        raise EngineError("mask-not-finite", "The mask holds NaN or infinite values. Draw or export it again.")
    return weights


def _component(region: Component, around: Surroundings) -> torch.Tensor:
    found = _part_at(around.segment, region.point, around)
    if found is None:
        raise EngineError(
            "point-outside-segment",
            f"The point {_written(region.point)} is not in the '{around.label.name}' that '{around.model.name}' predicts. "
            "Choose a point inside.",
        )
    return found


def _part_at(mask: torch.Tensor, point: Point, around: Surroundings) -> torch.Tensor | None:
    """The connected part of a mask at a point; None where the point lies outside the mask."""
    position = _position(point, around)
    parts, _ = ndimage.label(mask.numpy(), np.ones((3, 3, 3)))
    return torch.from_numpy(parts == parts[position]) if parts[position] else None


def _true_positive(_region: TruePositive, around: Surroundings) -> torch.Tensor:
    return around.segment & around.reference_segment


def _false_positive(region: FalsePositive, around: Surroundings) -> torch.Tensor:
    return _mistake(around.segment & ~around.reference_segment, region, around)


def _false_negative(region: FalseNegative, around: Surroundings) -> torch.Tensor:
    return _mistake(around.reference_segment & ~around.segment, region, around)


def _mistake(wrong: torch.Tensor, region: FalsePositive | FalseNegative, around: Surroundings) -> torch.Tensor:
    """All that is wrong, or the part of it at the region's point."""
    if region.point is None:
        return wrong
    found = _part_at(wrong, region.point, around)
    if found is None:
        raise EngineError(
            "point-outside-mistake",
            f"The point {_written(region.point)} is not in a {region.title} of the '{around.label.name}'. Choose a point of the list of mistakes.",
        )
    return found


def _rim(_region: Rim, around: Surroundings) -> torch.Tensor:
    """1 just inside; just outside, what makes both sides count the same. Neighbours share a face."""
    segment = around.segment.numpy()
    inside = segment & ~ndimage.binary_erosion(segment, border_value=1)
    outside = ndimage.binary_dilation(segment) & ~segment
    balance = inside.sum() / max(outside.sum(), 1)
    return torch.from_numpy(inside.astype(np.float32) - balance * outside.astype(np.float32))


def _points(region: Points, around: Surroundings) -> torch.Tensor:
    chosen = torch.zeros(around.shape, dtype=torch.bool)
    for point in region.points:
        chosen[_position(point, around)] = True
    return chosen


def _sphere(region: Sphere, around: Surroundings) -> torch.Tensor:
    centre, radius = np.array(region.centre), region.radius
    corners = [centre + radius * np.array(signs) for signs in product((-1, 1), repeat=3)]
    return _inside(corners, lambda places: np.sum((places - centre) ** 2, axis=-1) <= radius**2, around)


def _box(region: Box, around: Surroundings) -> torch.Tensor:
    centre, half, axes = np.array(region.centre), np.array(region.size) / 2, np.array(region.axes)
    corners = [centre + (half * signs) @ axes for signs in product((-1, 1), repeat=3)]
    tolerance = 1e-6  # mm: a location on the face belongs to the box, however it is rounded
    return _inside(
        corners, lambda places: np.all(np.abs((places - centre) @ axes.T) <= half + tolerance, axis=-1), around
    )


def _everything(_region: WholeImage, around: Surroundings) -> torch.Tensor:
    return torch.ones(around.shape, dtype=torch.bool)


def _background(_region: Background, around: Surroundings) -> torch.Tensor:
    return around.find_labels() == 0


def _background_rule(_region: Background, model: SegmentationModel, _label: Label) -> Rule:
    return lambda logits: decide(model, logits) == 0


def _nothing(_region: Empty, around: Surroundings) -> torch.Tensor:
    return torch.zeros(around.shape, dtype=torch.bool)


WEIGHTS: dict[type[Region], Callable[[Any, Surroundings], torch.Tensor]] = {
    PredictedSegment: _predicted,
    Probable: _by_rule,
    Released: _by_rule,
    Mask: _masked,
    Component: _component,
    TruePositive: _true_positive,
    FalsePositive: _false_positive,
    FalseNegative: _false_negative,
    Rim: _rim,
    Points: _points,
    Sphere: _sphere,
    Box: _box,
    WholeImage: _everything,
    Background: _background,
    Empty: _nothing,
}
"""What each kind of region means on a model's grid; a new kind is a record in `records/regions.py`, a function and a line here."""

RULES: dict[type[Region], Callable[[Any, SegmentationModel, Label], Rule]] = {
    PredictedSegment: _predicted_rule,
    Probable: _probable_rule,
    Released: _released_rule,
    Background: _background_rule,
}
"""The kinds that logits decide: where one window holds an image, they need no prediction beforehand."""


def released_weights(logits: torch.Tensor, channel: int) -> torch.Tensor:
    """How much each position counts in the released code: (B, K, *spatial) -> (B, *spatial).

    It marks the classes with a probability above one half by their number and compares with the class asked for. For a class c > 0 that is
    p_c > 1/2, which is less than argmax where there are three classes or more. Class 0 is matched by its own zero and by every
    class that is not marked, so that the whole image counts, each position with K, or K - 1 inside another class.

    Raises:
        EngineError: `released-one-channel`.
    """
    if logits.shape[1] < 2:
        raise EngineError(
            "released-one-channel", "The rule of the released code needs a network with two or more output channels."
        )
    marked = logits.softmax(dim=1) > 0.5
    if channel > 0:
        return marked[:, channel].to(logits)
    return (logits.shape[1] - marked[:, 1:].any(dim=1).int()).to(logits)


def _position(point: Point, around: Surroundings) -> tuple[int, int, int]:
    """The position of the model's grid that is nearest to a point."""
    shape = around.shape
    place = np.linalg.inv(around.affine) @ np.array([*point, 1.0])
    index = tuple(int(number) for number in np.rint(place[:3]))
    if not all(0 <= number < length for number, length in zip(index, shape, strict=True)):
        raise EngineError(
            "point-outside-volume",
            f"The point {_written(point)} is outside the part of the volume that the model processes. Choose a point inside.",
        )
    return index[0], index[1], index[2]


def _inside(corners: list[np.ndarray], holds: Callable[[np.ndarray], np.ndarray], around: Surroundings) -> torch.Tensor:
    """The positions of the model's grid between `corners` (mm) whose centres (..., 3) in mm `holds` is true of."""
    shape, affine = around.shape, around.affine
    chosen = torch.zeros(shape, dtype=torch.bool)
    places = np.stack([*np.transpose(corners), np.ones(len(corners))])
    indices = (np.linalg.inv(affine) @ places)[:3]
    low = np.maximum(np.floor(indices.min(axis=1)).astype(int), 0)
    high = np.minimum(np.ceil(indices.max(axis=1)).astype(int) + 1, shape)
    if (low >= high).any():
        return chosen
    grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
    block = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
    chosen[block] = torch.from_numpy(holds(grid @ affine[:3, :3].T + affine[:3, 3]))
    return chosen


def _written(point: Point) -> str:
    right, front, up = point
    return f"(R {right:.1f}, A {front:.1f}, S {up:.1f} mm)"
