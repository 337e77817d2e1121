"""A heat map and what belongs to it, as files in one folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import (
    INPUT_VOLUME,
    MEASUREMENTS,
    SEGMENTATION,
    heatmap_diagnoses,
    heatmap_provenance,
    peak_position,
)
from SegHiResCAMLib.scene.picture import slice_picture
from SegHiResCAMLib.scene.save import save_segmentation, written_beside
from SegHiResCAMLib.scene.volumes import image_of, volume_array

FORMATS = ("nrrd", "nii.gz")
FACTS = "explanation.json"


def export_heatmap(
    heatmap: Any, folder: Path, *, file_format: str = "nrrd", opacity: float = 0.5
) -> tuple[list[Path], list[str]]:
    """Write everything that belongs to a heat map.

    The folder gets the heat map (its provenance in the header of a .nrrd), the signed map, the segmentation (.seg.nrrd), a picture of the
    slices through the peak, the measurements (.csv), and a JSON of provenance, diagnoses and measurements.

    Args:
        heatmap: A vtkMRMLScalarVolumeNode from `Explainer.explain`.
        folder: Made where it is missing; files of the same names are replaced.
        file_format: One of `FORMATS`. NIfTI knows no sheared grids and no provenance.
        opacity: Of the heat map in the picture.

    Returns:
        The files, and sentences about what was left out.

    Raises:
        SceneError: The node is no heat map, the format cannot hold it, or a file cannot be written.
    """
    provenance = heatmap_provenance(heatmap)
    if not provenance:
        sentence = f"{heatmap.GetName()} is no heat map of SegHiResCAM: choose one that Explain has made."
        raise SceneError(sentence)
    if file_format == "nii.gz" and _is_sheared(heatmap):
        sentence = f"{heatmap.GetName()} lies on a sheared grid, which NIfTI cannot hold: export it as NRRD."
        raise SceneError(sentence)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        sentence = f"{folder} cannot be made ({problem.strerror}): choose another folder."
        raise SceneError(sentence) from problem
    written, left_out = [], []
    for name, positive in (("heatmap", True), ("signed-map", False)):
        written.append(folder / f"{name}.{file_format}")
        _write_volume(heatmap, written[-1], positive)
    volume, segmentation = heatmap.GetNodeReference(INPUT_VOLUME), heatmap.GetNodeReference(SEGMENTATION)
    if segmentation is not None:
        written.append(folder / "segmentation.seg.nrrd")
        save_segmentation(segmentation, written[-1])
    try:
        slice_picture(folder / "overlay.png", volume or heatmap, heatmap, segmentation, opacity=opacity)
        written.append(folder / "overlay.png")
    except SceneError as problem:  # matplotlib is not part of 3D Slicer, and a picture not worth failing for
        left_out.append(problem.sentence)
    table = heatmap.GetNodeReference(MEASUREMENTS)
    if table is not None:
        written.append(folder / "measurements.csv")
        _write_table(table, written[-1])
    facts = {
        "name": heatmap.GetName(),
        "peak_ras_mm": peak_position(heatmap).position.tolist(),
        "provenance": {name: text for name, text in provenance.items() if name not in ("diagnoses", "measurements")},
        "diagnoses": heatmap_diagnoses(heatmap),
        "measurements": json.loads(provenance.get("measurements", "{}")),
    }
    with written_beside(folder / FACTS) as beside:
        beside.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return [*written, folder / FACTS], left_out


def _write_volume(heatmap: Any, path: Path, positive: bool) -> None:
    """With Slicer's own storage; that of NRRD writes node attributes into the header and reads them back."""
    nrrd = path.suffix == ".nrrd"
    storage = slicer.vtkMRMLNRRDStorageNode() if nrrd else slicer.vtkMRMLVolumeArchetypeStorageNode()
    node = slicer.vtkMRMLScalarVolumeNode()
    node.Copy(heatmap)
    if positive:
        node.SetAndObserveImageData(image_of(np.maximum(volume_array(heatmap)[0], 0)))
    with written_beside(path) as beside:
        storage.SetFileName(str(beside))
        if not storage.WriteData(node):
            sentence = f"{path} cannot be written: is there enough space on the disk?"
            raise SceneError(sentence)


def _write_table(table: Any, path: Path) -> None:
    data = table.GetTable()
    columns = [data.GetColumn(index) for index in range(data.GetNumberOfColumns())]
    with written_beside(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([column.GetName() for column in columns])
        writer.writerows(
            [column.GetVariantValue(row).ToString() for column in columns] for row in range(data.GetNumberOfRows())
        )


def _is_sheared(node: Any) -> bool:
    directions = vtk.vtkMatrix4x4()
    node.GetIJKToRASDirectionMatrix(directions)
    axes = slicer.util.arrayFromVTKMatrix(directions)[:3, :3]
    return not np.allclose(axes.T @ axes, np.eye(3), atol=1e-4)
