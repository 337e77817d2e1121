"""Where a segmentation is wrong: agreement with a reference segment by segment, and the connected parts that only one of them has."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from scipy import ndimage
from scipy.spatial import cKDTree

from SegHiResCAMLib.engine.answer.measurements import ML_PER_MM3
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.region_files import Regions
from SegHiResCAMLib.engine.images.resampling import resample_onto
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.records.mistakes import Agreement, Comparison, Mistake, MistakeKind
from SegHiResCAMLib.records.models import Label

LISTED = 100
"""Mistakes that are listed at most."""

BACKGROUND = "background"

Labels = npt.NDArray[np.int16]
Mask = npt.NDArray[np.bool_]

NEIGHBOURS = np.ones((3, 3, 3), bool)
"""Voxels that share a face, an edge or a corner."""


def reference_labels(regions: Regions, model: SegmentationModel) -> MetaTensor:
    """A reference in a model's own label values: segments of a segmentation file are matched by name, labels of a label map by value.

    Regions without a single voxel are a reference, too, in which there is nothing of any segment.

    Returns:
        (1, i, j, k), int16, in the geometry of the file.

    Raises:
        EngineError: `reference-unmatched`, none of the model's segments is in it.
    """
    found = torch.zeros_like(regions.labels.as_tensor())
    matched = False
    for value, name in regions.names.items():
        for label in model.labels:
            if (name.casefold() == label.name.casefold()) if regions.has_names else (value == label.value):
                found[regions.labels.as_tensor() == value] = label.value
                matched = True
    if regions.names and not matched:
        wanted = ", ".join(f"{one.name} ({one.value})" for one in model.labels)
        given = ", ".join(list(regions.names.values())[:20])
        raise EngineError(
            "reference-unmatched",
            f"The reference has none of the segments of '{model.name}'. They are called {wanted}, and the reference has {given}. Segments of a "
            "segmentation file are matched by name, labels of a label map by value.",
        )
    return MetaTensor(found, affine=regions.labels.affine)


def compare_with_reference(
    labels: MetaTensor,
    reference: MetaTensor,
    model: SegmentationModel,
    segments: Collection[str],
    progress: Progress = silent,
) -> Comparison:
    """How a model's segmentation differs from a reference, in the segments that the reference has and in those that are asked about.

    Args:
        labels: (1, i, j, k), of `Segmentation`.
        reference: From `reference_labels`, in any geometry; it is compared on the grid of `labels`, voxel centre by voxel centre.
        model: Whose labels these are.
        segments: Names of those that are asked about: where the reference has nothing of one, all of it is wrong.
        progress: Called before each segment; may raise `Cancelled`.
    """
    ours = labels.as_tensor()[0].numpy()
    theirs = resample_onto(reference, labels, "nearest").numpy()
    affine = np.asarray(labels.affine, np.float64)
    drawn = reference.as_tensor()
    shown = [one for one in model.labels if one.name in segments or bool((drawn == one.value).any())]
    agreements: list[Agreement] = []
    mistakes: list[Mistake] = []
    for number, label in enumerate(shown):
        report = part(progress, number / len(shown), (number + 1) / len(shown))
        report(0.0, f"Comparing '{label.name}' with the reference")
        agreements.append(_agreement(label, ours == label.value, theirs == label.value, affine))
        report(0.5, f"Comparing '{label.name}' with the reference")
        mistakes += _mistakes(label, "false-positive", ours, theirs, affine, model)
        mistakes += _mistakes(label, "false-negative", theirs, ours, affine, model)
    mistakes.sort(key=lambda one: -one.volume_ml)
    return Comparison(tuple(agreements), tuple(mistakes[:LISTED]), max(len(mistakes) - LISTED, 0))


def winner_of(labels: torch.Tensor, where: torch.Tensor, model: SegmentationModel) -> str:
    """The name of the label that most of the voxels `where` have: a segment, or "background"."""
    values, counts = torch.unique(labels[where], return_counts=True)
    return _name_of(int(values[counts.argmax()]), model)


def _name_of(value: int, model: SegmentationModel) -> str:
    return next((one.name for one in model.labels if one.value == value), BACKGROUND)


def _agreement(label: Label, ours: Mask, theirs: Mask, affine: npt.NDArray[np.float64]) -> Agreement:
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) * ML_PER_MM3
    sizes = int(ours.sum()), int(theirs.sum())
    mean = hausdorff = None
    if all(sizes):
        there, back = surface_distances(ours, theirs, affine)
        mean = float(np.concatenate([there, back]).mean())
        hausdorff = float(max(np.percentile(there, 95), np.percentile(back, 95)))
    return Agreement(
        segment=label.name,
        dice=2 * int((ours & theirs).sum()) / sum(sizes) if any(sizes) else None,
        mean_surface_distance_mm=mean,
        hausdorff_95_mm=hausdorff,
        volume_ml=sizes[0] * voxel_ml,
        reference_ml=sizes[1] * voxel_ml,
    )


def surface_distances(
    one: Mask, other: Mask, affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Millimetres from each border voxel of a mask to the nearest border voxel of another, and back; in the patient, so exact on any grid.

    A border voxel is one of which a neighbour by a face is outside, beyond the volume's edge as well.
    """
    places = [
        np.argwhere(mask & ~ndimage.binary_erosion(mask)) @ affine[:3, :3].T + affine[:3, 3] for mask in (one, other)
    ]
    there, back = cKDTree(places[1]).query(places[0])[0], cKDTree(places[0]).query(places[1])[0]
    return there, back


def _mistakes(
    label: Label,
    kind: MistakeKind,
    having: Labels,
    lacking: Labels,
    affine: npt.NDArray[np.float64],
    model: SegmentationModel,
) -> Iterator[Mistake]:
    """The connected parts of a label that `having` has and `lacking` has not."""
    wrong = (having == label.value) & (lacking != label.value)
    shared = (having == label.value) & (lacking == label.value)
    parts, _ = ndimage.label(wrong, NEIGHBOURS)
    touching = (
        set(np.unique(parts[ndimage.binary_dilation(shared, NEIGHBOURS) & wrong]).tolist()) if shared.any() else set()
    )
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) * ML_PER_MM3
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        own = parts[box] == number
        indices = np.argwhere(own) + [along.start for along in box]
        places = indices @ affine[:3, :3].T + affine[:3, 3]
        nearest = places[int(np.linalg.norm(places - places.mean(axis=0), axis=1).argmin())]
        values, counts = np.unique(lacking[box][own], return_counts=True)
        yield Mistake(
            segment=label.name,
            mistake=kind,
            volume_ml=len(indices) * voxel_ml,
            point_ras_mm=(float(nearest[0]), float(nearest[1]), float(nearest[2])),
            is_separate=number not in touching,
            instead=_name_of(int(values[counts.argmax()]), model),
        )
