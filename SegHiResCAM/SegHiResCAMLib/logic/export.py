"""A heat map and what belongs to it, as a result in a folder: put in place when all of it is written, nothing is left of one that was cancelled."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from SegHiResCAMLib.logic.job import Report
from SegHiResCAMLib.nifti import is_sheared, write_nifti
from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.provenance import header_of
from SegHiResCAMLib.records.files import explanation_text
from SegHiResCAMLib.records.result_tables import CHECK_FIGURE, tables_of
from SegHiResCAMLib.scene.check_picture import check_picture
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import (
    DEVIATION,
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
from SegHiResCAMLib.writing.result import ResultFolder

if TYPE_CHECKING:
    from slicer import vtkMRMLNode, vtkMRMLScalarVolumeNode, vtkMRMLScene

FORMATS: dict[str, Callable[..., None]] = {"nrrd": write_nrrd, "nii.gz": write_nifti}
SEGMENTS_FILE, PICTURE_FILE, TABLE_FILE = "segmentation.seg.nrrd", "overlay.png", "measurements.csv"
MAPS, SEGMENTS, PICTURE = 0.75, 0.85, 1.0
"""How far the export is when the heat maps, the segmentation and the picture are written."""


class Exported(NamedTuple):
    """The files, and messages about what was left out."""

    files: list[Path]
    left_out: list[str]


def check_export(heatmap: vtkMRMLScalarVolumeNode, file_format: str) -> None:
    """Refuse what cannot be exported, before anything is written.

    Raises:
        SceneError: The node is no heat map, or the format cannot hold it.
    """
    if explanation_of(heatmap) is None:
        message = f"'{heatmap.GetName()}' is not a heat map of SegHiResCAM. Choose one that Explain has made."
        raise SceneError(message)
    if file_format not in FORMATS:
        message = f"There is no format {file_format}: choose one of {', '.join(FORMATS)}."
        raise SceneError(message)
    if file_format == "nii.gz" and is_sheared(volume_array(heatmap)[1]):
        message = f"{heatmap.GetName()} lies on a sheared grid, which NIfTI cannot hold: export it as NRRD."
        raise SceneError(message)
    if file_format == "nii.gz" and find_spec("nibabel") is None:
        raise SceneError("NIfTI files need nibabel, which is not installed: open Set up, or export as NRRD.")


def export_steps(
    heatmap: vtkMRMLScalarVolumeNode, folder: Path, report: Report, *, file_format: str = "nrrd", opacity: float = 0.5
) -> Steps:
    """Write everything that belongs to a heat map, as a job does it.

    The folder gets the heat map (its provenance in the header of a .nrrd), the signed map, the standard deviation of a smooth map, the segmentation (.seg.nrrd), a picture of the
    slices through the peak, the measurements (.csv), the tables and the figure of what else was found about it, and a JSON of all that is known of it.

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
    export = _Export(heatmap, folder, report, file_format)
    left_out: list[str] = []
    try:
        yield export.write_maps
        yield from export.segmentation_steps()
        report(SEGMENTS, f"Drawing {PICTURE_FILE}")
        for picture in (export.picture_steps(opacity), export.check_steps()):
            try:
                yield from picture
            except SceneError as problem:  # matplotlib is not part of 3D Slicer, and a picture not worth failing for
                if isinstance(problem.__cause__, WritingError):
                    raise
                left_out.append(problem.message)
        return Exported((yield export.write_rest), list(dict.fromkeys(left_out)))
    finally:
        export.close()


class _Export:
    """What is taken out of the scene at first, and how each file is made of it. What is called `write` may run in any thread."""

    def __init__(self, heatmap: vtkMRMLScalarVolumeNode, folder: Path, report: Report, file_format: str) -> None:
        record = explanation_of(heatmap)
        assert record is not None  # `check_export` has seen to it
        self._heatmap, self._folder, self._report, self._record = heatmap, folder, report, record
        self._signed, self._affine = volume_array(heatmap)
        self._format, self._header = file_format, header_of(record) if file_format == "nrrd" else {}
        self._volume, self._segmentation, table = (
            heatmap.GetNodeReference(role) for role in (INPUT_VOLUME, SEGMENTATION, MEASUREMENTS)
        )
        self._rows = table_rows(table) if table is not None else None
        self._segments = segmentation_file(self._segmentation) if self._segmentation is not None else None
        signed, deviation = self._signed, heatmap.GetNodeReference(DEVIATION)
        self._maps: dict[str, Callable[[], Any]] = {
            f"heatmap.{file_format}": lambda: np.maximum(signed, 0),
            f"signed-map.{file_format}": lambda: signed,
        }
        if deviation is not None and deviation.GetImageData() is not None:
            spread = volume_array(deviation)[0]
            self._maps[f"heatmap-sd.{file_format}"] = lambda: spread
        self._inputs = _files_of(heatmap.GetScene())
        self._result: ResultFolder | None = None

    @property
    def _beside(self) -> Path:
        """Where the files are made."""
        assert self._result is not None  # `write_maps` comes first
        return self._result.beside

    def write_maps(self) -> None:
        names = [*self._maps, SEGMENTS_FILE, PICTURE_FILE, TABLE_FILE, CHECK_FIGURE, *tables_of(self._record), FACTS]
        self._result = ResultFolder(self._folder, names, self._inputs, needed=self._signed.nbytes)
        with _messages(self._folder):
            for index, (file, array) in enumerate(self._maps.items()):
                FORMATS[self._format](
                    self._beside / file, array(), self._affine, self._header,
                    written=lambda share, done=index, file=file: self._report(MAPS * (done + share) / len(self._maps), f"Writing {file}"),
                )  # fmt: skip

    def segmentation_steps(self) -> Steps:
        if self._segments is not None:
            yield partial(self._write_segmentation, self._segments)
        elif self._segmentation is not None:  # layers on different grids are Slicer's own business
            save_segmentation(self._segmentation, self._beside / SEGMENTS_FILE)

    def _write_segmentation(self, taken: SegmentationFile) -> None:
        with _messages(self._folder):
            write_nrrd(
                self._beside / SEGMENTS_FILE, layer_array(taken), taken.affine, taken.header, first_axis="list",
                written=lambda share: self._report(MAPS + (SEGMENTS - MAPS) * share, f"Writing {SEGMENTS_FILE}"),
            )  # fmt: skip

    def picture_steps(self, opacity: float) -> Steps:
        background = self._volume or self._heatmap
        drawn = [node for node in (background, self._heatmap, self._segmentation) if node is not None]
        picture = slice_picture_steps(
            self._beside / PICTURE_FILE, background, self._heatmap, self._segmentation, opacity=opacity
        )
        return _while_there(drawn, picture)

    def check_steps(self) -> Steps:
        if self._record.check is not None:
            yield lambda: check_picture(self._beside / CHECK_FIGURE, self._record)

    def write_rest(self) -> list[Path]:
        with _messages(self._folder):
            if self._rows is not None:
                with (self._beside / TABLE_FILE).open("w", encoding="utf-8", newline="") as file:
                    csv.writer(file).writerows(self._rows)
            for name, table in tables_of(self._record).items():
                (self._beside / name).write_text(table, encoding="utf-8", newline="")
            (self._beside / FACTS).write_text(explanation_text(self._record), encoding="utf-8")
            self._report(1.0, "Putting the files in place")
            assert self._result is not None
            return self._result.put_in_place()

    def close(self) -> None:
        if self._result is not None:
            self._result.close()


def _while_there(nodes: list[vtkMRMLNode], steps: Steps) -> Steps:
    """Go on only as long as the nodes are in a scene; their voxels stay, but MRML does not draw what is in none."""
    given: Any = None
    while True:
        for node in nodes:
            if node.GetScene() is None:
                steps.close()
                message = f"'{node.GetName()}' was deleted while it was being exported."
                raise SceneError(message)
        try:
            work = steps.send(given)
        except StopIteration as end:
            return end.value
        given = yield work


@contextmanager
def _messages(folder: Path) -> Iterator[None]:
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
