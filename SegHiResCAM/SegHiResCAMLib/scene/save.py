"""What the scene room leaves on disk: a scene bundle for 3D Slicer, a segmentation; whole files or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import is_zipfile

import slicer

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.writing.errors import WritingError, check_name, no_space
from SegHiResCAMLib.writing.whole_file import whole_file

if TYPE_CHECKING:
    from slicer import vtkMRMLScene, vtkMRMLSegmentationNode


def save_scene(scene: vtkMRMLScene, path: Path) -> None:
    """Write the whole scene as a .mrb bundle, which 3D Slicer opens with all nodes, references and display as they were.

    Raises:
        SceneError: The name does not end in .mrb, or the file cannot be written.
    """
    _check_ending(path, ".mrb", "scene")
    with written_beside(path) as beside:
        if not scene.WriteToMRB(str(beside)) or not is_zipfile(beside):
            raise no_space(path)


def save_segmentation(node: vtkMRMLSegmentationNode, path: Path) -> None:
    """Write a segmentation as .seg.nrrd.

    The file has the segmentation's own geometry, without its parent transform, as the volume's file has.

    Raises:
        SceneError: The name does not end in .seg.nrrd, or the file cannot be written.
    """
    _check_ending(path, ".seg.nrrd", "segmentation")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    with written_beside(path) as beside:
        storage.SetFileName(str(beside))
        if not storage.WriteData(node):
            raise no_space(path)


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """`whole_file`, with the scene's own error.

    Raises:
        SceneError: The folder does not exist or cannot be written to, the name is not UTF-8, or the disk is full.
    """
    try:
        check_name(path)
        with whole_file(path) as beside:
            yield beside
    except WritingError as problem:
        raise SceneError(problem.message) from problem


def _check_ending(path: Path, ending: str, what: str) -> None:
    if not path.name.lower().endswith(ending):
        message = f"A {what} is saved as {ending}, but {path} has another ending. Choose another name."
        raise SceneError(message)
