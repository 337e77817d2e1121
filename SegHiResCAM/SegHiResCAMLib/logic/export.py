"""A heat map and what belongs to it, as files in one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import slicer

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import SEGMENTATION, heatmap_provenance, peak_position
from SegHiResCAMLib.scene.save import save_segmentation, written_beside

HEATMAP, FACTS = "heatmap.nrrd", "explanation.json"


def export_heatmap(heatmap: Any, folder: Path) -> list[Path]:
    """Write the heat map (.nrrd, its provenance in the header), its segmentation (.seg.nrrd) and a JSON of its provenance.

    Args:
        heatmap: A vtkMRMLScalarVolumeNode from `Explainer.explain`.
        folder: Made where it is missing; files of the same names are replaced.

    Returns:
        The files.

    Raises:
        SceneError: The node is no heat map, or a file cannot be written.
    """
    provenance = heatmap_provenance(heatmap)
    if not provenance:
        sentence = f"{heatmap.GetName()} is no heat map of SegHiResCAM: choose one that Explain has made."
        raise SceneError(sentence)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        sentence = f"{folder} cannot be made ({problem.strerror}): choose another folder."
        raise SceneError(sentence) from problem
    written = [folder / HEATMAP]
    _write_nrrd(heatmap, folder / HEATMAP)
    segmentation = heatmap.GetNodeReference(SEGMENTATION)
    if segmentation is not None:
        written.append(folder / "segmentation.seg.nrrd")
        save_segmentation(segmentation, written[-1])
    peak = peak_position(heatmap)
    facts = {"name": heatmap.GetName(), "peak_ras_mm": peak.position.tolist(), "provenance": provenance}
    with written_beside(folder / FACTS) as beside:
        beside.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return [*written, folder / FACTS]


def _write_nrrd(volume: Any, path: Path) -> None:
    """With Slicer's own NRRD storage, which writes node attributes into the header and reads them back."""
    storage = slicer.vtkMRMLNRRDStorageNode()
    with written_beside(path) as beside:
        storage.SetFileName(str(beside))
        if not storage.WriteData(volume):
            sentence = f"{path} cannot be written: is there enough space on the disk?"
            raise SceneError(sentence)
