"""A heat map and what belongs to it, as a result in a folder: put in place when all of it is written, nothing is left of one that was cancelled."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from SegHiResCAMLib.logic.job import Report
from SegHiResCAMLib.nifti import is_sheared, write_nifti
from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.provenance import header_of
from SegHiResCAMLib.records.files import explanation_text
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import (
    INPUT_VOLUME,
    MEASUREMENTS,
    SEGMENTATION,
    explanation_of,
)
from SegHiResCAMLib.scene.picture import slice_picture_steps
from SegHiResCAMLib.scene.save import save_segmentation
from SegHiResCAMLib.scene.segmentation_file import SegmentationFile, layer_array, segmentation_file
from SegHiResCAMLib.scene.table import table_rows
from SegHiResCAMLib.scene.volumes import volume_array
from SegHiResCAMLib.turns import Steps
from SegHiResCAMLib.writing.commit import FACTS
from SegHiResCAMLib.writing.errors import WritingError, cannot_write
from SegHiResCAMLib.writing.result import Result

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScene

FORMATS: dict[str, Callable[..., None]] = {"nrrd": write_nrrd, "nii.gz": write_nifti}
SEGMENTS_FILE, PICTURE_FILE, TABLE_FILE = "segmentation.seg.nrrd", "overlay.png", "measurements.csv"
MAPS, SEGMENTS, PICTURE = 0.75, 0.85, 1.0
"""How far the export is when the heat maps, the segmentation and the picture are written."""


class Exported(NamedTuple):
    """The files, and sentences about what was left out."""

    files: list[Path]
    left_out: list[str]


def check_export(heatmap: vtkMRMLScalarVolumeNode, file_format: str) -> None:
    """Refuse what cannot be exported, before anything is written.

    Raises:
        SceneError: The node is no heat map, or the format cannot hold it.
    """
    if explanation_of(heatmap) is None:
        sentence = f"{heatmap.GetName()} is no heat map of SegHiResCAM: choose one that Explain has made."
        raise SceneError(sentence)
    if file_format not in FORMATS:
        sentence = f"There is no format {file_format}: choose one of {', '.join(FORMATS)}."
        raise SceneError(sentence)
    if file_format == "nii.gz" and is_sheared(volume_array(heatmap)[1]):
        sentence = f"{heatmap.GetName()} lies on a sheared grid, which NIfTI cannot hold: export it as NRRD."
        raise SceneError(sentence)
    if file_format == "nii.gz" and find_spec("nibabel") is None:
        raise SceneError("NIfTI files need nibabel, which is not installed: open Set up, or export as NRRD.")


def export_steps(
    heatmap: vtkMRMLScalarVolumeNode, folder: Path, report: Report, *, file_format: str = "nrrd", opacity: float = 0.5
) -> Steps:
    """Write everything that belongs to a heat map, as a job does it.

    The folder gets the heat map (its provenance in the header of a .nrrd), the signed map, the segmentation (.seg.nrrd), a picture of the
    slices through the peak, the measurements (.csv), and a JSON of provenance, diagnoses and measurements.

    Args:
        heatmap: A vtkMRMLScalarVolumeNode that `check_export` lets pass.
        folder: Made where it is missing; files of the same names are replaced.
        report: Hears how far it is.
        file_format: One of `FORMATS`. NIfTI knows no sheared grids and no provenance.
        opacity: Of the heat map in the picture.

    Returns:
        An `Exported`.

    Raises:
        SceneError: A file cannot be written.
    """
    (signed, affine), record = volume_array(heatmap), explanation_of(heatmap)
    assert record is not None  # `check_export` has seen to it
    header = header_of(record) if file_format == "nrrd" else {}
    volume, segmentation, table = (
        heatmap.GetNodeReference(role) for role in (INPUT_VOLUME, SEGMENTATION, MEASUREMENTS)
    )
    rows = table_rows(table) if table is not None else None
    taken = segmentation_file(segmentation) if segmentation is not None else None
    write, left_out = FORMATS[file_format], []
    maps = (f"heatmap.{file_format}", f"signed-map.{file_format}")
    names, inputs = [*maps, SEGMENTS_FILE, PICTURE_FILE, TABLE_FILE, FACTS], _files_of(heatmap.GetScene())
    begun: list[Result] = []

    def write_maps() -> None:
        begun.append(Result(folder, names, inputs, needed=signed.nbytes))
        with _sentences(folder):
            for index, (file, array) in enumerate(zip(maps, (np.maximum(signed, 0), signed), strict=True)):
                write(
                    begun[0].beside / file, array, affine, header,
                    written=lambda share, done=index, file=file: report(MAPS * (done + share) / 2, f"Writing {file}"),
                )  # fmt: skip

    def write_segmentation(taken: SegmentationFile) -> None:
        with _sentences(folder):
            write_nrrd(
                result.beside / SEGMENTS_FILE, layer_array(taken), taken.affine, taken.header, first_axis="list",
                written=lambda share: report(MAPS + (SEGMENTS - MAPS) * share, f"Writing {SEGMENTS_FILE}"),
            )  # fmt: skip

    def write_rest() -> list[Path]:
        with _sentences(folder):
            if rows is not None:
                with (result.beside / TABLE_FILE).open("w", encoding="utf-8", newline="") as file:
                    csv.writer(file).writerows(rows)
            (result.beside / FACTS).write_text(explanation_text(record), encoding="utf-8")
            report(1.0, "Putting the files in place")
            return result.put_in_place()

    try:
        yield write_maps
        (result,) = begun
        if taken is not None:
            yield lambda: write_segmentation(taken)
        elif segmentation is not None:  # layers on different grids are Slicer's own business
            save_segmentation(segmentation, result.beside / SEGMENTS_FILE)
        background = volume or heatmap
        drawn = [node for node in (background, heatmap, segmentation) if node is not None]
        report(SEGMENTS, f"Drawing {PICTURE_FILE}")
        try:
            picture = slice_picture_steps(
                result.beside / PICTURE_FILE, background, heatmap, segmentation, opacity=opacity
            )
            yield from _while_there(drawn, picture)
        except SceneError as problem:  # matplotlib is not part of 3D Slicer, and a picture not worth failing for
            if isinstance(problem.__cause__, WritingError):
                raise
            left_out.append(problem.sentence)
        return Exported((yield write_rest), left_out)
    finally:
        for one in begun:
            one.close()


def _while_there(nodes: list[Any], steps: Steps) -> Steps:
    """Go on only as long as the nodes are in a scene; their voxels stay, but MRML does not draw what is in none."""
    given: Any = None
    while True:
        for node in nodes:
            if node.GetScene() is None:
                steps.close()
                sentence = f"'{node.GetName()}' was deleted while it was being exported."
                raise SceneError(sentence)
        try:
            work = steps.send(given)
        except StopIteration as end:
            return end.value
        given = yield work


@contextmanager
def _sentences(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise cannot_write(folder, problem) from problem


def _files_of(scene: vtkMRMLScene) -> list[Path]:
    """The files that a scene's nodes were loaded from or saved to."""
    count = 0 if scene is None else scene.GetNumberOfNodesByClass("vtkMRMLStorageNode")
    nodes = [scene.GetNthNodeByClass(number, "vtkMRMLStorageNode") for number in range(count)]
    names = [node.GetFullNameFromFileName() for node in nodes]
    names += [
        node.GetFullNameFromNthFileName(number) for node in nodes for number in range(node.GetNumberOfFileNames())
    ]
    return [Path(name) for name in names if name]
