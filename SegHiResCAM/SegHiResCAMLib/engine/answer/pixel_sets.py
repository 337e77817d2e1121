"""Which positions are explained: the pixel set M of S = sum over v in M of the logit of v.

Every kind is defined in patient space (RAS millimetres) or by the model's own output, and says exactly which positions of the model's grid
belong to it: a position belongs to a sphere if its centre lies inside. Kinds are plain data; `pixel_set_json.py` writes them down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from monai.data import MetaTensor
from scipy import ndimage

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume, onto_model_grid
from SegHiResCAMLib.engine.inference.segmentation import decide
from SegHiResCAMLib.engine.models.model import Label, SegmentationModel

Point = tuple[float, float, float]
"""Right, anterior, superior, in millimetres."""

AXES: tuple[Point, Point, Point] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Surroundings:
    """What a pixel set is found in.

    Attributes:
        model: The model.
        label: The label that is explained.
        prepared: The volume on the model's grid.
        find_labels: Gives the label map (x, y, z) on the model's grid; called only where it is needed, since it may have to be predicted.
        mask: Given by the user, (1, i, j, k) in any geometry; None for none.
        predict: Logits of windows (B, K, *spatial) -> values (B, *spatial), for the whole volume: (x, y, z).
    """

    model: SegmentationModel
    label: Label
    prepared: PreparedVolume
    find_labels: Callable[[], torch.Tensor]
    mask: MetaTensor | None
    predict: Callable[[Callable[[torch.Tensor], torch.Tensor]], torch.Tensor]

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


class PixelSet(Protocol):
    """A kind of pixel set."""

    @property
    def title(self) -> str:
        """For people."""

    def weights(self, around: Surroundings) -> torch.Tensor:
        """How much each position counts: (x, y, z) on the model's grid, boolean or float.

        Raises:
            EngineError: It cannot be found here.
        """


@runtime_checkable
class DecidedByLogits(Protocol):
    """A kind of pixel set that the logits decide, position by position."""

    def rule(self, model: SegmentationModel, label: Label) -> Callable[[torch.Tensor], torch.Tensor]:
        """Logits (B, K, *spatial) -> how much each position counts (B, *spatial)."""


@dataclass(frozen=True)
class PredictedSegment:
    """What the model outlined: the positions that it gives the segment's label (`decide`)."""

    title = "predicted segment"

    def weights(self, around: Surroundings) -> torch.Tensor:  # noqa: D102
        return around.segment

    def rule(self, model: SegmentationModel, label: Label) -> Callable[[torch.Tensor], torch.Tensor]:  # noqa: D102
        return lambda logits: decide(model, logits) == label.value


@dataclass(frozen=True)
class Probable:
    """Positions where the segment's probability is above `above`."""

    above: float = 0.5

    @property
    def title(self) -> str:  # noqa: D102
        return f"probability above {self.above:g}"

    def weights(self, around: Surroundings) -> torch.Tensor:  # noqa: D102
        return around.predict(self.rule(around.model, around.label))

    def rule(self, model: SegmentationModel, label: Label) -> Callable[[torch.Tensor], torch.Tensor]:  # noqa: D102
        softmax = model.activation == "softmax"
        return lambda logits: (logits.softmax(1) if softmax else logits.sigmoid())[:, label.channel] > self.above


@dataclass(frozen=True)
class Released:
    """The rule of the code released with Seg-HiRes-Grad CAM, so that its figures can be reproduced; see `released_weights`."""

    title = "rule of the released code"

    def weights(self, around: Surroundings) -> torch.Tensor:  # noqa: D102
        return around.predict(self.rule(around.model, around.label))

    def rule(self, _model: SegmentationModel, label: Label) -> Callable[[torch.Tensor], torch.Tensor]:  # noqa: D102
        return lambda logits: released_weights(logits, label.channel)


@dataclass(frozen=True)
class Mask:
    """What the user drew, or how much each voxel counts: the mask that comes with the request."""

    title = "mask given by the user"

    def weights(self, around: Surroundings) -> torch.Tensor:  # noqa: D102
        if around.mask is None:
            raise EngineError("mask-missing", "A mask is to be explained, but none was given. Give one with --mask.")
        weights = onto_model_grid(around.mask, around.prepared)
        if not torch.isfinite(weights).all():
            raise EngineError("mask-not-finite", "The mask holds NaN or infinite values. Draw or export it again.")
        return weights


@dataclass(frozen=True)
class Component:
    """The connected part of the predicted segment at a point; neighbours share a face, an edge or a corner."""

    point: Point
    title = "connected component"

    def weights(self, around: Surroundings) -> torch.Tensor:  # noqa: D102
        position = _position(self.point, around)
        parts, _ = ndimage.label(around.segment.numpy(), np.ones((3, 3, 3)))
        if parts[position] == 0:
            raise EngineError(
                "point-outside-segment",
                f"The point {_written(self.point)} is not in the '{around.label.name}' that '{around.model.name}' predicts. "
                "Choose a point inside.",
            )
        return torch.from_numpy(parts == parts[position])


@dataclass(frozen=True)
class Points:
    """The positions nearest to some points."""

    points: tuple[Point, ...]

    @property
    def title(self) -> str:  # noqa: D102
        return "point" if len(self.points) == 1 else f"{len(self.points)} points"

    def weights(self, around: Surroundings) -> torch.Tensor:  # noqa: D102
        chosen = torch.zeros(around.shape, dtype=torch.bool)
        for point in self.points:
            chosen[_position(point, around)] = True
        return chosen


@dataclass(frozen=True)
class Sphere:
    """Everything within `radius` mm of `centre`."""

    centre: Point
    radius: float
    title = "sphere"

    def weights(self, around: Surroundings) -> torch.Tensor:  # noqa: D102
        centre, radius = np.array(self.centre), self.radius
        corners = [centre + radius * np.array(signs) for signs in product((-1, 1), repeat=3)]
        return _inside(corners, lambda places: np.sum((places - centre) ** 2, axis=-1) <= radius**2, around)


@dataclass(frozen=True)
class Box:
    """A box of edges `size` mm around `centre`, along `axes` (three orthogonal unit vectors)."""

    centre: Point
    size: Point
    axes: tuple[Point, Point, Point] = AXES
    title = "box"

    def weights(self, around: Surroundings) -> torch.Tensor:  # noqa: D102
        centre, half, axes = np.array(self.centre), np.array(self.size) / 2, np.array(self.axes)
        corners = [centre + (half * signs) @ axes for signs in product((-1, 1), repeat=3)]
        tolerance = 1e-6  # mm: a position on the face belongs to the box, however it is rounded
        return _inside(
            corners, lambda places: np.all(np.abs((places - centre) @ axes.T) <= half + tolerance, axis=-1), around
        )


@dataclass(frozen=True)
class WholeImage:
    """Every position."""

    title = "whole image"

    def weights(self, around: Surroundings) -> torch.Tensor:  # noqa: D102
        return torch.ones(around.shape, dtype=torch.bool)


@dataclass(frozen=True)
class Background:
    """Positions that the model gave no label."""

    title = "background"

    def weights(self, around: Surroundings) -> torch.Tensor:  # noqa: D102
        return around.find_labels() == 0

    def rule(self, model: SegmentationModel, _label: Label) -> Callable[[torch.Tensor], torch.Tensor]:  # noqa: D102
        return lambda logits: decide(model, logits) == 0


@dataclass(frozen=True)
class Empty:
    """No position at all: a sanity check, since nothing should be explained."""

    title = "empty set (sanity check)"

    def weights(self, around: Surroundings) -> torch.Tensor:  # noqa: D102
        return torch.zeros(around.shape, dtype=torch.bool)


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
