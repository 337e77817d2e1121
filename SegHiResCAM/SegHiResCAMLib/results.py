"""The files of an answer: engine results in, a folder of files out; may import engine and scene."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.dicom.export import write_dicom
from SegHiResCAMLib.engine.images.volume import WRITERS, write_volume
from SegHiResCAMLib.scene.heatmap import add_heatmap, node_facts, peak_position
from SegHiResCAMLib.scene.overlay import jump_slices, show_overlay
from SegHiResCAMLib.scene.picture import comparison_picture, gallery_picture, slice_picture_steps
from SegHiResCAMLib.scene.save import save_scene, save_segmentation, written_beside
from SegHiResCAMLib.scene.segments import Segment, add_segment, add_segmentation, segment_ids
from SegHiResCAMLib.scene.volumes import add_volume
from SegHiResCAMLib.steps import finish

if TYPE_CHECKING:
    from monai.data import MetaTensor

    from SegHiResCAMLib.engine.answer.explanation import Explanation
    from SegHiResCAMLib.engine.inference.segmentation import Segmentation
    from SegHiResCAMLib.engine.models import SegmentationModel

HEATMAP, SEGMENTATION, OVERLAY, COMPARISON = "heatmap.nrrd", "segmentation.seg.nrrd", "overlay.png", "comparison.png"
NIFTI, NIFTI_LABELS = "heatmap.nii.gz", "segmentation.nii.gz"
SCENE, FACTS = "scene.mrb", "explanation.json"
COLUMNS = 4
"""Maps that are compared in all three directions; more share one slice."""

CHOSEN_COLOR = (0.35, 0.85, 1.0)
"""Of the outline of what was explained; no anatomy has it."""

HEADER_PREFIX = "SegHiResCAM."
"""Of NRRD header fields: Slicer's NRRD reader makes node attributes of them, under the names the scene gives them too."""


def write_explanations(
    scene: Any, folder: Path, volume: MetaTensor, model: SegmentationModel, explanations: Sequence[Explanation]
) -> list[Path]:
    """Write all there is to one segment's explanation into a folder.

    Args:
        scene: An empty vtkMRMLScene; afterwards it shows what was saved.
        folder: Made where it is missing.
        volume: (C, i, j, k) that was explained; pictures show its first channel.
        model: That outlined it.
        explanations: Of one segment; the first is the one that is written as a heat map, others are compared with it.

    Returns:
        The files: heat map, segmentation, picture, comparison (where there are several), scene, and facts as JSON.

    Raises:
        EngineError, SceneError: A file cannot be written.
    """
    make_folder(folder)
    first = explanations[0]
    volume_node = add_volume(scene, volume.numpy()[0], volume.affine.numpy(), "Volume")
    segmentation_node = _add_outlines(scene, model, first, volume_node)
    heatmap_nodes = [
        add_heatmap(
            scene,
            explanation.heatmap.numpy()[0],
            explanation.heatmap.affine.numpy(),
            node_facts(explanation.as_dict()),
            volume_node,
            segmentation=segmentation_node,
        )
        for explanation in explanations
    ]
    show_overlay(scene, volume_node, heatmap_nodes[0], segmentation_node)
    jump_slices(scene, peak_position(heatmap_nodes[0]).position)

    header = {f"{HEADER_PREFIX}{key}": value for key, value in node_facts(first.as_dict()).items()}
    write_volume(first.heatmap, folder / HEATMAP, header)
    save_segmentation(segmentation_node, folder / SEGMENTATION)
    ids = segment_ids(segmentation_node)
    outlined = [] if first.segmentation is None else [ids[model.labels.index(first.label)]]
    outlined += [] if first.chosen is None else [ids[-1]]
    finish(slice_picture_steps(folder / OVERLAY, volume_node, heatmap_nodes[0], segmentation_node, segments=outlined))
    written = [folder / HEATMAP, folder / SEGMENTATION, folder / OVERLAY]
    if len(explanations) > 1:
        draw = comparison_picture if len(explanations) <= COLUMNS else gallery_picture
        draw(folder / COMPARISON, volume_node, heatmap_nodes, segmentation_node, segments=outlined)
        written.append(folder / COMPARISON)
    save_scene(scene, folder / SCENE)
    facts = [explanation.as_dict() for explanation in explanations]
    write_json(facts[0] | ({"compared_with": facts[1:]} if facts[1:] else {}), folder / FACTS)
    return [*written, folder / SCENE, folder / FACTS]


def write_nifti(folder: Path, explanation: Explanation) -> list[Path]:
    """The heat map, and the label map where there is one, as NIfTI."""
    write_volume(explanation.heatmap, folder / NIFTI)
    if explanation.segmentation is None:
        return [folder / NIFTI]
    write_volume(explanation.segmentation.labels, folder / NIFTI_LABELS)
    return [folder / NIFTI, folder / NIFTI_LABELS]


def write_dicom_files(
    folder: Path, explanation: Explanation, model: SegmentationModel, source: str, series: str | None
) -> list[Path]:
    """Heat map, outlines and fused pictures as DICOM in the study of the series that was explained; see `write_dicom`."""
    make_folder(folder)
    found = explanation.segmentation
    return write_dicom(
        explanation.heatmap,
        explanation.provenance,
        source,
        folder,
        series=series,
        labels=found and found.labels,
        segments=model.labels,
    )


def check_folder(folder: Path) -> None:
    """Refuse a folder that `make_folder` could not make, or nobody could write into, before anything is computed.

    Raises:
        EngineError: `folder-unusable`.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
    if not there.is_dir():
        raise EngineError(
            "folder-unusable", f"{folder} can be no folder, since {there} is a file: choose another name."
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise EngineError("folder-unusable", f"{folder} cannot be written into: choose a folder of your own.")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, as far as they are missing.

    Raises:
        EngineError: `folder-unusable`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        sentence = f"The folder {folder} cannot be made ({problem.strerror}): choose another one."
        raise EngineError("folder-unusable", sentence) from problem


def check_segmentation_name(path: Path) -> None:
    """Refuse a name that `write_segmentation` has no format for, before anything is computed.

    Raises:
        EngineError: `format-unknown`.
    """
    if not path.name.lower().endswith(tuple(WRITERS)):
        known = ", ".join([".seg.nrrd", *WRITERS])
        raise EngineError("format-unknown", f"{path} cannot be written: its name must end in {known}.")


def write_segmentation(
    scene: Any, path: Path, volume: MetaTensor, model: SegmentationModel, segmentation: Segmentation
) -> None:
    """Write a segmentation: as named, coloured segments (.seg.nrrd) or as a label map (.nrrd, .nii.gz, .nii, .mha)."""
    make_folder(path.parent)
    if path.name.endswith(".seg.nrrd"):
        volume_node = add_volume(scene, volume.numpy()[0], volume.affine.numpy(), "Volume")
        save_segmentation(_add_segmentation(scene, model, segmentation, volume_node), path)
    else:
        write_volume(segmentation.labels, path, {f"{HEADER_PREFIX}label{one.value}": one.name for one in model.labels})


def write_json(facts: Any, path: Path) -> None:
    """Write beside, then rename."""
    with written_beside(path) as beside:
        beside.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _add_outlines(scene: Any, model: SegmentationModel, explanation: Explanation, volume_node: Any) -> Any:
    """What the model outlined, and last what was explained where that is something else."""
    node = None
    if explanation.segmentation is not None:
        node = _add_segmentation(scene, model, explanation.segmentation, volume_node)
    if explanation.chosen is not None:
        voxels, affine = explanation.chosen.numpy()[0], explanation.chosen.affine.numpy()
        chosen = Segment(f"explained: {explanation.provenance['pixelSet']}", 1, CHOSEN_COLOR, id="explained")
        if node is None:
            return add_segmentation(scene, voxels, affine, [chosen], volume_node, name="Explained voxels")
        add_segment(node, voxels, affine, chosen)
    return node


def _add_segmentation(scene: Any, model: SegmentationModel, segmentation: Segmentation, volume_node: Any) -> Any:
    segments = [Segment(one.name, one.value, one.color, one.terminology) for one in model.labels]
    labels = segmentation.labels
    return add_segmentation(
        scene, labels.numpy()[0], labels.affine.numpy(), segments, volume_node, name=f"{model.name} segmentation"
    )
