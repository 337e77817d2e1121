"""One panel of a picture: a slice of the image, the heat map over it, outlines, and what one reads it by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SegHiResCAMLib.patient_places import coordinate
from SegHiResCAMLib.scene import canvas
from SegHiResCAMLib.scene.segments import segment_ids, segment_reader
from SegHiResCAMLib.scene.slices import (
    AXIAL,
    Bounds,
    Slice,
    View,
    body_box,
    cut,
    layer_image,
    mask_image,
    voxel_transform,
)
from SegHiResCAMLib.scene.volumes import Array
from SegHiResCAMLib.turns import Steps

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
    from vtk import vtkAbstractTransform


@dataclass(frozen=True)
class Outline:
    """A segment to outline: its name, colour, and (i, j, k) voxels on the background's grid."""

    name: str
    color: tuple[float, float, float]
    mask: Array


@dataclass(frozen=True)
class Look:
    """What all panels of a picture share.

    Attributes:
        volume: The background's node.
        outlines: The segments to outline.
        position: RAS millimetres, (3,), that all slices go through, and that is marked in them.
        opacity: Of heat maps, 0 to 1.
    """

    volume: vtkMRMLScalarVolumeNode
    outlines: list[Outline]
    position: Array
    opacity: float = 0.5


@dataclass(frozen=True)
class Cut:
    """What one panel shows, taken out of the scene.

    Attributes:
        where: The slice.
        under: (rows, columns, 4) of the background, as `layer_image` gives it.
        over: The same of the heat map; None for none.
        to_voxels: From pixels to the background's voxels.
    """

    where: Slice
    under: Array
    over: Array | None
    to_voxels: vtkAbstractTransform


@dataclass(frozen=True)
class Frame:
    """The part of the patient that a picture shows, as a box in RAS millimetres, and the point that the slices go through."""

    lower: Array
    upper: Array
    position: Array

    def width(self, view: View) -> float:
        """Millimetres that a view is wide."""
        return float((self.upper - self.lower)[view.across])

    def cut(self, view: View, mm_per_pixel: float) -> Slice:
        """Place a view's slice, as large as the box."""
        center = (self.lower + self.upper) / 2
        center[view.through] = self.position[view.through]
        columns, rows = ((self.upper - self.lower)[[view.across, view.up]] / mm_per_pixel).round().astype(int)
        return cut(view, center, (int(rows), int(columns)), mm_per_pixel)


def body_frame(volume: vtkMRMLScalarVolumeNode, body: Bounds, position: Array) -> Frame:
    """Take the body's box with a margin; a long body is cropped along S to what keeps the panels about square."""
    box = body_box(volume, body)
    lower, upper = np.minimum(box[0], position) - 5, np.maximum(box[1], position) + 5
    side = float((upper - lower)[:2].max())
    if upper[2] - lower[2] > side:
        start = np.clip(position[2] - side / 2, lower[2], upper[2] - side)
        lower[2], upper[2] = start, start + side
    thin = np.maximum(0.35 * side - (upper - lower), 0) / 2  # room for the captions
    return Frame(lower - thin, upper + thin, position)


def outline_reader(
    volume: vtkMRMLScalarVolumeNode, segmentation: vtkMRMLSegmentationNode | None, chosen: Sequence[str] | None
) -> Callable[[], list[Outline]]:
    """What reads the chosen segments, or all, on the volume's grid; it may be called in any thread."""
    readers: list[tuple[str, tuple[float, float, float], Callable[[], Array]]] = []
    if segmentation is None:
        return list
    for segment_id in segment_ids(segmentation) if chosen is None else chosen:
        read = segment_reader(segmentation, segment_id, volume)  # first: it says so if there is no such segment
        segment = segmentation.GetSegmentation().GetSegment(segment_id)
        readers.append((segment.GetName(), segment.GetColor(), read))
    return lambda: [Outline(name, color, read()) for name, color, read in readers]


def cut_panel(look: Look, where: Slice, heatmap: vtkMRMLScalarVolumeNode | None) -> Steps:
    """Take out of the scene what one panel shows, step by step, and return it as a `Cut`; without a heat map's node the image alone."""
    under = layer_image(look.volume, where)
    yield None
    over = None if heatmap is None else layer_image(heatmap, where)
    yield None
    return Cut(where, under, over, voxel_transform(look.volume, where))


def draw_panel(page: canvas.Canvas, look: Look, shown: Cut, corner: tuple[int, int]) -> list[Outline]:
    """Draw one panel, its upper left corner at (x, y) pixels, and return the outlines that it shows; it may run in any thread."""
    where = shown.where
    image = shown.under[..., :3] * shown.under[..., 3:]
    if shown.over is not None:
        alpha = shown.over[..., 3:] * look.opacity
        image = image * (1 - alpha) + shown.over[..., :3] * alpha
    panel = page.panel(image, *corner)
    drawn = [
        outline
        for outline in look.outlines
        if canvas.outline(panel, mask_image(outline.mask, shown.to_voxels, where.shape), outline.color)
    ]
    canvas.letters(panel, *where.view.letters)
    through = where.view.through
    canvas.caption(panel, f"{where.view.name}  {coordinate(look.position[through], through)} mm")
    canvas.crosshair(panel, *where.pixel(look.position))
    if where.view is AXIAL:
        canvas.scale_bar(panel, where.shape, where.mm_per_pixel)
    return drawn
