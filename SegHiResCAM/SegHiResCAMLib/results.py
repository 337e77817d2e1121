"""The files of an answer: engine results in, files out; whole results and no input overwritten, as `writing` has it. No scene is needed here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.dicom.write import write_dicom
from SegHiResCAMLib.engine.images.volume import WRITERS, write_volume
from SegHiResCAMLib.naming import folder_names
from SegHiResCAMLib.pages.viewer import VIEWER, ViewerPage, viewer_page
from SegHiResCAMLib.provenance import PREFIX, header_of
from SegHiResCAMLib.records.files import explanation_text
from SegHiResCAMLib.records.result_tables import tables_of
from SegHiResCAMLib.seg_nrrd import StoredSegment, write_segmentation_nrrd
from SegHiResCAMLib.writing.commit import FACTS
from SegHiResCAMLib.writing.errors import check_name, check_space
from SegHiResCAMLib.writing.inputs import check_outputs
from SegHiResCAMLib.writing.result import ResultFolder, check_folder
from SegHiResCAMLib.writing.whole_file import make_folder, whole_file, write_text

if TYPE_CHECKING:
    from monai.data import MetaTensor

    from SegHiResCAMLib.engine.answer.explanation import Explanation
    from SegHiResCAMLib.engine.inference.segmentation import Segmentation
    from SegHiResCAMLib.engine.models import SegmentationModel

HEATMAP, SEGMENTATION, OVERLAY, COMPARISON = "heatmap.nrrd", "segmentation.seg.nrrd", "overlay.png", "comparison.png"
DEVIATION = "heatmap-sd.nrrd"
NIFTI, NIFTI_LABELS = "heatmap.nii.gz", "segmentation.nii.gz"
SCENE, DICOM = "scene.mrb", "dicom"
ALWAYS, PICTURES = (HEATMAP, SEGMENTATION, FACTS), (OVERLAY, COMPARISON, SCENE)
ENDING = ".seg.nrrd"

CHOSEN_COLOR = (0.35, 0.85, 1.0)
"""Of the outline of what was explained; no anatomy has it."""


def begin_result(
    folder: Path,
    segments: Sequence[str],
    inputs: Iterable[str | Path],
    *,
    more: Sequence[str] = (),
    exclusive: bool = True,
) -> ResultFolder:
    """Begin the result of an explanation, before anything is computed.

    Args:
        folder: For the result; with several segments it gets a folder for each.
        segments: Names of the segments that are explained.
        inputs: All files and folders that are read.
        more: Files that are written beside those that every explanation has.
        exclusive: Whether another run that writes to the same folder is refused.

    Raises:
        WritingError: An output is an input, or the folder cannot be written to.
    """
    names = [*ALWAYS, *PICTURES, *more]
    if len(segments) > 1:
        names = [f"{part}/{name}" for part in folder_names(segments) for name in names]
    return ResultFolder(folder, names, [Path(one) for one in inputs], exclusive=exclusive)


def folders_of(result: ResultFolder, segments: Sequence[str]) -> list[Path]:
    """The folder for each segment's files, made."""
    if len(segments) == 1:
        return [result.beside]
    folders = [result.beside / name for name in folder_names(segments)]
    for folder in folders:
        make_folder(folder)
    return folders


def check_room(result: ResultFolder, volume: MetaTensor, maps: int) -> None:
    """Refuse a result that has no room on its disk: about a volume's values for each map, in its file and in the scene, and for itself.

    Raises:
        WritingError: `disk-full`.
    """
    check_space(result.folder, 4 * volume[0].numel() * (maps + 1))


def write_explanation(
    scene: Any, folder: Path, volume: MetaTensor, model: SegmentationModel, explanations: Sequence[Explanation]
) -> None:
    """Write all there is to one segment's explanation into a folder.

    Args:
        scene: A vtkMRMLScene, which is emptied, and afterwards shows what was saved; None writes neither pictures nor a scene.
        folder: Exists.
        volume: (C, i, j, k) that was explained; pictures show its first channel.
        model: That segmented it.
        explanations: Of one segment; the first is the one that is written as a heat map, others are compared with it.

    Raises:
        EngineError, SceneError, WritingError: A file cannot be written.
    """
    first = explanations[0]
    records = [explanation.record() for explanation in explanations]
    write_volume(first.heatmap, folder / HEATMAP, header_of(records[0]))
    if first.deviation is not None:
        write_volume(first.deviation, folder / DEVIATION, header_of(records[0]))
    _write_segments(folder / SEGMENTATION, model, first.segmentation, first)
    if scene is not None:
        from SegHiResCAMLib.scene_files import write_scene_files

        write_scene_files(scene, folder, volume, model, explanations)
    whole = replace(records[0], compared_with=tuple(records[1:]))
    for name, table in tables_of(whole).items():
        write_text(folder / name, table)
    write_text(folder / FACTS, explanation_text(whole))


def write_nifti(folder: Path, explanation: Explanation) -> None:
    """The heat map, and the label map where there is one, as NIfTI."""
    write_volume(explanation.heatmap, folder / NIFTI)
    if explanation.segmentation is not None:
        write_volume(explanation.segmentation.labels, folder / NIFTI_LABELS)


def write_page(folder: Path, volume: MetaTensor, model: SegmentationModel, explanation: Explanation) -> None:
    """A page for the browser that shows an explanation and needs nothing else; of the volume, its first channel.

    Raises:
        PageError, WritingError: It cannot be made or written.
    """
    found = explanation.segmentation
    shown = ViewerPage(
        explanation.record(),
        volume.numpy()[0],
        volume.affine.numpy(),
        explanation.signed_map.numpy()[0],
        explanation.explained_voxels.numpy()[0],
        None if found is None else found.labels.numpy()[0],
        model.labels,
    )
    write_text(folder / VIEWER, viewer_page(shown))


def write_dicom_files(
    folder: Path, explanation: Explanation, model: SegmentationModel, source: str, series: str | None
) -> None:
    """Heat map, segments and fused pictures as DICOM in the study of the series that was explained; see `write_dicom`."""
    folder.mkdir()
    found = explanation.segmentation
    write_dicom(
        explanation.heatmap,
        explanation.record(),
        source,
        folder,
        series=series,
        labels=found and found.labels,
        segments=model.labels,
    )


def check_segmentation(path: Path, inputs: Iterable[str | Path]) -> None:
    """Refuse a file that `write_segmentation` cannot or must not write, before anything is computed.

    Args:
        path: Of the file.
        inputs: All files and folders that are read.

    Raises:
        EngineError: `format-unknown`.
        WritingError: `output-is-input`, `folder-unusable`, `name-not-utf-8`.
    """
    if not path.name.lower().endswith(tuple(WRITERS)):
        known = ", ".join([ENDING, *WRITERS])
        raise EngineError("format-unknown", f"{path} cannot be written: its name must end in {known}.")
    check_name(path)
    check_folder(path.parent)
    check_outputs([path], [Path(one) for one in inputs])


def write_segmentation(path: Path, model: SegmentationModel, segmentation: Segmentation) -> None:
    """Write a segmentation: as named, coloured segments (.seg.nrrd) or as a label map (.nrrd, .nii.gz, .nii, .mha).

    Raises:
        EngineError, WritingError: The file cannot be written.
    """
    make_folder(path.parent)
    if path.name.lower().endswith(ENDING):
        _write_segments(path, model, segmentation)
    else:
        write_volume(segmentation.labels, path, {f"{PREFIX}label{one.value}": one.name for one in model.labels})


def _write_segments(
    path: Path, model: SegmentationModel, segmentation: Segmentation | None, explanation: Explanation | None = None
) -> None:
    """What the model segmented, and last what was explained where that is something else."""
    layers, segments = [], []
    affine = None
    if segmentation is not None:
        layers.append(segmentation.labels.numpy()[0])
        segments += [StoredSegment(one.name, one.value, one.color, one.terminology) for one in model.labels]
        affine = segmentation.labels.affine
    if explanation is not None and explanation.chosen is not None:
        chosen = explanation.chosen
        name = f"explained region: {explanation.region.title}"
        segments.append(StoredSegment(name, 1, CHOSEN_COLOR, layer=len(layers), id="explained"))
        layers.append(chosen.numpy()[0] != 0)
        affine = chosen.affine if affine is None else affine
    if affine is not None:
        with whole_file(path) as beside:
            write_segmentation_nrrd(beside, [np.asarray(one) for one in layers], affine.numpy(), segments)
