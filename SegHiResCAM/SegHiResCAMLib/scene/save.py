"""What the scene room leaves on disk: a scene bundle for 3D Slicer, a segmentation; whole files or none."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import slicer

from SegHiResCAMLib.scene.errors import SceneError

if TYPE_CHECKING:
    from slicer import vtkMRMLScene, vtkMRMLSegmentationNode


def save_scene(scene: vtkMRMLScene, path: Path) -> None:
    """Write the whole scene as a .mrb bundle, which 3D Slicer opens with all nodes, references and display as they were.

    Raises:
        SceneError: The name does not end in .mrb, or the file cannot be written.
    """
    _check_ending(path, ".mrb", "scene")
    with written_beside(path) as beside:
        if not scene.WriteToMRB(str(beside)):
            sentence = f"{path} cannot be written: is there enough space on the disk?"
            raise SceneError(sentence)


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
            reason = storage.GetUserMessages().GetAllMessagesAsString().strip()
            sentence = f"{path} cannot be written: {reason or 'is there enough space on the disk?'}"
            raise SceneError(sentence)


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Lend a file of the same name in a private folder beside `path`, and put it in place when the block succeeds.

    The name stays the same since a bundle names its inner folder after its file.

    Raises:
        SceneError: The folder does not exist or cannot be written to.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=".seghirescam-") as folder:
            beside = Path(folder) / path.name
            yield beside
            beside.replace(path)
    except OSError as problem:
        sentence = f"{path} cannot be written ({problem.strerror}): choose another folder or name."
        raise SceneError(sentence) from problem


def _check_ending(path: Path, ending: str, what: str) -> None:
    if not path.name.lower().endswith(ending):
        sentence = f"A {what} is saved as {ending}, but {path} does not end so: choose such a name."
        raise SceneError(sentence)
